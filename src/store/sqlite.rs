//! The store on SQLite.
use super::*;
#[derive(Debug, Clone)]
pub struct Options {
    pub path: std::path::PathBuf,
    pub payloads: Payloads,
}
#[derive(Clone)]
pub struct Store;
impl Store {
    pub fn open(_: &Options) -> Self {
        todo!()
    }
    pub async fn migrate(&self) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn schema_version(&self) -> Result<SchemaVersion, StoreError> {
        todo!()
    }
    pub async fn apply(&self, _: &Write) -> Result<Vec<Outcome>, StoreError> {
        todo!()
    }
    pub async fn user(&self, _: &ClerkId) -> Result<Option<User>, StoreError> {
        todo!()
    }
    pub async fn users(&self, _: &UserFilter, _: &Page) -> Result<Listing<User>, StoreError> {
        todo!()
    }
    pub async fn event(&self, _: &EventId) -> Result<Option<EventRow>, StoreError> {
        todo!()
    }
    pub async fn events(&self, _: &EventFilter, _: &Page) -> Result<Listing<EventRow>, StoreError> {
        todo!()
    }
}
