//! The rule by which the database refuses an event of `dev --demo`, as an application's own
//! constraint or trigger would.
//!
//! It is made of temporary objects: they belong to the connection that writes and are never in the
//! file. So the rule ends with its process, however that ends, and no other process has it.

use sqlx::SqliteConnection;

use crate::clerk::ClerkId;

/// The one account that is refused.
const ACCOUNT: &str = "create temp table demo_account as select ? as clerk_id";

/// A deleted user keeps the address. A trigger and no unique index: the rows that are there do not
/// matter.
const RULE: &str = "create temp trigger demo_address_once before insert on main.users
    when new.clerk_id in (select clerk_id from temp.demo_account) and exists
        (select 1 from main.users where email = new.email and clerk_id <> new.clerk_id)
    begin select raise(abort, 'the address is taken'); end";

/// Makes this connection refuse the account if another row has its address.
pub async fn set(connection: &mut SqliteConnection, account: &ClerkId) -> Result<(), sqlx::Error> {
    let account = sqlx::query(ACCOUNT).bind(account.as_str());
    account.execute(&mut *connection).await?;
    sqlx::query(RULE).execute(connection).await.map(drop)
}
