//! `Bind`: a parameter of a statement, for either database.

use crate::clerk::Timestamp;

/// A parameter, which each database encodes in its own way.
#[derive(Debug, Clone)]
pub enum Bind<'a> {
    Text(Option<&'a str>),
    /// A text that is put together for the statement.
    Owned(Option<String>),
    Boolean(Option<bool>),
    Integer(Option<i64>),
    Time(Option<Timestamp>),
    /// A list: an array, or in SQLite a JSON text.
    Texts(Option<Vec<&'a str>>),
}

macro_rules! from {
    ($($of:ty => $value:ident $bind:expr;)*) => {
        $(impl<'a> From<$of> for Bind<'a> {
            fn from($value: $of) -> Self {
                $bind
            }
        })*
    };
}

from! {
    &'a str => text Self::Text(Some(text));
    Option<&'a str> => text Self::Text(text);
    Option<String> => text Self::Owned(text);
    Option<bool> => value Self::Boolean(value);
    i64 => number Self::Integer(Some(number));
    Option<i64> => number Self::Integer(number);
    u32 => number Self::Integer(Some(number.into()));
    Timestamp => time Self::Time(Some(time));
    Option<Timestamp> => time Self::Time(time);
    Vec<&'a str> => texts Self::Texts(Some(texts));
    Option<Vec<&'a str>> => texts Self::Texts(texts);
}
