//! CSV as RFC 4180 has it, for programs that calculate. Pure.

/// A line of fields as they are.
pub fn line<'a>(fields: impl IntoIterator<Item = &'a str>) -> String {
    let fields: Vec<_> = fields.into_iter().map(quoted).collect();
    fields.join(",") + "\r\n"
}

/// A field in quotes, if one of its characters needs them.
fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// A text from outside. Spreadsheets calculate what begins like a formula, and a formula can open
/// an address: an apostrophe before it makes it a text.
pub fn text(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_quoted_where_it_must_be() {
        assert_eq!(line(["a", "", "b c", "é"]), "a,,b c,é\r\n");
        assert_eq!(
            line(["a,b", "say \"x\"", "1\n2", "\r"]),
            "\"a,b\",\"say \"\"x\"\"\",\"1\n2\",\"\r\"\r\n"
        );
    }

    #[test]
    fn no_text_is_a_formula() {
        for formula in ["=1+1", "+1415", "-2", "@sum", "\tx", "\rx", "\n=1"] {
            assert_eq!(text(formula), format!("'{formula}"));
        }
        for plain in ["", "a=b", "Ada", "'=1", " =1"] {
            assert_eq!(text(plain), plain);
        }
    }
}
