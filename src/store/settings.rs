//! What the processes that share a database must know of each other.

use super::{Store, StoreError};

impl Store {
    /// A setting, as JSON; `None` if nobody has set it.
    pub async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        let binds = [name.into()];
        let settings = self
            .ask(|sql| &sql.setting, &binds, |row| row.get("value"))
            .await?;
        let settings = self.check_visible("settings", settings).await?;
        Ok(settings.into_iter().next())
    }

    /// Keeps a setting, which is JSON. Writes nothing where it is the same already.
    pub async fn set(&self, name: &str, value: &str) -> Result<(), StoreError> {
        match self {
            Self::Postgres(store) => store.set(name, value).await,
            Self::Sqlite(store) => store.set(name, value).await,
        }
    }
}
