//! The search for a user: what a person types, as the beginnings of texts that the indexes find.
//! Pure.

use super::bind::Bind;
use super::sqlite::lowercase::fold;

/// The beginnings to look for. A user who matches one of them is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Search {
    /// As it was typed: the beginning of a Clerk ID, an address, a name of any kind or an ID of the
    /// application.
    pub text: String,
    /// The beginning of a number as Clerk writes it, where the text can be one.
    pub phone: Option<String>,
    /// The beginnings of a first and a last name, where there are two words or more.
    pub names: Option<(String, String)>,
}

impl Search {
    /// Returns `None` for white space alone.
    pub fn of(typed: &str) -> Option<Self> {
        let text = typed.trim();
        let names = text
            .split_once(char::is_whitespace)
            .map(|(first, last)| (first.into(), last.trim_start().into()));
        (!text.is_empty()).then(|| Self {
            text: text.into(),
            phone: phone(text),
            names,
        })
    }

    /// The parameters of the search, behind those of the filter: PostgreSQL looks for patterns,
    /// SQLite for ranges.
    pub fn binds(&self, is_sqlite: bool) -> Vec<Bind<'_>> {
        let phone = self.phone.as_deref().unwrap_or(&self.text);
        let (first, last) = self
            .names
            .as_ref()
            .map(|(first, last)| (&**first, &**last))
            .unzip();
        if is_sqlite {
            let text: [Bind<'_>; 2] = [(&*self.text).into(), Some(end_of(&self.text)).into()];
            let phone = [phone.into(), Some(end_of(phone)).into()];
            let folded = [first, last, Some(&self.text)].map(folded_range);
            return [text, phone].into_iter().chain(folded).flatten().collect();
        }
        vec![
            (&*self.text).into(),
            Some(escaped(&self.text)).into(),
            Some(escaped(phone)).into(),
            first.map(escaped).into(),
            last.map(escaped).into(),
            COMMON_FROM.into(),
        ]
    }

    /// The parameters of the query whether many users match.
    pub fn binds_of_count(&self, is_sqlite: bool) -> Vec<Bind<'_>> {
        let all = self.binds(is_sqlite);
        if is_sqlite {
            let [text, phone, _, last, folded] =
                [0, 2, 4, 6, 8].map(|at| [all[at].clone(), all[at + 1].clone()]);
            return [text, phone, last]
                .into_iter()
                .flatten()
                .chain([COMMON_FROM.into()])
                .chain(folded)
                .collect();
        }
        vec![
            all[1].clone(),
            all[2].clone(),
            all[4].clone(),
            COMMON_FROM.into(),
        ]
    }
}

/// The lower case of a beginning, and the end of its range.
fn folded_range(beginning: Option<&str>) -> [Bind<'static>; 2] {
    let folded = beginning.map(fold);
    let end = folded.as_deref().map(end_of);
    [folded.into(), end.into()]
}

/// From so many matching users on (one in a hundred of a million) it is faster to read all users in
/// order until a page is full than to find and sort them. Neither database knows it in time: SQLite
/// plans a statement without its values, and PostgreSQL takes a beginning for as common as the
/// texts around it.
pub(super) const COMMON_FROM: i64 = 10_000;

/// People write a number with brackets, points and spaces; Clerk as +12025550123.
fn phone(text: &str) -> Option<String> {
    let is_number = text
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | '(' | ')' | ' ' | '/'));
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    (is_number && !digits.is_empty()).then(|| format!("+{digits}"))
}

/// The beginning as the left part of a `like` pattern, without wildcards of its own.
pub(super) fn escaped(beginning: &str) -> String {
    let mut pattern = String::with_capacity(beginning.len());
    for c in beginning.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// The first text, byte by byte, that is after every text with this beginning.
pub(super) fn end_of(beginning: &str) -> String {
    let mut end: Vec<char> = beginning.chars().collect();
    while let Some(last) = end.pop() {
        // No character is between U+D7FF and U+E000.
        let next = if last == '\u{d7ff}' {
            Some('\u{e000}')
        } else {
            char::from_u32(u32::from(last) + 1)
        };
        if let Some(next) = next {
            end.push(next);
            return end.into_iter().collect();
        }
    }
    // Only the last character there is, over and over: no name begins so.
    beginning.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_trimmed_and_may_be_a_number_or_two_names() {
        assert_eq!(Search::of(" \t"), None);
        let search = |typed| Search::of(typed).unwrap();
        assert_eq!(
            search(" ada "),
            Search {
                text: "ada".into(),
                phone: None,
                names: None
            }
        );
        assert_eq!(
            search("Ada  van Dyk").names,
            Some(("Ada".into(), "van Dyk".into()))
        );
        assert_eq!(
            search("+1 (202) 555-01").phone.as_deref(),
            Some("+120255501")
        );
        assert_eq!(search("1202").phone.as_deref(), Some("+1202"));
        for no_number in ["+", "12a", "user_1", "()"] {
            assert_eq!(search(no_number).phone, None, "{no_number}");
        }
    }

    #[test]
    fn a_pattern_has_no_wildcards_of_its_own() {
        assert_eq!(escaped(r"50%_a\b"), r"50\%\_a\\b");
    }

    #[test]
    fn every_text_with_the_beginning_is_before_its_end_and_no_other_is_between() {
        for (beginning, end) in [
            ("a", "b"),
            ("az", "a{"),
            ("a\u{10ffff}", "b"),
            ("\u{d7ff}", "\u{e000}"),
            ("é", "ê"),
            ("\u{7f}", "\u{80}"),
        ] {
            assert_eq!(end_of(beginning), end);
            let last = format!("{beginning}\u{10ffff}\u{10ffff}");
            assert!(beginning < end && *last < *end);
        }
        assert_eq!(end_of("\u{10ffff}"), "\u{10ffff}");
    }
}
