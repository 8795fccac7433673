//! Filters, and pages that neither skip nor repeat a row while rows change.

use std::num::NonZeroU32;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, NaiveDate};

use super::bind::Bind;
use super::event_status::Status;
use super::sort::Sort;
use crate::clerk::tables::{self, users};
use crate::clerk::{ClerkId, EventId, Table, Timestamp};
use crate::format;

/// Selects users. Every part that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct UserFilter {
    /// The primary address; case does not count.
    pub email: Option<String>,
    /// The phone number.
    pub phone: Option<String>,
    /// The user name.
    pub username: Option<String>,
    /// Your own ID.
    pub external_id: Option<String>,
    /// What a person typed: the beginning of a Clerk ID, an e-mail address, a phone number, a
    /// username, an external ID, a first or a last name, or of both. Case does not count but in
    /// IDs.
    pub q: Option<String>,
    /// Only users with one of these Clerk IDs.
    pub ids: Option<Vec<String>>,
    /// Only deleted ones, only the others, or with `None` both.
    pub deleted: Option<bool>,
}

impl UserFilter {
    /// Whether an index leads to the users in this order. A search has one order, and deleted users
    /// have an index of their own.
    pub fn has_index_for(&self, sort: Sort) -> bool {
        match self {
            Self { q: Some(_), .. } => sort == Sort::NEWEST_USERS,
            Self {
                deleted: Some(true),
                ..
            } => sort.is_by_id(),
            _ => true,
        }
    }
}

/// Selects events. Every part that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// The status; `None` for all.
    pub status: Option<Status>,
    /// The type; `None` for all.
    pub event_type: Option<String>,
    /// Clerk's ID.
    pub clerk_id: Option<String>,
    /// The `error_code` of failed events, and of discarded ones that failed before. With the status
    /// `failed` an index serves it.
    pub error_code: Option<String>,
    /// Only events with one of these IDs.
    pub ids: Option<Vec<EventId>>,
    /// Received at this time or later.
    pub since: Option<Timestamp>,
    /// Received before this time.
    pub until: Option<Timestamp>,
}

/// Reads a date, a time, or an age before `now`, as people and programs write them in a filter.
///
/// # Errors
/// Says what to give.
pub fn read_time(text: &str, now: Timestamp) -> Result<Timestamp, &'static str> {
    let age = || {
        let age = i64::try_from(format::read_duration(text)?.as_millis()).ok()?;
        Some(within(now.ms() - age))
    };
    let time = || {
        Some(within(
            DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis(),
        ))
    };
    let date = || {
        Some(within(
            text.parse::<NaiveDate>()
                .ok()?
                .and_hms_opt(0, 0, 0)?
                .and_utc()
                .timestamp_millis(),
        ))
    };
    age()
        .or_else(time)
        .or_else(date)
        .ok_or("give a date (2026-11-23, in UTC), a time (2026-11-23T16:00:00Z) or an age (90s, 15m, 2h, 7d)")
}

/// The nearest time that an event can have.
fn within(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms).unwrap_or(if ms < 1 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// A page of a listing.
#[derive(Debug, Clone)]
pub struct Page {
    /// Most rows of a page.
    pub limit: NonZeroU32,
    /// Where the page before ended; `None` for the first page.
    pub after: Option<Cursor>,
}

impl Page {
    /// The parameters for where the part before ended: the time of receipt and the ID of an event.
    pub(super) fn after_event(&self) -> [Bind<'_>; 2] {
        match &self.after {
            Some(Cursor::Event {
                received_at,
                event_id,
            }) => [(*received_at).into(), event_id.as_str().into()],
            Some(Cursor::Sorted { value, id, .. }) => {
                [time_of(value.as_deref()).into(), id.as_str().into()]
            }
            _ => [Bind::Time(None), Bind::Text(None)],
        }
    }
}

/// Rows, and where the next page starts.
#[derive(Debug, Clone)]
pub struct Listing<T> {
    /// The rows of the page.
    pub rows: Vec<T>,
    /// `None` if there are no more.
    pub next: Option<Cursor>,
}

impl<T> Listing<T> {
    /// From up to `limit + 1` rows: the last one shows that there are more.
    pub(super) fn of(mut rows: Vec<T>, page: &Page, cursor: impl Fn(&T) -> Option<Cursor>) -> Self {
        let limit = page.limit.get() as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).and_then(cursor);
        Self { rows, next }
    }
}

