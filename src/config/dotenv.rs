//! The text of a `.env` file as pairs of name and value.
//!
//! - One `NAME=value` per line, `export` before it or not. The text behind ` #` is a comment.
//!   Nothing is substituted: `$` is a `$`.
//! - Quotes around a whole value, `'`, `"` or a backtick, are removed; between them a value may
//!   have several lines. Between double quotes `\n`, `\r`, `\"` and `\\` are read as in most
//!   programs; everywhere else a backslash is a backslash.
//! - Of two lines with one name the later counts, as in a shell, Compose and systemd.
//! - The file is often another program's too. So a line that cannot be read is skipped, unless it
//!   is about a name of ours.

use std::collections::HashMap;

/// What is wrong with the file: where and what, never its text.
#[derive(Debug, PartialEq, Eq)]
pub struct DotenvError {
    /// Counted from 1; `None` if it is the whole file.
    pub line: Option<usize>,
    pub what: String,
    pub remedy: &'static str,
}

const AS_UTF_8: &str = "save it as UTF-8";

/// The pairs of the file. `is_ours` says which names clerk-sync reads.
pub fn parse(
    bytes: &[u8],
    is_ours: impl Fn(&str) -> bool,
) -> Result<HashMap<String, String>, DotenvError> {
    let whole = |what: &str| DotenvError {
        line: None,
        what: what.into(),
        remedy: AS_UTF_8,
    };
    let zeros = bytes.iter().filter(|byte| **byte == 0).count();
    if bytes.starts_with(&[0xFF, 0xFE])
        || bytes.starts_with(&[0xFE, 0xFF])
        || zeros * 3 > bytes.len()
    {
        return Err(whole("is UTF-16"));
    }
    let text = String::from_utf8_lossy(bytes)
        .replace("\r\n", "\n")
        .replace('\r', "\n");
    let lines: Vec<&str> = text.split('\n').collect();
    let mut pairs = HashMap::new();
    let mut next = 0;
    while let Some(line) = lines.get(next) {
        let number = next + 1;
        next += 1;
        let line = line.trim_matches(is_blank);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fault = |name: &str, what: &str| DotenvError {
            line: Some(number),
            what: format!("{name} {what}"),
            remedy: "write NAME=value, with a value of several words or with # between single quotes",
        };
        let Some((name, rest)) = assignment(line) else {
            match first_word(line) {
                Some(name) if is_ours(name) => return Err(fault(name, "cannot be read")),
                _ => continue,
            }
        };
        let value = match value(rest, &lines[next..]) {
            Ok((value, more)) => {
                let inner = lines[next..next + more]
                    .iter()
                    .enumerate()
                    .find_map(|(at, line)| {
                        let (name, _) = assignment(line.trim_matches(is_blank))?;
                        is_ours(name).then_some((at, name))
                    });
                // Most likely the quote was to end before, and the setting would be missed.
                if let Some((inner, name)) = inner {
                    return Err(DotenvError {
                        line: Some(next + 1 + inner),
                        what: format!("{name} is inside the quotes that start in line {number}"),
                        remedy: "close the quotes",
                    });
                }
                next += more;
                value
            }
            Err(what) if is_ours(name) => return Err(fault(name, what)),
            Err(_) => continue,
        };
        if is_ours(name) {
            if value.contains('\0') {
                return Err(fault(name, "holds a NUL character"));
            }
            if value.contains('\u{fffd}') {
                return Err(DotenvError {
                    remedy: AS_UTF_8,
                    ..fault(name, "is not UTF-8")
                });
            }
            pairs.insert(name.to_owned(), value);
        }
    }
    Ok(pairs)
}

/// White space, and the marks that editors and web pages leave unseen.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}')
}

/// The name and the text behind its `=`.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = without_export(line).split_once('=')?;
    let name = name.trim_end();
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(is_of_name);
    is_name.then_some((name, rest))
}

