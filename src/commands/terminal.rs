//! The terminal that a person reads: its width and whether it shows colors.
//!
//! Color only on a terminal, and not if NO_COLOR (no-color.org) refuses it: it never has a meaning
//! alone.

use std::io::{self, IsTerminal};

/// Read from the environment here, as in every program for terminals: it is no setting of this one.
pub fn has_color() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
    io::stdout().is_terminal() && !refused && !is_dumb
}

/// Columns of the terminal that standard output is; `None` if it is something else, where no line
/// is broken or shortened. COLUMNS wins, as in other programs.
pub fn width() -> Option<u16> {
    let set = std::env::var_os("COLUMNS");
    let set = set.and_then(|text| text.to_str()?.parse().ok());
    set.or_else(|| comfy_table::Table::new().width())
        // A terminal that does not know its width says 0.
        .filter(|columns| *columns > 0)
}

/// The text with its lines broken between words at this width. The first line starts behind
/// `indent` columns, the others get so many spaces. A word that is longer, such as a URL, stays
/// whole.
pub fn wrapped(text: &str, indent: usize, width: Option<u16>) -> String {
    let Some(width) = width.map(usize::from) else {
        return text.into();
    };
    let (mut lines, mut at) = (String::new(), indent);
    for word in text.split(' ') {
        let letters = word.chars().count();
        if at == indent {
        } else if at + 1 + letters > width {
            lines.push('\n');
            lines.extend(std::iter::repeat_n(' ', indent));
            at = indent;
        } else {
            lines.push(' ');
            at += 1;
        }
        lines += word;
        at += letters;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_never_within_one() {
        let text = "see https://example.com/a-long-path and  do it";
        assert_eq!(wrapped(text, 2, None), text);
        assert_eq!(
            wrapped(text, 2, Some(16)),
            "see\n  https://example.com/a-long-path\n  and  do it"
        );
        assert_eq!(wrapped("", 2, Some(16)), "");
    }
}
