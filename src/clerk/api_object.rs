//! Turns an object of Clerk's API (one of a list) into a `Change`, as an event would be.
//!
//! An object that was read from a list is no event: it has neither `svix-id` nor a time of its own.
//! It gets the lowest version that its `updated_at` allows: `(updated_at, Timestamp::MIN, LISTED)`.
//! From that follows, by the join alone:
//!
//! - It fills a row without a profile, or with an older `updated_at`. An event with a later one
//!   overrules it, in either order.
//! - An event with the same `updated_at` has the same state and wins over it, in either order: each
//!   event occurred later than `Timestamp::MIN`.
//! - Read again it is the same version, which alters nothing.
//! - It has no `deleted_at`, and the join keeps the earliest one. So a page that was read before a
//!   delete and is written after it fills a profile at most, and restores no deleted row.
//!
//! The rule needs no special case for any of this, and neither do the stores.

use std::borrow::Cow;
use std::sync::LazyLock;

use serde_json::value::RawValue;

use super::change::{Change, Version};
use super::event::{Rejection, plausible_time};
use super::id::{ClerkId, EventId, Timestamp};
use super::json::{self, Object};
use super::list::Paging;
use super::redact::OmittedFields;
use super::table::{Table, id_of};

/// In the place of an event's ID, in the version of an object that was read from the list.
pub static LISTED: LazyLock<EventId> = LazyLock::new(|| id("backfill"));

/// The same for a row that differs from the list though it has the same `updated_at`; see
/// `overruling`.
static CORRECTED: LazyLock<EventId> = LazyLock::new(|| id("reconcile"));

/// Whether this ID in the version of a row is that of no event, but of an object that was read from
/// the list.
pub fn is_reading(event_id: &str) -> bool {
    [&*LISTED, &*CORRECTED]
        .iter()
        .any(|id| id.as_str() == event_id)
}

fn id(name: &str) -> EventId {
    EventId::new(name).expect("lower case letters are of the characters of an event ID")
}

/// A page of a list.
#[derive(Debug)]
pub struct ListedPage {
    /// Its objects, in their order.
    pub objects: Vec<ListedObject>,
    /// How many objects the whole list has; `None` if the page does not say it.
    pub total: Option<u64>,
}

/// One object of a page.
#[derive(Debug)]
pub struct ListedObject {
    /// `None` if it cannot be read.
    pub id: Option<ClerkId>,
    /// The change, or why the object is rejected.
    pub read: Result<Change, Rejection>,
}

impl ListedObject {
    /// When it was created. Returns `None` if that cannot be read.
    pub fn created_at(&self) -> Option<Timestamp> {
        let change = self.read.as_ref().ok()?;
        let (_, profile) = change.profile.as_ref()?;
        profile.values[change.table.place("created_at")?].as_time()
    }
}

/// The text of a body. A byte that is no UTF-8 becomes the escape of a NUL character, which no
/// database stores: it fails the one object that has it, not the page.
pub fn text(body: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(body) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(
            body.utf8_chunks()
                .flat_map(|chunk| {
                    [
                        chunk.valid(),
                        if chunk.invalid().is_empty() {
                            ""
                        } else {
                            "\\u0000"
                        },
                    ]
                })
                .collect(),
        ),
    }
}

/// A page of Clerk's `{data, total_count}`.
#[derive(serde::Deserialize)]
struct Counted<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    total_count: u64,
}

/// Reads a page of the objects of a table. Returns `None` if it has another form.
pub fn read_page(
    table: &'static Table,
    paging: Paging,
    page: &str,
    omitted: &OmittedFields,
    now: Timestamp,
) -> Option<ListedPage> {
    let (objects, total) = match paging {
        Paging::Cursor => (serde_json::from_str::<Vec<&RawValue>>(page).ok()?, None),
        Paging::Offset => {
            let counted: Counted<'_> = serde_json::from_str(page).ok()?;
            (counted.data, Some(counted.total_count))
        }
    };
    let objects = objects.into_iter();
    let objects = objects.map(|object| read_one(table, object, omitted, now));
    Some(ListedPage {
        objects: objects.collect(),
        total,
    })
}

/// Reads one object of a table. Returns `None` if the text is no JSON.
pub fn read_object(
    table: &'static Table,
    object: &str,
    omitted: &OmittedFields,
    now: Timestamp,
) -> Option<ListedObject> {
    let object = serde_json::from_str::<&RawValue>(object).ok()?;
    Some(read_one(table, object, omitted, now))
}

fn read_one(
    table: &'static Table,
    object: &RawValue,
    omitted: &OmittedFields,
    now: Timestamp,
) -> ListedObject {
    let read = Object::read(object.get());
    let id = read
        .as_ref()
        .map_err(|_| "data is no object")
        .and_then(id_of);
    match (read, id) {
        (Ok(mut fields), Ok(id)) => {
            let rest = omitted.remove_from(&mut fields, Some(table));
            let text = rest.as_deref().unwrap_or(object.get());
            ListedObject {
                read: change(table, id.clone(), &fields, text, now),
                id: Some(id),
            }
        }
        (_, id) => ListedObject {
            id: None,
            read: Err(Rejection::InvalidId(id.err().unwrap_or_default())),
        },
    }
}

