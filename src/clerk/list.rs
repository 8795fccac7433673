//! How Clerk's Backend API lists the objects of a table, and how it is asked for one of them.

/// The list of all objects of an instance.
#[derive(Debug, Clone, Copy)]
pub struct List {
    /// Path below the base URL, without a slash at its beginning.
    pub path: &'static str,
    /// Parameters of every request for a page, beside those of its paging.
    pub parameters: &'static [(&'static str, &'static str)],
    /// How one page is requested after another.
    pub paging: Paging,
    /// How Clerk is asked for one object.
    pub one: One,
    /// Whether every object is on the list. If not, an object that is missing on it may be at Clerk
    /// all the same, and no row is marked as deleted.
    pub is_whole: bool,
}

/// Names and values.
pub type Parameters = Vec<(&'static str, String)>;

/// How one page is requested after another, in the order of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paging {
    /// After the object with this ID. A page is an array, and `PATH/count` returns their number.
    Cursor,
    /// From this place on. A page has the objects in `data`, and their number in `total_count`.
    Offset,
}

/// How Clerk is asked for one object. `{column}` stands for a value of its row, in a whole part of
/// a path or a whole parameter.
#[derive(Debug, Clone, Copy)]
pub enum One {
    /// By this path; 404 if there is no such object.
    Object(&'static str),
    /// By the pages of this list and with these parameters, by `Paging::Offset`. The object is
    /// searched for by its ID.
    Listed(&'static str, &'static [(&'static str, &'static str)]),
}

impl One {
    /// The parts of the path and the parameters, with the values that `value` has for the columns.
    /// Returns `None` if one is missing.
    pub fn resolve(
        &self,
        value: impl Fn(&str) -> Option<String>,
    ) -> Option<(Vec<String>, Parameters)> {
        let (path, parameters) = match self {
            Self::Object(path) => (path, &[][..]),
            Self::Listed(path, parameters) => (path, *parameters),
        };
        let resolved = |part: &str| match column(part) {
            Some(column) => value(column),
            None => Some(part.into()),
        };
        let parts = path.split('/').map(resolved).collect::<Option<_>>()?;
        let parameters = parameters.iter();
        let parameters = parameters.map(|(name, part)| Some((*name, resolved(part)?)));
        Some((parts, parameters.collect::<Option<_>>()?))
    }
}

/// The column that a part stands for. Returns `None` if it stands for itself.
fn column(part: &str) -> Option<&str> {
    part.strip_prefix('{')?.strip_suffix('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_in_braces_is_the_value_of_a_column() {
        let one = One::Listed("as/{a}/members", &[("b_id", "{b}"), ("c", "true")]);
        let both = one.resolve(|column| Some(format!("{column}_1")));
        let (parts, parameters) = both.unwrap();
        assert_eq!(parts, ["as", "a_1", "members"]);
        let expected = [("b_id", "b_1".to_owned()), ("c", "true".to_owned())];
        assert_eq!(parameters, expected);
        let lacks_b = |column: &str| (column != "b").then(String::new);
        assert!(one.resolve(lacks_b).is_none());
    }
}
