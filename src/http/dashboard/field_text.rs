//! How askama writes the value of a form's field (askama.toml).

use askama::filters::{Escaper, Html};

/// Escapes each character that a page would show by number as one of HTML's own numbers, so that the form sends what it was given.
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