fn change(
    table: &'static Table,
    clerk_id: ClerkId,
    object: &Object<'_>,
    text: &str,
    now: Timestamp,
) -> Result<Change, Rejection> {
    let time = |field| plausible_time(field, object.get(field), now, Timestamp::from_ms);
    let updated_at = time("updated_at")?;
    json::check_storable(text).map_err(Rejection::Unstorable)?;
    let profile = table.profile(object, text.into());
    let created_at = || profile.values[table.place("created_at")?].as_time();
    let version = Version {
        // Without one it is unknown how new it is: older than all that is known, but no older than
        // the object.
        updated_at: updated_at.or_else(created_at).unwrap_or(Timestamp::MIN),
        occurred_at: Timestamp::MIN,
        event_id: LISTED.clone(),
    };
    Ok(Change {
        table,
        clerk_id,
        profile: Some((version, profile)),
        deleted_at: None,
    })
}

/// The change that overrules a row with the same `updated_at` and other values: a row that was
/// altered by hand, or filled with other `OMIT_FIELDS`. Its time is that of the reading, which
/// shows no older state than any event of this `updated_at` before it.
pub fn overruling(listed: Change, read_at: Timestamp) -> Change {
    let profile = listed.profile.map(|(version, profile)| {
        (
            Version {
                occurred_at: read_at,
                event_id: CORRECTED.clone(),
                ..version
            },
            profile,
        )
    });
    Change { profile, ..listed }
}

/// The change that says that Clerk has no such object any more. The true delete occurred before it
/// was missed, and the join keeps the earliest: if its event still arrives, its time counts.
pub fn deleted(table: &'static Table, id: ClerkId, missed_at: Timestamp) -> Change {
    Change {
        table,
        clerk_id: id,
        profile: None,
        deleted_at: Some(missed_at),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tables::{organization_invitations, users};
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_ms(1_795_000_000_000).unwrap()
    }

    fn page(text: &str) -> Vec<ListedObject> {
        read(text, &OmittedFields::default()).unwrap()
    }

    fn read(text: &str, omitted: &OmittedFields) -> Option<Vec<ListedObject>> {
        let page = read_page(&users::TABLE, Paging::Cursor, text, omitted, now())?;
        Some(page.objects)
    }

    #[test]
    fn one_user_who_cannot_be_read_spoils_no_other() {
        let users = page(
            r#"[{"id":"user_1","updated_at":5}, {"id":"user_2","updated_at":"soon"}, {"updated_at":5}, 7, {"id":"user_3","updated_at":5,"x":"\u0000"},
                {"id":"user_4","updated_at":9795000000000}, {"id":"user_5"}, {"id":"user_6","created_at":3}]"#,
        );
        let ids: Vec<_> = users
            .iter()
            .map(|user| user.id.as_ref().map_or("", |id| id.as_str()))
            .collect();
        assert_eq!(
            ids,
            [
                "user_1", "user_2", "", "", "user_3", "user_4", "user_5", "user_6"
            ]
        );
        let code = |user: &ListedObject| user.read.as_ref().err().map_or("", Rejection::code);
        let codes: Vec<_> = users.iter().map(code).collect();
        let expected = [
            "",
            "implausible_time",
            "invalid_id",
            "invalid_id",
            "unstorable",
            "implausible_time",
            "",
            "",
        ];
        assert_eq!(codes, expected);
        let updated_at = |place: usize| {
            users[place]
                .read
                .as_ref()
                .unwrap()
                .profile
                .as_ref()
                .unwrap()
                .0
                .updated_at
                .ms()
        };
        assert_eq!([0, 6, 7].map(updated_at), [5, 1, 3]);
        assert!(read("{}", &OmittedFields::default()).is_none());
    }

    #[test]
    fn a_byte_that_is_no_text_fails_its_user_alone() {
        let body = b"[{\"id\":\"user_1\",\"updated_at\":5,\"x\":\"\xff\"},{\"id\":\"user_2\",\"updated_at\":5}]";
        let users = page(&text(body));
        assert!(
            matches!(users[0].read, Err(Rejection::Unstorable(_))),
            "{:?}",
            users[0]
        );
        assert!(users[1].read.is_ok());
    }

    #[test]
    fn what_is_omitted_is_in_no_change() {
        let omitted = OmittedFields::parse("private_metadata").unwrap();
        let text = r#"[{"id":"user_1","updated_at":5,"private_metadata":{"a":"secret"}}]"#;
        let users = read(text, &omitted).unwrap();
        assert!(!format!("{users:?}").contains("secret"));
    }

    #[test]
    fn a_page_with_a_count_has_its_objects_in_data() {
        let read = |text: &str| {
            let table = &organization_invitations::TABLE;
            let omitted = OmittedFields::default();
            read_page(table, Paging::Offset, text, &omitted, now())
        };
        let invitation = r#"{"id":"orginv_1","updated_at":5,"url":"https://token"}"#;
        let page = read(&format!(r#"{{"data":[{invitation}],"total_count":7}}"#)).unwrap();
        assert_eq!((page.objects.len(), page.total), (1, Some(7)));
        assert!(!format!("{page:?}").contains("token"), "{page:?}");
        for other in ["[]", "{}", r#"{"data":[]}"#, "<html>"] {
            assert!(read(other).is_none(), "{other}");
        }
    }
}
