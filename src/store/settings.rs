//! What the processes that share a database must know of each other.

use super::{Store, StoreError};

impl Store {
    /// A setting, as JSON; `None` if nobody has set it.
    pub async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        match self {
            Self::Postgres(store) => store.setting(name).await,
            Self::Sqlite(store) => store.setting(name).await,
        }
    }

    /// Keeps a setting, which is JSON. Writes nothing where it is the same already.
    pub async fn set(&self, name: &str, value: &str) -> Result<(), StoreError> {
        match self {
            Self::Postgres(store) => store.set(name, value).await,
            Self::Sqlite(store) => store.set(name, value).await,
        }
    }
}
