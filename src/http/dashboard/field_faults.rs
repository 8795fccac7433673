//! `FieldFaults`: what is wrong with the fields of a form, to be shown beside each. Pure.

use askama::Template;
use askama::filters::HtmlSafe;

use crate::http::problem::Problem;

/// A fault, below its field; empty if the field is right.
#[derive(Template)]
#[template(
    source = r#"{% if let Some(text) = text %}<p class="fault" id="{{ name }}-fault">{{ text }}</p>{% endif %}"#,
    ext = "html"
)]
pub struct Fault<'a> {
    name: &'a str,
    text: Option<&'a str>,
}

// Its own template has escaped it.
impl HtmlSafe for Fault<'_> {}

/// The attributes of a field, by which a screen reader reads its fault with it.
#[derive(Template)]
#[template(
    source = r#"{% if is_wrong %} aria-invalid="true" aria-describedby="{{ name }}-fault"{% endif %}"#,
    ext = "html"
)]
pub struct Attributes<'a> {
    name: &'a str,
    is_wrong: bool,
}

// Its own template has escaped it.
impl HtmlSafe for Attributes<'_> {}

/// The wrong fields, each with what would be right.
#[derive(Debug, Default)]
pub struct FieldFaults(Vec<(String, String)>);

impl FieldFaults {
    /// From the problem of each wrong field.
    pub fn of(problems: impl IntoIterator<Item = (String, Problem)>) -> Self {
        let text = |(name, problem): (String, Problem)| {
            let about = format!("{name} is wrong: ");
            let detail = problem.detail();
            // Beside its field, the name of it is said.
            let text = sentence(detail.strip_prefix(&about).unwrap_or(detail));
            (name, text)
        };
        Self(problems.into_iter().map(text).collect())
    }

    /// Returns whether every field is right.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is wrong with a field; `None` if it is right.
    pub fn text(&self, name: &str) -> Option<&str> {
        let fault = self.0.iter().find(|(field, _)| field == name);
        fault.map(|(_, text)| &**text)
    }

    /// The fault, to be shown below its field.
    pub fn below<'a>(&'a self, name: &'a str) -> Fault<'a> {
        let text = self.text(name);
        Fault { name, text }
    }

    /// The attributes of the field.
    pub fn attributes<'a>(&self, name: &'a str) -> Attributes<'a> {
        let is_wrong = self.text(name).is_some();
        Attributes { name, is_wrong }
    }

    /// The faults of parameters that no field of the form has, each with its name.
    pub fn others(&self, fields: &[&str]) -> Vec<String> {
        let others = self.0.iter();
        let others = others.filter(|(name, _)| !fields.contains(&&**name));
        others
            .map(|(name, text)| format!("{name}: {text}"))
            .collect()
    }
}

/// The text with a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase());
    let first: String = first.into_iter().flatten().collect();
    let rest = letters.as_str();
    format!("{first}{}.", rest.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::problem::Code;

    #[test]
    fn a_fault_is_a_sentence_without_the_name_of_its_field() {
        let problem = |text: &'static str| Problem::new(Code::InvalidRequest, text);
        let faults = FieldFaults::of([
            ("q".to_owned(), problem("q is wrong: it may not be empty")),
            ("page".to_owned(), problem("a parameter is unknown")),
        ]);
        assert_eq!(faults.text("q"), Some("It may not be empty."));
        assert_eq!(faults.text("status"), None);
        assert_eq!(faults.others(&["q"]), ["page: A parameter is unknown."]);
        assert!(!faults.is_empty());
        let page = faults.below("q").render().unwrap() + &faults.attributes("q").render().unwrap();
        assert_eq!(
            page,
            r#"<p class="fault" id="q-fault">It may not be empty.</p> aria-invalid="true" aria-describedby="q-fault""#
        );
        let right = faults.below("status").render().unwrap();
        assert_eq!(right + &faults.attributes("status").render().unwrap(), "");
    }
}
