//! Escapes text from outside for people: no character controls a terminal, is invisible, or
//! reverses its neighbors. Each such character is shown by its number, as JSON writes it: `\u001b`.
//!
//! Everything that prints for people goes through here: tables, errors, logs, pages. Pure.

use std::borrow::Cow;

/// The text on one line. Line breaks and tabs are shown by number too: they could forge a row.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    shown(text, |_| None)
}

/// The text with its own line breaks and tabs, for a block of text.
#[must_use]
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    shown(text, |letter| {
        matches!(letter, '\n' | '\t').then_some(letter)
    })
}

/// A JSON document with the same value on one line: raw control characters in its texts are
/// escaped, and a line break between its tokens becomes a space.
#[must_use]
pub fn visible_json(json: &str) -> Cow<'_, str> {
    shown(json, |letter| {
        matches!(letter, '\n' | '\r' | '\t').then_some(' ')
    })
}

/// The same for a document that was indented by this program.
#[must_use]
pub fn visible_json_lines(json: &str) -> Cow<'_, str> {
    shown(json, |letter| match letter {
        '\n' => Some('\n'),
        '\r' | '\t' => Some(' '),
        _ => None,
    })
}

/// Longest value that an error repeats, in characters: a typing error is shorter, and most secrets
/// are not.
const REPEATED_MAX: usize = 40;

/// Returns whether an error may repeat a value that was given for something else: it is short, and
/// neither a URL, which may contain a password, nor one of Clerk's secrets.
#[must_use]
pub fn may_be_repeated(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let is_secret = ["whsec_", "sk_live_", "sk_test_"]
        .iter()
        .any(|start| lower.contains(start));
    let is_url = value.contains("://") || value.contains('@');
    !is_secret && !lower.starts_with("sk_") && !is_url && value.chars().count() <= REPEATED_MAX
}

/// `kept` returns the replacement of a character, or `None` to escape it if it hides.
fn shown(text: &str, kept: impl Fn(char) -> Option<char>) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let mut seen = String::with_capacity(text.len());
    let mut before = None;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match kept(letter) {
            Some(other) => seen.push(other),
            None if hides(before, letter, letters.peek().copied()) => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    seen += &format!("\\u{unit:04x}");
                }
            }
            None => seen.push(letter),
        }
        before = Some(letter);
    }
    Cow::Owned(seen)
}

/// Returns whether the character is invisible or changes its neighbors.
fn hides(before: Option<char>, letter: char, after: Option<char>) -> bool {
    match letter {
        // Control characters, DEL and C1 among them.
        _ if letter.is_control() => true,
        // Joiners belong to the writing of many languages and to emoji, and nowhere else.
        '\u{200c}' | '\u{200d}' => !(before.is_some_and(is_joined) && after.is_some_and(is_joined)),
        // Text or picture: of symbols alone.
        '\u{fe0e}' | '\u{fe0f}' => !before.is_some_and(is_symbol),
        // What Unicode calls format characters or ignorable by default, and separators of lines and
        // paragraphs.
        '\u{ad}'
        | '\u{34f}'
        | '\u{600}'..='\u{605}'
        | '\u{61c}'
        | '\u{6dd}'
        | '\u{70f}'
        | '\u{890}'..='\u{891}'
        | '\u{8e2}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'
        | '\u{200e}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0d}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{110bd}'
        | '\u{110cd}'
        | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}' => true,
        _ => false,
    }
}

/// Letters that a joiner can stand between: Arabic and Indic writing, its neighbors, and pictures.
fn is_joined(letter: char) -> bool {
    let is_writing = matches!(letter,
        '\u{620}'..='\u{8ff}' | '\u{900}'..='\u{109f}' | '\u{1780}'..='\u{18af}' | '\u{a800}'..='\u{abff}');
    is_writing && !hides(None, letter, None) || is_symbol(letter) || matches!(letter, '\u{fe0f}')
}

