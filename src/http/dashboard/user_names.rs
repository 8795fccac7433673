//! The names of the users of some events, to be shown beside their IDs.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU32;

use super::view_models::name_of;
use crate::store::{EventRow, Page, Store, StoreError, UserFilter};

/// The names by Clerk ID, by one query. Users without a row or a name are left out, and deleted
/// ones: of them the ID is enough.
///
/// # Errors
///
/// If the database does not answer.
pub async fn of_events(
    store: &Store,
    events: &[EventRow],
) -> Result<HashMap<String, String>, StoreError> {
    let ids: BTreeSet<_> = events
        .iter()
        .filter_map(|event| event.clerk_id.as_deref())
        .collect();
    let count = u32::try_from(ids.len()).ok().and_then(NonZeroU32::new);
    let Some(limit) = count else {
        return Ok(HashMap::new());
    };
    let filter = UserFilter {
        ids: Some(ids.into_iter().map(str::to_owned).collect()),
        deleted: Some(false),
        ..UserFilter::default()
    };
    let page = Page { limit, after: None };
    let users = store.users_without_data(&filter, &page).await?.rows;
    let named = users
        .into_iter()
        .filter_map(|user| Some((user.clerk_id.clone(), name_of(&user)?)));
    Ok(named.collect())
}
