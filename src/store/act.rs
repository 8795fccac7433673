//! Actions of operators: who did what, when and to which events or user.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sqlx::Error;
use utoipa::ToSchema;

use super::database_row::{DatabaseRow, required};
use super::filter::{Cursor, EventFilter};
use super::time::Time;
use crate::clerk::{ClerkId, EventId, Timestamp};
use crate::clock::now;
use crate::format;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Failed events were published again.
    Replayed,
    /// Failed events were discarded.
    Discarded,
    /// The data of a user was erased.
    Erased,
    /// The rows of a user were deleted.
    Forgotten,
    /// Workers were paused.
    Paused,
    /// Workers were resumed.
    Resumed,
    /// The rate of the workers was limited, or the limit was taken away.
    RateLimited,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Replayed,
        Self::Discarded,
        Self::Erased,
        Self::Forgotten,
        Self::Paused,
        Self::Resumed,
        Self::RateLimited,
    ];

    /// Returns the text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
            Self::Erased => "erased",
            Self::Forgotten => "forgotten",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::RateLimited => "rate_limited",
        }
    }

    /// Returns the action of this name, or `None` if there is none.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }
}

/// By what an actor was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// `ADMIN_TOKEN`, over the API.
    AdminToken,
    /// A session of the dashboard, which starts with `ADMIN_TOKEN`.
    Dashboard,
    /// None: a command, which has the settings.
    Command,
}

impl Credential {
    const ALL: [Self; 3] = [Self::AdminToken, Self::Dashboard, Self::Command];

    /// Returns the text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AdminToken => "admin_token",
            Self::Dashboard => "dashboard",
            Self::Command => "command",
        }
    }

    /// Returns the text for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::AdminToken => "admin token",
            Self::Dashboard => "dashboard",
            Self::Command => "command",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|actor| actor.as_str() == name)
    }
}

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// By what the actor is known.
    pub credential: Credential,
    /// The address of the HTTP client; of a command the user and the host.
    pub address: Option<String>,
    /// The client's address as a proxy names it.
    pub forwarded_for: Option<String>,
}

/// What was done to an event: an element of `events.audit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventAct {
    /// When it was asked for.
    pub at: Time,
    /// What was done.
    pub action: Action,
    /// By what the actor was known.
    pub actor: Credential,
    /// The address of the HTTP client; of a command the user and the host.
    pub address: Option<String>,
    /// The client's address as a proxy names it; a client can write it too.
    pub forwarded_for: Option<String>,
}

impl EventAct {
    /// Where the actor was, for people.
    pub fn place(&self) -> String {
        place(self.address.as_deref(), self.forwarded_for.as_deref())
    }
}

fn place(address: Option<&str>, forwarded_for: Option<&str>) -> String {
    let address = address.unwrap_or("an unknown address");
    match forwarded_for {
        Some(client) => format!("{address}, for {client}"),
        None => address.to_owned(),
    }
}

/// A row of `audit`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Act {
    /// The ID of the row. It begins with the time.
    pub id: String,
    /// When it was asked for.
    pub at: Time,
    /// What was done.
    pub action: Action,
    /// By what the actor was known.
    pub actor: Credential,
    /// The address of the HTTP client; of a command the user and the host.
    pub address: Option<String>,
    /// The client's address as a proxy names it; a client can write it too.
    pub forwarded_for: Option<String>,
    /// The event, if it was about one.
    pub event_id: Option<String>,
    /// The user, if it was about one.
    pub clerk_id: Option<String>,
    /// How many events it was about; of an erasure the payloads that it emptied.
    pub count: Option<i64>,
    /// The filter of the events, if one selected them; `{}` is every failed event.
    #[schema(value_type = Option<std::collections::HashMap<String, String>>)]
    pub filter: Option<Box<RawValue>>,
    /// The reason that the actor gave, or the value that was set.
    pub reason: Option<String>,
}

impl Act {
    /// An action that is asked for now.
    pub fn new(action: Action, actor: &Actor) -> Self {
        let now = now();
        Self {
            id: format!("{}{:08x}", id_of(now), rand::random::<u32>()),
            at: Time(now),
            action,
            actor: actor.credential,
            address: actor.address.clone(),
            forwarded_for: actor.forwarded_for.clone(),
            event_id: None,
            clerk_id: None,
            count: None,
            filter: None,
            reason: None,
        }
    }

    /// The same about one event.
    #[must_use]
    pub fn about_event(self, id: &EventId) -> Self {
        let event_id = Some(id.to_string());
        Self { event_id, ..self }
    }

    /// The same about one user.
    #[must_use]
    pub fn about_user(self, id: &ClerkId) -> Self {
        let clerk_id = Some(id.to_string());
        Self { clerk_id, ..self }
    }

    /// The same about the events that a filter selects.
    #[must_use]
    pub fn about_events(self, filter: &EventFilter) -> Self {
        if let Some(ids) = &filter.ids {
            return match &ids[..] {
                [id] => self.about_event(id),
                _ => self,
            };
        }
        let time = |time: Option<Timestamp>| time.map(|time| Time(time).to_string());
        let parts = [
            ("event_type", filter.event_type.clone()),
            ("clerk_id", filter.clerk_id.clone()),
            ("error_code", filter.error_code.clone()),
            ("since", time(filter.since)),
            ("until", time(filter.until)),
        ];
        let given = parts
            .into_iter()
            .filter_map(|(name, value)| Some((name.into(), Value::String(value?))));
        let filter = serde_json::value::to_raw_value(&given.collect::<Map<_, _>>()).ok();
        Self { filter, ..self }
    }