fn without_export(line: &str) -> &str {
    let rest = line
        .strip_prefix("export")
        .filter(|rest| rest.starts_with(char::is_whitespace));
    rest.map_or(line, str::trim_start)
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// The first word of a line that is no assignment: `NAME value`, `NAME: value`, `set NAME=value`,
/// `$NAME=value`, `- NAME=value`, `"NAME"=value`.
fn first_word(line: &str) -> Option<&str> {
    let line = without_export(line);
    let line = line
        .strip_prefix("set ")
        .or_else(|| line.strip_prefix("setenv "))
        .unwrap_or(line);
    let bare = line.trim_start_matches(['$', '-', '"', '\'', ' ']);
    let end = bare.find(|c| !is_of_name(c)).unwrap_or(bare.len());
    let (word, rest) = bare.split_at(end);
    // A key of a JSON text is no setting.
    let is_setting =
        bare.len() == line.len() || rest.trim_start_matches(['"', '\'', ' ']).starts_with('=');
    is_setting.then_some(word)
}

/// The value that starts with `rest`, and how many of the `following` lines belong to it.
fn value(rest: &str, following: &[&str]) -> Result<(String, usize), &'static str> {
    let start = rest.trim_start_matches(is_blank);
    let Some(quote) = start
        .chars()
        .next()
        .filter(|c| matches!(c, '\'' | '"' | '`'))
    else {
        return Ok((without_comment(rest).trim_matches(is_blank).into(), 0));
    };
    let mut value = String::new();
    let mut line = &start[1..];
    for more in 0..=following.len() {
        if let Some(behind) = until(line, quote, &mut value) {
            let behind = behind.trim_matches(is_blank);
            let is_whole = behind.is_empty() || behind.starts_with('#');
            return if is_whole {
                Ok((value, more))
            } else {
                Err("has text behind its closing quote")
            };
        }
        value.push('\n');
        line = following.get(more).copied().unwrap_or_default();
    }
    Err("has quotes that are never closed")
}

/// Reads up to the closing quote, and returns the text behind it. Returns `None` if the line has
/// none.
fn until<'a>(line: &'a str, quote: char, value: &mut String) -> Option<&'a str> {
    let mut chars = line.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Some(&line[at + 1..]);
        }
        let escaped = match chars.peek() {
            Some((_, 'n')) => Some('\n'),
            Some((_, 'r')) => Some('\r'),
            Some((_, c @ ('"' | '\\'))) => Some(*c),
            _ => None,
        };
        match escaped.filter(|_| c == '\\' && quote == '"') {
            Some(escaped) => {
                value.push(escaped);
                chars.next();
            }
            None => value.push(c),
        }
    }
    None
}

