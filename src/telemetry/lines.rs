//! Writes log lines to stderr: one per record, without characters that control a terminal.

use std::io::{self, Write};

use crate::escape::visible;

/// Writes each record at once. A closed stderr or a full disk is ignored.
pub struct Stderr {
    /// Whether the formatter colors its lines; it escapes the escape characters of values.
    pub has_color: bool,
}

impl Write for Stderr {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let line = line(&String::from_utf8_lossy(record), self.has_color);
        // An error would be printed by the caller, to the same place, and panic there.
        drop(io::stderr().lock().write_all(line.as_bytes()));
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the record as one line. With color, color sequences stay.
fn line(record: &str, has_color: bool) -> String {
    let record = record.strip_suffix('\n').unwrap_or(record);
    let mut line = String::with_capacity(record.len() + 1);
    let mut rest = record;
    while let Some(at) = rest.find("\u{1b}[").filter(|_| has_color) {
        let (before, sequence) = rest.split_at(at);
        line += &visible(before);
        let end = sequence[2..]
            .find(|letter: char| !letter.is_ascii_digit() && letter != ';')
            .map(|end| end + 2);
        match end.filter(|end| sequence[*end..].starts_with('m')) {
            Some(end) => {
                line += &sequence[..=end];
                rest = &sequence[end + 1..];
            }
            None => {
                line += &visible(&sequence[..1]);
                rest = &sequence[1..];
            }
        }
    }
    line += &visible(rest);
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_and_keeps_its_colors() {
        let record =
            "\u{1b}[31mERROR\u{1b}[0m Ada\u{202e}\nforged\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}1m\n";
        assert_eq!(
            line(record, true),
            "\u{1b}[31mERROR\u{1b}[0m Ada\\u202e\\u000aforged\\u001b[2J\\u001b]0;x\\u0007\\u009b1m\n"
        );
        assert!(!line(record, false).contains('\u{1b}'));
        assert_eq!(line("{\"a\":\"b\"}\n", false), "{\"a\":\"b\"}\n");
    }
}
