//! Asks Clerk for one object, to confirm that it is deleted.

use super::clerk_api::ClerkApi;
use super::failure::Stopped;
use super::pages::Reader;
use super::place::Place;
use super::request::{Answer, Question};
use crate::clerk::{ClerkId, Table, Value};
use crate::shutdown::Shutdown;

/// A row of which Clerk is asked.
#[derive(Debug, Clone)]
pub struct Subject {
    pub id: ClerkId,
    /// The compared columns of its row.
    pub compared: Vec<Value>,
}

/// Returns whether Clerk has such an object now. Returns `None` if the row lacks what Clerk must be
/// asked with.
///
/// # Errors
/// Fails when Clerk refuses the key or the request, when its answer is not in its own form, or when
/// retries end or `stop` is requested.
pub async fn is_at_clerk(
    api: &ClerkApi,
    table: &'static Table,
    subject: &Subject,
    stop: &Shutdown,
) -> Result<Option<bool>, Stopped> {
    let list = match Question::of(table, &subject.id, &subject.compared) {
        None => return Ok(None),
        Some(Question::Object(request)) => {
            return match api.get(&request, stop).await? {
                Answer::Found(_) => Ok(Some(true)),
                Answer::Unknown => Ok(Some(false)),
                Answer::NotEnabled => Err(Stopped::NotEnabled),
            };
        }
        Some(Question::Listed(list)) => list,
    };
    let mut reader = Reader {
        list,
        place: Place::default(),
    };
    while let Some(page) = reader.next(api, stop).await? {
        let mut ids = page.objects.iter().filter_map(|object| object.id.as_ref());
        if ids.any(|id| *id == subject.id) {
            return Ok(Some(true));
        }
    }
    Ok(Some(false))
}