    /// The same with a reason, if one is given.
    #[must_use]
    pub fn because(self, reason: Option<String>) -> Self {
        Self { reason, ..self }
    }

    /// The same with the limit that is set, or that none is.
    #[must_use]
    pub fn because_of_limit(self, limit: Option<NonZeroU32>) -> Self {
        let limit = limit.map_or("none".into(), |limit| format!("{limit} per second"));
        self.because(Some(limit))
    }

    /// The fields in their order.
    pub const FIELDS: [&str; 11] = [
        "id",
        "at",
        "action",
        "actor",
        "address",
        "forwarded_for",
        "event_id",
        "clerk_id",
        "count",
        "filter",
        "reason",
    ];

    /// Where the actor was, for people.
    pub fn place(&self) -> String {
        place(self.address.as_deref(), self.forwarded_for.as_deref())
    }

    /// Which events it was about and why, for people; not the event or the user that it names.
    pub fn details(&self) -> String {
        let events = self.count.filter(|_| self.event_id.is_none());
        let events = events.map(|count| {
            let what = match self.action {
                Action::Erased => "payload",
                _ => "event",
            };
            format::count(count.unsigned_abs(), what)
        });
        let filter = self.filter.as_deref().map(|filter| {
            let parts: Map<String, Value> = serde_json::from_str(filter.get()).unwrap_or_default();
            let parts = parts
                .iter()
                .filter_map(|(name, value)| Some((name, value.as_str()?)));
            let parts: Vec<_> = parts
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            if parts.is_empty() {
                "every failed one".into()
            } else {
                parts.join(", ")
            }
        });
        let events = match (events, filter) {
            (Some(events), Some(filter)) => Some(format!("{events}: {filter}")),
            (events, filter) => events.or(filter),
        };
        let parts = [events, self.reason.clone()];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    /// As the statements take it.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("a row can always be written as JSON")
    }

    pub(super) fn read(row: &DatabaseRow) -> Result<Self, Error> {
        Ok(Self {
            id: row.get("id")?,
            at: row.required_time("at")?,
            action: required(Action::named(row.get("action")?), "action")?,
            actor: required(Credential::named(row.get("actor")?), "actor")?,
            address: row.get("address")?,
            forwarded_for: row.get("forwarded_for")?,
            event_id: row.get("event_id")?,
            clerk_id: row.get("clerk_id")?,
            count: row.get("count")?,
            filter: row.json("filter")?,
            reason: row.get("reason")?,
        })
    }

    pub(super) fn cursor(&self) -> Option<Cursor> {
        let id = self.id.clone();
        Some(Cursor::Act { id })
    }
}

/// What every ID of this time begins with, in hexadecimal digits. The IDs of later times are greater.
pub(super) fn id_of(time: Timestamp) -> String {
    format!("{:012x}", time.ms())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_in_the_order_of_time_and_are_read_back() {
        let at = |ms| Timestamp::from_ms(ms).unwrap();
        let late = id_of(at(1_795_400_000_001));
        assert!(id_of(at(1_795_400_000_000)) < late && id_of(at(2)) < late);
        assert!(late < id_of(Timestamp::MAX) && id_of(Timestamp::MAX).len() == 12);
        let actor = Actor {
            credential: Credential::Command,
            address: None,
            forwarded_for: None,
        };
        let act = Act::new(Action::Paused, &actor);
        assert!(act.id.starts_with(&id_of(act.at.0)));
        let cursor = act.cursor().unwrap();
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }

    #[test]
    fn an_act_says_what_it_was_about() {
        let actor = Actor {
            credential: Credential::AdminToken,
            address: Some("192.0.2.1".into()),
            forwarded_for: Some("203.0.113.9".into()),
        };
        let of = |count, act: Act| Act { count, ..act }.details();
        let act = || Act::new(Action::Replayed, &actor);
        let filter = EventFilter {
            error_code: Some("unrouted".into()),
            clerk_id: Some("user_1".into()),
            ..EventFilter::default()
        };
        let narrow = act().about_events(&filter);
        assert_eq!(narrow.place(), "192.0.2.1, for 203.0.113.9");
        assert_eq!(
            of(Some(2), narrow),
            "2 events: clerk_id=user_1, error_code=unrouted"
        );
        let all = act().about_events(&EventFilter::default());
        assert_eq!(of(Some(1), all), "1 event: every failed one");
        let one = act().about_event(&EventId::new("msg_1").unwrap());
        assert_eq!(of(Some(1), one), "");
        assert_eq!(
            of(None, act().because_of_limit(NonZeroU32::new(50))),
            "50 per second"
        );
    }

    #[test]
    fn the_fields_are_those_that_are_written() {
        let actor = Actor {
            credential: Credential::Command,
            address: None,
            forwarded_for: None,
        };
        let written = serde_json::to_value(Act::new(Action::Paused, &actor)).unwrap();
        let written = written.as_object().unwrap();
        assert!(written.len() == Act::FIELDS.len());
        assert!(Act::FIELDS.iter().all(|name| written.contains_key(*name)));
    }

    #[test]
    fn names_are_read_back() {
        for action in Action::ALL {
            assert_eq!(Action::named(action.as_str()), Some(action));
            assert_eq!(serde_json::to_value(action).unwrap(), action.as_str());
        }
        for actor in Credential::ALL {
            assert_eq!(Credential::named(actor.as_str()), Some(actor));
            assert_eq!(serde_json::to_value(actor).unwrap(), actor.as_str());
        }
    }
}
