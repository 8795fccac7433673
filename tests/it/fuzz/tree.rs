//! JSON that can be changed into what no library would write: keys twice, halves of surrogate
//! pairs, numbers without end, six thousand levels.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

/// Part of the texts of every body; no pair of its letters may stand in an error.
pub const MARKER: &str = "zqzqzq@zqzq.example";

/// Part of numbers, for the same purpose.
pub const MARKER_NUMBER: &str = "8675309";

/// A JSON text in its parts. Keys and leaves are kept as they are written, with their quotes.
#[derive(Debug, Clone)]
pub enum Tree {
    Leaf(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

/// Texts that decide how the rest is read, so that the marker would hide what comes after.
const UNMARKED: [&str; 2] = ["type", "status"];

impl Tree {
    /// Nearly every text gets the marker. IDs get it alike, so that what names a primary address
    /// still does.
    pub fn marked(name: &str, value: &Value) -> Self {
        match value {
            Value::String(text) if !UNMARKED.contains(&name) => {
                Self::Leaf(quoted(&format!("{text}{MARKER}")))
            }
            Value::Array(elements) => Self::Array(
                elements
                    .iter()
                    .map(|element| Self::marked("", element))
                    .collect(),
            ),
            Value::Object(fields) => Self::Object(
                fields
                    .iter()
                    .map(|(name, value)| (quoted(name), Self::marked(name, value)))
                    .collect(),
            ),
            other => Self::Leaf(other.to_string()),
        }
    }

    pub fn text(&self) -> String {
        let joined = |parts: Vec<String>, open: &str, close: &str| {
            format!("{open}{}{close}", parts.join(","))
        };
        match self {
            Self::Leaf(text) => text.clone(),
            Self::Array(elements) => joined(elements.iter().map(Self::text).collect(), "[", "]"),
            Self::Object(fields) => {
                let field = |(name, value): &(String, Self)| format!("{name}:{}", value.text());
                joined(fields.iter().map(field).collect(), "{", "}")
            }
        }
    }

    fn children(&self) -> Vec<&Self> {
        match self {
            Self::Leaf(_) => Vec::new(),
            Self::Array(elements) => elements.iter().collect(),
            Self::Object(fields) => fields.iter().map(|(_, value)| value).collect(),
        }
    }

    /// How many values are below this one.
    fn below(&self) -> usize {
        self.children()
            .into_iter()
            .map(|child| 1 + child.below())
            .sum()
    }

    /// The turns to take to the value number `left` below, in the order in which they are written.
    fn turns_to(&self, left: &mut usize) -> Option<Vec<usize>> {
        for (turn, child) in self.children().into_iter().enumerate() {
            if *left == 0 {
                return Some(vec![turn]);
            }
            *left -= 1;
            if let Some(turns) = child.turns_to(left) {
                return Some([vec![turn], turns].concat());
            }
        }
        None
    }

    fn turns_by_name(&self, names: &[&str]) -> Option<Vec<usize>> {
        let (Self::Object(fields), [first, rest @ ..]) = (self, names) else {
            return None;
        };
        let turn = fields.iter().position(|(name, _)| *name == quoted(first))?;
        if rest.is_empty() {
            return Some(vec![turn]);
        }
        Some([vec![turn], fields[turn].1.turns_by_name(rest)?].concat())
    }

    fn child(&mut self, turn: usize) -> Option<&mut Self> {
        match self {
            Self::Leaf(_) => None,
            Self::Array(elements) => elements.get_mut(turn),
            Self::Object(fields) => fields.get_mut(turn).map(|(_, value)| value),
        }
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Where a change is made: anywhere, or at one of the few values that decide what an event means.
#[derive(Debug, Clone)]
enum Place {
    Anywhere(Index),
    At(&'static [&'static str]),
}

const DECIDING: [&[&str]; 9] = [
    &["type"],
    &["timestamp"],
    &["data"],
    &["data", "id"],
    &["data", "updated_at"],
    &["data", "email_addresses"],
    &["data", "primary_email_address_id"],
    &["data", "public_metadata"],
    &["data", "first_name"],
];

#[derive(Debug, Clone)]
enum Change {
    Delete,
    Replace(String),
    /// Once more at the end, with this value: in an object the key is there twice.
    Repeat(String),
    Rename(String),
    /// Wraps the value in this many levels.
    Nest(usize, bool),
    /// Puts a copy of another value in its place.
    Copy(Index),
}

/// One change to a JSON text that keeps it in parts.
#[derive(Debug, Clone)]
pub struct Edit {
    place: Place,
    change: Change,
}

impl Edit {
    pub fn any() -> impl Strategy<Value = Self> {
        let place = prop_oneof![
            1 => any::<Index>().prop_map(Place::Anywhere),
            1 => select(&DECIDING[..]).prop_map(Place::At),
        ];
        let key = prop_oneof![
            leaf(),
            select(vec!["\"id\"", "\"type\"", "\"data\"", "\"updated_at\""]).prop_map(String::from)
        ];
        let levels = prop_oneof![8 => 1..5_usize, 1 => 100..7000_usize];
        let change = prop_oneof![
            2 => Just(Change::Delete),
            5 => leaf().prop_map(Change::Replace),
            2 => leaf().prop_map(Change::Repeat),
            1 => key.prop_map(Change::Rename),
            1 => (levels, any::<bool>()).prop_map(|(levels, in_objects)| Change::Nest(levels, in_objects)),
            1 => any::<Index>().prop_map(Change::Copy),
        ];
        (place, change).prop_map(|(place, change)| Self { place, change })
    }

    /// Changes nothing if the tree has no such place.
    pub fn apply(&self, tree: &mut Tree) {
        let nth = |tree: &Tree, index: &Index| match tree.below() {
            0 => None,
            count => tree.turns_to(&mut index.index(count)),
        };
        let turns = match &self.place {
            Place::Anywhere(index) => nth(tree, index),
            Place::At(names) => tree.turns_by_name(names),
        };
        let copied = match &self.change {
            Change::Copy(index) => {
                nth(tree, index).and_then(|turns| descend(tree, &turns).cloned())
            }
            _ => None,
        };
        let Some((last, way)) = turns.as_ref().and_then(|turns| turns.split_last()) else {
            return;
        };
        if let Some(parent) = descend(tree, way) {
            self.change.apply(parent, *last, copied);
        }
    }
}

fn descend<'a>(tree: &'a mut Tree, turns: &[usize]) -> Option<&'a mut Tree> {
    turns.iter().try_fold(tree, |tree, turn| tree.child(*turn))
}

impl Change {
    fn apply(&self, parent: &mut Tree, turn: usize, copied: Option<Tree>) {
        match (self, parent) {
            (Self::Delete, Tree::Array(elements)) => _ = elements.remove(turn),
            (Self::Delete, Tree::Object(fields)) => _ = fields.remove(turn),
            (Self::Repeat(text), Tree::Array(elements)) => elements.push(Tree::Leaf(text.clone())),
            (Self::Repeat(text), Tree::Object(fields)) => {
                fields.push((fields[turn].0.clone(), Tree::Leaf(text.clone())));
            }
            (Self::Rename(key), Tree::Object(fields)) => fields[turn].0.clone_from(key),
            (change, parent) => {
                let Some(value) = parent.child(turn) else {
                    return;
                };
                match change {
                    Self::Replace(text) => *value = Tree::Leaf(text.clone()),
                    Self::Nest(levels, in_objects) => {
                        // A leaf, however deep: a tree of that depth would end our own stack.
                        let (open, close) = if *in_objects {
                            ("{\"a\":", "}")
                        } else {
                            ("[", "]")
                        };
                        *value = Tree::Leaf(
                            open.repeat(*levels) + &value.text() + &close.repeat(*levels),
                        );
                    }
                    Self::Copy(_) => *value = copied.unwrap_or(Tree::Array(Vec::new())),
                    Self::Delete | Self::Repeat(_) | Self::Rename(_) => {}
                }
            }
        }
    }
}

/// A value or a key as it is written; not all of them are JSON.
fn leaf() -> impl Strategy<Value = String> {
    let odd = vec![
        "null",
        "true",
        "0",
        "-1",
        "-0",
        "1.5",
        "1e400",
        "1e-400",
        "9007199254740993",
        "9223372036854775808",
        "18446744073709551616",
        "100000000000",
        "99999999999",
        "1795172400018",
        "1795258800000",
        "1795258800001",
        "253402300800000",
        "\"\"",
        "\"1795172400018\"",
        "{}",
        "[]",
        "[null]",
        "{\"\":0}",
        "\"user.deleted\"",
        "\"user.updated\"",
        "\"user.unreadable\"",
        "\"session.created\"",
        "\"verified\"",
    ];
    let unstorable = vec![
        "\\u0000",
        "\\ud800",
        "\\udc00\\ud800",
        "\\ud83d\\ude00",
        "\\\\u0000",
        "\\uDBFFx",
        "\\u007f",
    ];
    let invalid = vec![
        "nul",
        "01",
        "+1",
        ".5",
        "1.",
        "1e",
        "NaN",
        "'a'",
        "\"\\x\"",
        "\"\u{1}\"",
        "\"\0\"",
        "\"",
        "",
        "{",
        "]",
    ];
    prop_oneof![
        6 => select(odd).prop_map(String::from),
        3 => select(unstorable).prop_map(|text| format!("\"{MARKER}{text}\"")),
        1 => select(invalid).prop_map(|text| format!("{text}{MARKER}")),
        2 => (1..20_usize).prop_map(|times| quoted(&MARKER.repeat(times))),
        1 => (1..100_usize).prop_map(|times| MARKER_NUMBER.repeat(times)),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => ".{0,30}".prop_map(|text| quoted(&format!("{text}{MARKER}"))),
    ]
}
