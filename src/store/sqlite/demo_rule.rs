//! The rule that `dev --demo` sets in its file for a moment, so that the database refuses an event
//! as an application's own constraint or trigger would.

use sqlx::Connection;

use super::store::Store;
use crate::store::StoreError;

/// A deleted user keeps the address, so a new account with it is refused. A trigger and no unique
/// index: the rows that are there do not matter.
const SET: &str = "create trigger demo_address_once before insert on users
    when exists (select 1 from users where email = new.email and clerk_id <> new.clerk_id)
    begin select raise(abort, 'the address is taken'); end";

const REMOVE: &str = "drop trigger if exists demo_address_once";

impl Store {
    /// Sets the rule that no two rows of `users` have the same address, or removes it.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub async fn set_demo_rule(&self, is_set: bool) -> Result<(), StoreError> {
        let mut connection = self.create().await?;
        let statements = if is_set {
            &[REMOVE, SET][..]
        } else {
            &[REMOVE]
        };
        for statement in statements {
            let done = sqlx::query(*statement).execute(&mut connection).await;
            done.map_err(|error| self.fault(error))?;
        }
        drop(connection.close().await);
        Ok(())
    }
}
