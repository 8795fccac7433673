//! The identifiers and times of Clerk's events and objects. Each is checked once, when it is made.

use std::fmt;
use std::sync::Arc;

/// Milliseconds since 1970, between 1 and the end of the year 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 9999-12-31T23:59:59.999Z: what PostgreSQL, SQLite's date functions and RFC 3339 can all
    /// write.
    const MAX_MS: i64 = 253_402_300_799_999;

    /// The earliest time.
    pub const MIN: Self = Self(1);
    /// The latest time.
    pub const MAX: Self = Self(Self::MAX_MS);

    /// Returns `None` for a time outside the range.
    pub fn from_ms(ms: i64) -> Option<Self> {
        (1..=Self::MAX_MS).contains(&ms).then_some(Self(ms))
    }

    /// Returns `None` for a time outside the range.
    pub fn from_seconds(seconds: i64) -> Option<Self> {
        seconds.checked_mul(1000).and_then(Self::from_ms)
    }

    /// Milliseconds since 1970.
    pub fn ms(self) -> i64 {
        self.0
    }
}

/// The `svix-id`: identifies an event over every retry and replay. Ordered byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Arc<str>);

impl EventId {
    const LENGTH_MAX: usize = 255;

    /// Accepts 1 to 255 of `A–Z a–z 0–9 _ -`; returns `None` for any other text. No dot: see
    /// `signature`.
    pub fn new(text: &str) -> Option<Self> {
        let valid = (1..=Self::LENGTH_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        valid.then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The ID of an object at Clerk: 1 to 255 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClerkId(Arc<str>);

impl ClerkId {
    const CHARACTERS_MAX: usize = 255;

    /// Returns `None` for a text of another length, or with a NUL character.
    pub fn new(text: &str) -> Option<Self> {
        let valid = !text.is_empty()
            && text.chars().nth(Self::CHARACTERS_MAX).is_none()
            && !text.contains('\0');
        valid.then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClerkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
