//! Escapes values in addresses and in the fields of forms.

use askama::filters::{Escaper, Html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The text as a part of a path or as a value in a query string.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Escapes each character that a page would show by number as one of HTML's own numbers, so that
/// the form sends what it was given.
#[derive(Clone, Copy)]
pub struct FieldText;

impl Escaper for FieldText {
    fn write_escaped_str<W: std::fmt::Write>(&self, mut page: W, text: &str) -> std::fmt::Result {
        for letter in text.chars() {
            match letter {
                ' '..='~' => Html.write_escaped_char(&mut page, letter)?,
                _ => write!(page, "&#{};", u32::from(letter))?,
            }
        }
        Ok(())
    }
}
