//! The queue on SQLite.
use super::*;
#[derive(Debug, Clone)]
pub struct Options {
    pub path: std::path::PathBuf,
}
#[derive(Clone)]
pub struct Queue;
pub struct Consumer;
pub struct Receipt;
impl Queue {
    pub async fn open(_: &Options) -> Result<Self, OpenError> {
        todo!()
    }
    pub async fn publish(&self, _: SignedEvent) -> Result<(), PublishError> {
        todo!()
    }
    pub fn consume(&self, _: Source, _: NonZeroUsize) -> Consumer {
        todo!()
    }
    pub async fn depth(&self) -> Result<u64, Unavailable> {
        todo!()
    }
    pub fn ready(&self) -> Result<(), Unavailable> {
        todo!()
    }
    pub async fn close(&self) {
        todo!()
    }
}
impl Consumer {
    pub async fn next_batch(&mut self) -> Option<Batch> {
        todo!()
    }
    pub async fn ack(&mut self, _: Receipt) -> Result<(), Unavailable> {
        todo!()
    }
    pub async fn stop(&mut self) {
        todo!()
    }
}