/// The place of a row in the order of its listing. It stays valid while rows change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor {
    /// A user.
    User {
        /// Clerk's ID.
        clerk_id: String,
    },
    /// An event.
    Event {
        /// When it was received.
        received_at: Timestamp,
        /// The event's ID.
        event_id: EventId,
    },
    /// A row of another table than users.
    Row {
        /// The table.
        table: &'static Table,
        /// Clerk's ID.
        clerk_id: String,
    },
    /// A row of the audit.
    Act {
        /// Its ID: 20 hexadecimal digits.
        id: String,
    },
    /// A row of a list in another order than the usual one.
    Sorted {
        /// The order.
        sort: Sort,
        /// The value of its column, if there is one beside the ID: of a time its milliseconds.
        value: Option<String>,
        /// The ID.
        id: String,
    },
}

impl Cursor {
    /// The order of the list that it is of. Returns `None` for a list that has one order.
    pub fn sort(&self) -> Option<Sort> {
        match self {
            Self::User { .. } => Some(Sort::NEWEST_USERS),
            Self::Event { .. } => Some(Sort::NEWEST_EVENTS),
            Self::Row { .. } | Self::Act { .. } => None,
            Self::Sorted { sort, .. } => Some(*sort),
        }
    }

    /// Whether it is of a list of events.
    pub fn is_of_events(&self) -> bool {
        self.sort().is_some_and(Sort::is_of_events)
    }

    /// Whether it is of a list of users.
    pub fn is_of_users(&self) -> bool {
        self.sort().is_some_and(|sort| !sort.is_of_events())
    }

    /// Whether it is of a list of the rows of this table.
    pub fn is_of(&self, rows_of: &Table) -> bool {
        match self {
            Self::Row { table, .. } => *table == rows_of,
            _ => self.is_of_users() && rows_of.name == users::TABLE.name,
        }
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User { clerk_id } => write!(f, "u.{clerk_id}"),
            Self::Row { table, clerk_id } => write!(f, "r.{}.{clerk_id}", table.name),
            Self::Act { id } => write!(f, "a.{id}"),
            Self::Event {
                received_at,
                event_id,
            } => write!(f, "e.{}.{event_id}", received_at.ms()),
            Self::Sorted { sort, value, id } => {
                let value = value.as_ref();
                let value = value.map(|value| format!("v{}", URL_SAFE_NO_PAD.encode(value)));
                write!(f, "s.{sort}.{}.{id}", value.unwrap_or_default())
            }
        }
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    /// Only what `to_string` makes: no place has two names.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let event = |rest: &str| {
            let (ms, id) = rest.split_once('.')?;
            Some(Self::Event {
                received_at: time_of(Some(ms))?,
                event_id: EventId::new(id)?,
            })
        };
        match text.split_once('.') {
            Some(("u", id)) if ClerkId::new(id).is_some() => Ok(Self::User {
                clerk_id: id.into(),
            }),
            Some(("r", rest)) => row(rest).ok_or("is no cursor of this listing"),
            Some(("a", id)) if is_id_of_act(id) => Ok(Self::Act { id: id.into() }),
            Some(("e", rest)) => event(rest).ok_or("is no cursor of this listing"),
            Some(("s", rest)) => sorted(rest).ok_or("is no cursor of this listing"),
            _ => Err("is no cursor of this listing"),
        }
    }
}