/// A `#` behind white space starts a comment; any other is part of the value.
fn without_comment(rest: &str) -> &str {
    let start = rest
        .char_indices()
        .find(|(at, c)| *c == '#' && rest[..*at].ends_with(is_blank));
    start.map_or(rest, |(at, _)| &rest[..at])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_ours(name: &str) -> bool {
        matches!(name, "DATABASE_URL" | "ADMIN_TOKEN" | "PORT")
    }

    fn read(text: impl AsRef<[u8]>) -> Result<HashMap<String, String>, DotenvError> {
        parse(text.as_ref(), is_ours)
    }

    /// The value of `DATABASE_URL`.
    fn url(text: impl AsRef<[u8]>) -> Option<String> {
        read(text).unwrap().remove("DATABASE_URL")
    }

    #[test]
    fn values_are_taken_as_they_stand() {
        for (line, value) in [
            ("DATABASE_URL=pa$sword1", "pa$sword1"),
            ("DATABASE_URL=pa${sword}1$$", "pa${sword}1$$"),
            ("DATABASE_URL=\"pa$sword1\"", "pa$sword1"),
            ("DATABASE_URL='pa\\$sw\"ord1'", "pa\\$sw\"ord1"),
            ("DATABASE_URL=`it's \"it\"`", "it's \"it\""),
            ("export DATABASE_URL=x", "x"),
            ("\texport\tDATABASE_URL = x  ", "x"),
            ("DATABASE_URL=", ""),
            ("DATABASE_URL=''", ""),
            ("DATABASE_URL= # none", ""),
            ("DATABASE_URL=a b=c # why", "a b=c"),
            ("DATABASE_URL=a#b", "a#b"),
            ("DATABASE_URL=#a", "#a"),
            ("DATABASE_URL='a # b' # why", "a # b"),
            ("DATABASE_URL=\"a\"# why", "a"),
            ("DATABASE_URL=\"a\\nb\\\\n\\\"c\\t\\d\"", "a\nb\\n\"c\\t\\d"),
            ("DATABASE_URL=a\\nb", "a\\nb"),
            ("DATABASE_URL=don't", "don't"),
            ("DATABASE_URL='\"a\"'", "\"a\""),
            ("\u{feff}DATABASE_URL=x", "x"),
            ("A=1\n\u{feff}\u{200b}DATABASE_URL=x\u{a0}", "x"),
            ("A=1\r\nDATABASE_URL=x\r\nB=2\r\n", "x"),
            ("A=1\rDATABASE_URL=x\rB=2", "x"),
            ("DATABASE_URL=x\nDATABASE_URL=y\n", "y"),
            ("DATABASE_URL=\"a\n b\nc\"\nPORT=1", "a\n b\nc"),
        ] {
            assert_eq!(url(line).as_deref(), Some(value), "{line:?}");
        }
    }

    #[test]
    fn what_is_not_ours_is_skipped_whatever_it_is() {
        for foreign in [
            "NEXT_PUBLIC_NAME=My App",
            "NEXT_PUBLIC_NAME='My App",
            "NEXT_PUBLIC_NAME=\"My \"quoted\" App\"",
            "NAME=\"never closed",
            "FIREBASE={\n  \"type\": \"service_account\",\n  \"PORT\": 1\n}",
            "{\"PORT\": 1}",
            "KEY=-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ==\n-----END PRIVATE KEY-----",
            "KEY=\"-----BEGIN PRIVATE KEY-----\nMIIE=\n-----END PRIVATE KEY-----\n\"",
            "just words",
            "[section]",
            "1=2",
            "=",
            "'",
            "#DATABASE_URL=commented",
            "database_url=other",
            "MY_DATABASE_URL=other",
            "DATABASE_URL_X other",
            "export",
            "export OTHER",
        ] {
            assert_eq!(
                url(format!("{foreign}\nDATABASE_URL='x'\n")).as_deref(),
                Some("x"),
                "{foreign:?}"
            );
            assert_eq!(read(foreign), Ok(HashMap::new()), "{foreign:?}");
        }
        // Latin-1 in a comment and in a value of another's.
        assert_eq!(
            url(b"# caf\xe9\nNAME=caf\xe9\nDATABASE_URL=x\n").as_deref(),
            Some("x")
        );
        assert_eq!(
            url(b"NAME=a\0b\nDATABASE_URL=xyz\n").as_deref(),
            Some("xyz")
        );
    }

    #[test]
    fn a_bad_line_of_ours_is_named_by_its_number_and_never_shown() {
        for (line, what) in [
            ("DATABASE_URL hunter2", "cannot be read"),
            ("DATABASE_URL: hunter2", "cannot be read"),
            ("export DATABASE_URL", "cannot be read"),
            ("set DATABASE_URL=hunter2", "cannot be read"),
            ("- DATABASE_URL=hunter2", "cannot be read"),
            ("$DATABASE_URL=hunter2", "cannot be read"),
            ("\"DATABASE_URL\"=hunter2", "cannot be read"),
            ("DATABASE_URL='hunter2", "never closed"),
            ("DATABASE_URL=\"hunter2\\\"", "never closed"),
            (
                "DATABASE_URL=\"hunter2\"hunter2",
                "behind its closing quote",
            ),
            ("DATABASE_URL=hunter2\0", "NUL"),
        ] {
            let fault = read(format!("A=1\n\n{line}\nB=2")).unwrap_err();
            assert_eq!(fault.line, Some(3), "{line}");
            assert!(
                fault.what.contains("DATABASE_URL") && fault.what.contains(what),
                "{line}: {fault:?}"
            );
            assert!(!format!("{fault:?}").contains("hunter2"), "{fault:?}");
        }
        let fault = read(b"DATABASE_URL=caf\xe9").unwrap_err();
        assert!(
            fault.what.contains("UTF-8") && fault.line == Some(1),
            "{fault:?}"
        );
        // Quotes of another's that are open until ours.
        let fault = read("NAME='My App\nDATABASE_URL=hunter2\nOTHER=x'\n").unwrap_err();
        assert!(
            fault.line == Some(2)
                && fault.what.contains("DATABASE_URL is inside")
                && fault.what.contains("line 1"),
            "{fault:?}"
        );
    }

    #[test]
    fn utf_16_is_named() {
        for big in [false, true] {
            for mark in ["", "\u{feff}"] {
                let units = format!("{mark}DATABASE_URL=x\r\n")
                    .encode_utf16()
                    .collect::<Vec<_>>();
                let bytes = units.iter().flat_map(|unit| {
                    if big {
                        unit.to_be_bytes()
                    } else {
                        unit.to_le_bytes()
                    }
                });
                let fault = read(bytes.collect::<Vec<_>>()).unwrap_err();
                assert!(
                    fault.line.is_none() && fault.what.contains("UTF-16"),
                    "{fault:?}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn any_value_is_read_back_from_quotes(value in "\\PC*", before in "[a-z #]*") {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
            let text = format!("NAME={before}\nDATABASE_URL=\"{escaped}\"\nPORT=1\n");
            if !value.contains('\u{fffd}') {
                prop_assert_eq!(url(text), Some(value));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(read(bytes));
        }
    }
}
