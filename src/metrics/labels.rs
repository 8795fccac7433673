//! The values of labels: closed sets, so that no sender can create time series.

use crate::clerk::tables;

/// A set of label values. With `else`, `of` returns that value for every other name.
macro_rules! labels {
    ($(#[$about:meta])* $set:ident { $($(#[$note:meta])* $value:ident = $name:literal,)+ } $(else $other:ident)?) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $set {
            $($(#[$note])* #[doc = concat!("`", $name, "`")] $value,)+
        }

        impl $set {
            /// All values, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$value),+];
            /// How many values there are.
            pub const COUNT: usize = Self::ALL.len();

            /// Returns the value as text.
            pub fn name(self) -> &'static str {
                match self { $(Self::$value => $name,)+ }
            }

            $(
                /// Returns the value of this name.
                pub fn of(name: &str) -> Self {
                    let mut all = Self::ALL.iter().copied();
                    all.find(|known| known.name() == name).unwrap_or(Self::$other)
                }
            )?
        }
    };
}

/// The type of an event: one that fills a table, or any other. No part of a delivery is read before
/// its signature is valid, so an unknown one is another too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventType(usize);

impl EventType {
    /// How many there are.
    pub const COUNT: usize = {
        let (mut count, mut table) = (1, 0);
        while table < tables::ALL.len() {
            count += tables::ALL[table].events.len();
            table += 1;
        }
        count
    };

    /// All, in the order of their places.
    pub const ALL: &[Self] = &{
        let mut all = [Self::OTHER; Self::COUNT];
        let mut place = 0;
        while place < all.len() {
            all[place] = Self(place);
            place += 1;
        }
        all
    };

    /// Any type that fills no table.
    pub const OTHER: Self = Self(Self::COUNT - 1);

    /// The place in `ALL`.
    pub fn place(self) -> usize {
        self.0
    }

    /// The value as text.
    pub fn name(self) -> &'static str {
        Self::names().nth(self.0).unwrap_or("other")
    }

    /// The value of this name.
    pub fn of(name: &str) -> Self {
        let place = Self::names().position(|known| known == name);
        place.map_or(Self::OTHER, Self)
    }

    fn names() -> impl Iterator<Item = &'static str> {
        let events = tables::ALL.iter().flat_map(|table| table.events);
        events.map(|kind| kind.name)
    }
}

labels! {
    /// How a delivery over HTTP was answered: a 200, or the code of the problem.
    WebhookResult {
        Queued = "queued",
        Ignored = "ignored",
        MissingHeader = "missing_header",
        InvalidHeader = "invalid_header",
        InvalidSignature = "invalid_signature",
        TimestampOutOfTolerance = "timestamp_out_of_tolerance",
        InvalidRequest = "invalid_request",
        RequestTimeout = "request_timeout",
        BodyTooLarge = "body_too_large",
        QueueUnavailable = "queue_unavailable",
        Overloaded = "overloaded",
        /// A valid signature, but not the path or the method of the webhook.
        NotFound = "not_found",
        Other = "other",
    }
}

labels! {
    /// The outcome of an event from the queue, or of a failed event that a person discarded.
    EventStatus {
        Applied = "applied",
        Stale = "stale",
        Repeated = "repeated",
        Failed = "failed",
        Discarded = "discarded",
    }
}

labels! {
    /// Why a queue gave an event up. `Other` is what the database says when it refuses even that
    /// record.
    DeadLetterReason {
        DeliveryLimit = "delivery_limit",
        Expired = "expired",
        Maxlen = "maxlen",
        Rejected = "rejected",
        Unrouted = "unrouted",
        Other = "other",
    } else Other
}

labels! {
    /// How a refresh of a user was answered: with the row, or the code of the problem.
    RefreshResult {
        Refreshed = "refreshed",
        NotFound = "not_found",
        ClerkKeyMissing = "clerk_key_missing",
        ClerkRateLimited = "clerk_rate_limited",
        ClerkUnavailable = "clerk_unavailable",
        Other = "other",
    }
}

impl WebhookResult {
    /// The answers to deliveries that cannot be trusted.
    pub const DISTRUST: [Self; 4] = [
        Self::MissingHeader,
        Self::InvalidHeader,
        Self::InvalidSignature,
        Self::TimestampOutOfTolerance,
    ];

    /// Returns the types of events that can have this answer: only some answers come after the type
    /// was read.
    pub fn event_types(self) -> &'static [EventType] {
        match self {
            Self::Queued | Self::QueueUnavailable | Self::NotFound => EventType::ALL,
            _ => &[EventType::OTHER],
        }
    }
}