fn is_symbol(letter: char) -> bool {
    matches!(letter, '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}'
        | '\u{2190}'..='\u{2bff}' | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}' | '\u{1f000}'..='\u{1faff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_values_that_are_no_secrets_are_repeated() {
        for value in [
            "",
            "8O80",
            "Pretty",
            "user.create",
            "task_id",
            "a b/c:d",
            &"x".repeat(40),
        ] {
            assert!(may_be_repeated(value), "{value}");
        }
        for value in [
            "postgres://h/db",
            "a whsec_x",
            "WHSEC_x",
            "sk_x",
            "(sk_live_x)",
            "app:hunter2@h/db",
            &"x".repeat(41),
        ] {
            assert!(!may_be_repeated(value), "{value}");
        }
    }

    #[test]
    fn no_text_controls_a_terminal_or_hides() {
        for (text, expected) in [
            ("Ada\u{1b}[2J", r"Ada\u001b[2J"),
            ("\u{1b}]0;title\u{7}", r"\u001b]0;title\u0007"),
            ("a\nb\r\tc\u{8}\0", r"a\u000ab\u000d\u0009c\u0008\u0000"),
            (
                "\u{7f}\u{80}\u{9b}31m\u{85}",
                r"\u007f\u0080\u009b31m\u0085",
            ),
            (
                "gpj\u{202e}exe\u{2066}x\u{2069}\u{200e}\u{200f}\u{61c}",
                r"gpj\u202eexe\u2066x\u2069\u200e\u200f\u061c",
            ),
            (
                "a\u{200b}b\u{200c}c\u{200d}d\u{2060}e\u{feff}f\u{ad}",
                r"a\u200bb\u200cc\u200dd\u2060e\ufefff\u00ad",
            ),
            ("a\u{2028}b\u{2029}", r"a\u2028b\u2029"),
            ("\u{200d}\u{200d}", r"\u200d\u200d"),
            ("Bob\u{e0041}\u{e0101}", r"Bob\udb40\udc41\udb40\udd01"),
            (
                "\u{3164}\u{115f}\u{180e}\u{fe0f}",
                r"\u3164\u115f\u180e\ufe0f",
            ),
            ("\u{fff9}a\u{fffa}b\u{fffb}", r"\ufff9a\ufffab\ufffb"),
        ] {
            assert_eq!(visible(text), expected, "{text:?}");
            let left = visible(text);
            assert!(
                left.chars().all(|letter| !hides(None, letter, None)),
                "{left:?}"
            );
        }
    }

    #[test]
    fn characters_of_scripts_stay() {
        for text in [
            "Åsa Ünïcode 王小明 Ольга عمر",
            "क्\u{200d}ष",
            "می\u{200c}خواهم",
            "👩\u{200d}💻 ❤\u{fe0f} 👩\u{200d}❤\u{fe0f}\u{200d}👩",
            "e\u{301}",
            "\u{fffd}",
        ] {
            assert_eq!(visible(text), text);
        }
    }

    #[test]
    fn line_breaks_stay_in_a_block() {
        assert_eq!(visible_lines("a\tb\nc\r\u{1b}"), "a\tb\nc\\u000d\\u001b");
    }

    #[test]
    fn escaped_json_has_the_same_value() {
        let value =
            serde_json::json!({"a\u{9b}": "x\u{7f}y\u{202e}z\u{e0041}\n", "b": "क्\u{200d}ष"});
        let raw = serde_json::to_string(&value)
            .unwrap()
            .replace(',', ",\r\n\t");
        let one = visible_json(&raw);
        assert!(
            !one.contains(['\n', '\r', '\t', '\u{7f}', '\u{9b}', '\u{202e}']),
            "{one}"
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&one).unwrap(),
            value
        );
        let lines = serde_json::to_string_pretty(&value).unwrap();
        let lines = visible_json_lines(&lines);
        assert_eq!(lines.lines().count(), 4, "{lines}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&lines).unwrap(),
            value
        );
    }
}
