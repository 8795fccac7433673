//! Settings in the database, which all processes that use it share.

use super::{Store, StoreError, dispatch};

impl Store {
    /// A setting, as JSON. Returns `None` if it is not set.
    ///
    /// # Errors
    /// Fails if the database does not answer, or if row-level security hides rows.
    pub async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        let binds = [name.into()];
        let settings = self
            .query(|sql| &sql.setting, &binds, |row| row.get("value"))
            .await?;
        let settings = self.check_visible("settings", settings).await?;
        Ok(settings.into_iter().next())
    }

    /// Keeps a setting, which is JSON. Writes nothing if it is the same already.
    ///
    /// # Errors
    /// Fails if the database refuses it.
    pub async fn set(&self, name: &str, value: &str) -> Result<(), StoreError> {
        dispatch!(self, store => store.set(name, value).await)
    }
}
