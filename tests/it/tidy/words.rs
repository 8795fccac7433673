//! The words of docs/glossary.md: finds those that it replaces, in names, comments, texts and docs.

use std::path::Path;

use super::scan;

/// Words that a reader would have to translate, each with the plain one. A phrase is found across
/// lines and inside names.
const DIALECT: &[(&str, &str)] = &[
    ("mend", "fix"),
    ("mends", "fixes"),
    ("mended", "fixed"),
    ("mending", "fixing"),
    ("nobody", "no user, no consumer …"),
    ("whoever", "the caller, the client …"),
    ("told", "reported, logged"),
    ("tells", "reports, logs"),
    ("suspect", "possible poison message"),
    ("suspects", "possible poison messages"),
    ("guilty", "the poison message"),
    ("lethal", "poison"),
    ("astray", "unroutable"),
    ("put back", "returned to the queue"),
    ("in hand", "in flight"),
    ("in hands", "in flight"),
    ("hand back", "return"),
    ("given back", "returned"),
    ("anew", "again"),
    ("what became of", "the outcome of"),
    ("nothing where", "`None` if"),
    ("none where", "`None` if"),
    ("house", "crate"),
];

/// Where such a word is a part of the contract, or of its test: a key of JSON, an attribute, a user
/// of the system.
const MAY_SAY: &[(&str, &[&str])] = &[
    (
        "mend",
        &[
            "src/commands/check/finding.rs",
            "tests/faults/broker_settings.rs",
            "tests/faults/tls.rs",
            "tests/it/story/check.rs",
            "tests/it/story/feed_setting.rs",
        ],
    ),
    (
        "mended",
        &["src/backfill/reconcile.rs", "tests/it/story/reconcile.rs"],
    ),
    ("given back", &["src/trace.rs", "tests/it/story/traces.rs"]),
    ("nobody", &["tests/it/container.rs"]),
];

/// Files about the words themselves.
const ABOUT_WORDS: [&str; 2] = ["docs/glossary.md", "tests/it/tidy/words.rs"];

/// Folders and files to read, with the endings of their files. `""` is a file without one.
const READ: &[(&str, &[&str])] = &[
    ("src", &["rs", "sql", "html", "js"]),
    ("tests", &["rs", "mjs"]),
    ("benches", &["rs", "sql", "js"]),
    ("scripts", &["", "py"]),
    ("docs", &["md"]),
    ("deploy", &["md", "yaml", "yml", "json"]),
    ("README.md", &["md"]),
    ("ARCHITECTURE.md", &["md"]),
    ("SECURITY.md", &["md"]),
];

#[test]
fn sources_and_docs_use_the_words_of_the_glossary() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |(top, endings): &(&str, &[&str])| scan::read_text(root, top, endings);
    let files: Vec<_> = READ.iter().flat_map(read).collect();
    let mut found = String::new();
    for file in &files {
        for (word, line) in dialect(&file.text) {
            let may_say = MAY_SAY
                .iter()
                .any(|(allowed, paths)| *allowed == word && paths.contains(&file.path.as_str()));
            if !may_say && !ABOUT_WORDS.contains(&file.path.as_str()) {
                found += &format!("{}:{line}: {word}\n", file.path);
            }
        }
    }
    assert!(found.is_empty(), "see docs/glossary.md:\n{found}");
}

/// Returns the words and phrases of the dialect in a text, each with its line.
fn dialect(text: &str) -> Vec<(&'static str, usize)> {
    let words = words(text);
    let mut found = Vec::new();
    for at in 0..words.len() {
        for (phrase, _) in DIALECT {
            let here = words[at..].iter().map(|(word, _)| word.as_str());
            if phrase.split(' ').eq(here.take(phrase.split(' ').count())) {
                found.push((*phrase, words[at].1));
            }
        }
    }
    found
}

/// Returns the words of a text in lower case, each with its line. `giveBack` and `give_back` are
/// two words.
fn words(text: &str) -> Vec<(String, usize)> {
    let (mut words, mut word, mut line) = (Vec::new(), String::new(), 1);
    let mut was_lower = false;
    for letter in text.chars() {
        let starts_word = letter.is_uppercase() && was_lower;
        if (starts_word || !letter.is_alphabetic()) && !word.is_empty() {
            words.push((std::mem::take(&mut word), line));
        }
        if letter.is_alphabetic() {
            word.extend(letter.to_lowercase());
        }
        was_lower = letter.is_lowercase();
        line += usize::from(letter == '\n');
    }
    words.extend((!word.is_empty()).then_some((word, line)));
    words
}

#[test]
fn words_are_found_in_names_and_across_lines() {
    for text in [
        "fn put_back() {}",
        "struct PutBack;",
        "// is put\n// back",
        "Put back",
    ] {
        assert_eq!(dialect(text), [("put back", 1)], "{text}");
    }
    assert_eq!(dialect("amended, a household, backput"), []);
    assert_eq!(dialect("\n\"mend\""), [("mend", 2)]);
}
