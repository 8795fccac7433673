//! Clerk's list of users: what a page of it says, as changes that the rule can join.
//!
//! A user object that was read from the list is no event, so it has neither `svix-id` nor time of its own. It gets the lowest
//! version that its `updated_at` allows: `(updated_at, Timestamp::MIN, LISTED)`. From that follows, by the join alone:
//!
//! - It fills a row that has nothing, or an older `updated_at`, and an event with a later one overrules it, whichever comes first.
//! - An event with the same `updated_at` tells of the same state and wins over it, in either order: each event occurred later than
//!   `Timestamp::MIN`.
//! - Read again it is the same version, which alters nothing.
//! - It never says `deleted_at`, and the join keeps the earliest one that anybody said. So a page that was read before a delete
//!   and is written after it fills a profile at most, and brings nobody back.
//!
//! The rule needs no case for any of this, and so neither do the stores.

use std::borrow::Cow;
use std::sync::LazyLock;

use serde_json::value::RawValue;

use super::change::{Change, Version};
use super::event::{AHEAD_MAX_MS, Rejection, read_user};
use super::id::{ClerkId, EventId, Timestamp};
use super::json;
use super::redact::OmittedFields;
use super::user::UserProfile;

/// What stands for an event's ID in the version of a user that was read from the list.
pub static LISTED: LazyLock<EventId> = LazyLock::new(|| id("backfill"));

/// The same for a row that differs from the list though it has the same `updated_at`; see `overruling`.
static CORRECTED: LazyLock<EventId> = LazyLock::new(|| id("reconcile"));

/// Whether this stands for no event in the version of a row, but for a reading of the list.
pub fn is_reading(event_id: &str) -> bool {
    [&*LISTED, &*CORRECTED]
        .iter()
        .any(|id| id.as_str() == event_id)
}

fn id(name: &str) -> EventId {
    EventId::new(name).expect("lower case letters are of the characters of an event ID")
}

/// One user of a page.
#[derive(Debug)]
pub struct ListedUser {
    /// Nothing where it cannot be read.
    pub id: Option<ClerkId>,
    pub read: Result<Change, Rejection>,
}

/// The text of a body. A byte that is no UTF-8 becomes the escape of a NUL character, which no database holds: it fails the one
/// user in whom it stands, and not the page.
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

/// The users of a page, in its order; nothing where it is no list.
pub fn read_page(page: &str, omitted: &OmittedFields, now: Timestamp) -> Option<Vec<ListedUser>> {
    let users: Vec<&RawValue> = serde_json::from_str(page).ok()?;
    Some(
        users
            .into_iter()
            .map(|user| read_one(user, omitted, now))
            .collect(),
    )
}

fn read_one(user: &RawValue, omitted: &OmittedFields, now: Timestamp) -> ListedUser {
    let stripped = omitted
        .out_of_object(user.get())
        .and_then(|text| RawValue::from_string(text).ok());
    let user = stripped.as_deref().unwrap_or(user);
    match read_user(user) {
        Ok((id, object)) => {
            let read = || {
                let updated_at = time("updated_at", object.updated_at, now)?;
                if let Some(reason) = json::unstorable(user.get()) {
                    return Err(Rejection::Unstorable(reason));
                }
                let profile = object.profile(user);
                // Nobody knows how new it is: older than all that is known, but no older than the user.
                let updated_at = updated_at.or(profile.created_at).unwrap_or(Timestamp::MIN);
                let version = Version {
                    updated_at,
                    occurred_at: Timestamp::MIN,
                    event_id: LISTED.clone(),
                };
                Ok(Change {
                    clerk_id: id.clone(),
                    profile: Some((version, profile)),
                    deleted_at: None,
                })
            };
            ListedUser {
                read: read(),
                id: Some(id),
            }
        }
        Err(rejection) => ListedUser {
            id: None,
            read: Err(rejection),
        },
    }
}

/// As for an event: a time that lies far ahead would shut out every update until then.
fn time(
    field: &'static str,
    value: Option<&RawValue>,
    now: Timestamp,
) -> Result<Option<Timestamp>, Rejection> {
    let Some(value) = value.filter(|value| !json::is_null(value)) else {
        return Ok(None);
    };
    let rejected = |fault| Rejection::ImplausibleTime { field, fault };
    let number = json::integer(value).ok_or(rejected("is no integer"))?;
    let time =
        Timestamp::from_ms(number).ok_or(rejected("is not between 1970 and the year 9999"))?;
    if time.ms() > now.ms() + AHEAD_MAX_MS {
        return Err(rejected("is more than 24 hours ahead"));
    }
    Ok(Some(time))
}

/// The change that overrules a row of the same `updated_at` and another content: a row that was altered past the rule, or filled with other
/// `OMIT_FIELDS`. It is as of the reading, which shows no older state than any event of this `updated_at` that occurred before it.
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

/// The change that says that Clerk has no such user any more. The true `user.deleted` occurred before it was missed, and the join keeps the
/// earliest: when that event comes after all, its time stands.
pub fn deleted(id: ClerkId, missed_at: Timestamp) -> Change {
    Change {
        clerk_id: id,
        profile: None,
        deleted_at: Some(missed_at),
    }
}

/// What people and programs look users up by, and what lets them in: enough to tell a row that was altered past the rule. Of the other
/// fields some change without `updated_at`, and some are written in another way in the list than in an event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    pub texts: [Option<String>; 6],
    pub truths: [Option<bool>; 6],
}

impl Outline {
    pub const TEXTS: [&'static str; 6] = [
        "email",
        "phone",
        "username",
        "first_name",
        "last_name",
        "external_id",
    ];
    pub const TRUTHS: [&'static str; 6] = [
        "email_verified",
        "phone_verified",
        "banned",
        "locked",
        "two_factor_enabled",
        "password_enabled",
    ];

    /// Whether a row with this outline holds what the profile says. What one of the two leaves out is no difference: an event
    /// has fewer of the truth values than the list.
    pub fn agrees_with(&self, profile: &UserProfile) -> bool {
        let texts = [
            &profile.email,
            &profile.phone,
            &profile.username,
            &profile.first_name,
            &profile.last_name,
            &profile.external_id,
        ];
        let truths = [
            profile.email_verified,
            profile.phone_verified,
            profile.banned,
            profile.locked,
            profile.two_factor_enabled,
            profile.password_enabled,
        ];
        self.texts
            .iter()
            .zip(texts)
            .all(|(ours, theirs)| ours == theirs)
            && self
                .truths
                .iter()
                .zip(truths)
                .all(|(ours, theirs)| ours.is_none() || theirs.is_none() || *ours == theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_ms(1_795_000_000_000).unwrap()
    }

    fn page(text: &str) -> Vec<ListedUser> {
        read_page(text, &OmittedFields::default(), now()).unwrap()
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
        let code = |user: &ListedUser| user.read.as_ref().err().map_or("", Rejection::code);
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
        assert!(read_page("{}", &OmittedFields::default(), now()).is_none());
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
        let users = read_page(text, &omitted, now()).unwrap();
        assert!(!format!("{users:?}").contains("secret"));
    }
}