fn is_id_of_act(text: &str) -> bool {
    text.len() == 20
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn row(text: &str) -> Option<Cursor> {
    let (name, id) = text.split_once('.')?;
    // Users have a cursor of their own.
    let table = tables::named(name).filter(|table| table.name != users::TABLE.name)?;
    Some(Cursor::Row {
        table,
        clerk_id: ClerkId::new(id)?.to_string(),
    })
}

fn sorted(text: &str) -> Option<Cursor> {
    let mut parts = text.splitn(3, '.');
    let (name, value, id) = (parts.next()?, parts.next()?, parts.next()?);
    let value = match value.strip_prefix('v') {
        Some(encoded) => {
            let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
            Some(
                String::from_utf8(bytes)
                    .ok()
                    .filter(|text| !text.contains('\0'))?,
            )
        }
        None => value.is_empty().then_some(None)?,
    };
    let sort =
        Sort::named(name, &Sort::OF_EVENTS).or_else(|| Sort::named(name, &Sort::OF_USERS))?;
    let is_place = if sort.is_of_events() {
        EventId::new(id).is_some() && time_of(value.as_deref()).is_some()
    } else {
        ClerkId::new(id).is_some() && (value.is_none() || !sort.is_by_id())
    };
    let is_usual = [Sort::NEWEST_EVENTS, Sort::NEWEST_USERS].contains(&sort);
    (is_place && !is_usual).then(|| Cursor::Sorted {
        sort,
        value,
        id: id.into(),
    })
}

/// A time in a cursor.
fn time_of(ms: Option<&str>) -> Option<Timestamp> {
    let time = Timestamp::from_ms(ms?.parse().ok()?);
    time.filter(|time| Some(&*time.ms().to_string()) == ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_may_be_a_date_a_time_or_an_age() {
        let now = Timestamp::from_ms(1_795_400_000_000).unwrap();
        assert_eq!(
            read_time("2026-11-23", now).unwrap().ms(),
            1_795_392_000_000
        );
        assert_eq!(
            read_time("2026-11-23T01:00:00+01:00", now).unwrap().ms(),
            1_795_392_000_000
        );
        assert_eq!(now.ms() - read_time("1h", now).unwrap().ms(), 3_600_000);
        for (early, late) in [
            ("99999d", "9999-12-31"),
            ("0001-01-01", "9999-12-31T23:59:59-23:59"),
        ] {
            assert_eq!(read_time(early, now), Ok(Timestamp::MIN));
            assert!(read_time(late, now).unwrap() > now);
        }
        for bad in [
            "",
            "soon",
            "1w",
            "-",
            "h",
            "-1h",
            "é",
            "2026-13-01",
            "99999999999999999d",
            "100000d",
            "+1d",
        ] {
            assert!(read_time(bad, now).is_err(), "{bad}");
        }
    }

    fn sorted(sort: &str, value: Option<&str>, id: &str) -> Cursor {
        let of_events = Sort::named(sort, &Sort::OF_EVENTS);
        Cursor::Sorted {
            sort: of_events
                .or_else(|| Sort::named(sort, &Sort::OF_USERS))
                .unwrap(),
            value: value.map(str::to_owned),
            id: id.into(),
        }
    }

    #[test]
    fn a_cursor_reads_back_what_it_wrote() {
        let cursors = [
            Cursor::User {
                clerk_id: "user_1.x".into(),
            },
            Cursor::Event {
                received_at: Timestamp::from_ms(1_795_172_400_000).unwrap(),
                event_id: EventId::new("msg_1").unwrap(),
            },
            Cursor::Act {
                id: "01a1b2c3d4e5f6071829".into(),
            },
            Cursor::Row {
                table: &tables::organizations::TABLE,
                clerk_id: "org_1.x".into(),
            },
            sorted("received_at", Some("1795172400000"), "msg_1"),
            sorted("-email", Some("Ada.é@example.com"), "user_1.x"),
            sorted("username", Some(""), "user_1"),
            sorted("username", None, "user_1"),
            sorted("clerk_id", None, "user_1"),
        ];
        for cursor in cursors {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for bad in [
            "",
            "x",
            "u.",
            "u.\0",
            "e.1",
            "e.x.msg_1",
            "e.0.msg_1",
            "e.+5.msg_1",
            "e.05.msg_1",
            "r.organizations.",
            "r.users.user_1",
            "r.events.msg_1",
            "r.organizations",
            "a.",
            "a.1",
            "a.01a1b2c3d4e5f607182G",
            "s.received_at.vMQ",
            "s.received_at..msg_1",
            "s.received_at.vMDU.msg_1",
            "s.-received_at.vNQ.msg_1",
            "s.-clerk_id..user_1",
            "s.clerk_id.vNQ.user_1",
            "s.updated_at.vNQ.user_1",
            "s.email.NQ.user_1",
            "s.email.vNR.user_1",
            "s.email.vAA.user_1",
            "s.email.vNQ.",
        ] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }
}
