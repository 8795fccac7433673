//! Reads source files, and Rust as words and punctuation without comments.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// A source file: its path from the root, with `/` between the parts, and its text.
#[derive(Clone)]
pub struct Source {
    pub path: String,
    pub text: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Returns the path of its module in the crate: `["store", "sqlite"]`; empty for the root and
    /// for other files.
    pub fn module(&self) -> Vec<String> {
        let Some(inside) = self
            .path
            .strip_prefix("src/")
            .and_then(|path| path.strip_suffix(".rs"))
        else {
            return Vec::new();
        };
        let mut parts: Vec<String> = inside.split('/').map(str::to_owned).collect();
        if parts.last().is_some_and(|last| last == "mod") || parts == ["lib"] || parts == ["main"] {
            parts.pop();
        }
        parts
    }

    /// Returns the files that it includes with `include_str!`, as paths from the root. A macro that
    /// makes the path of a name, such as `concat!("sqlite/", stringify!($name), ".sql")`, includes
    /// the file of every word of this file.
    pub fn included(&self) -> Vec<String> {
        let tokens = tokens(&self.text);
        let folder = Path::new(&self.path).parent().unwrap_or(Path::new(""));
        let includes = |at: &usize| {
            word(&tokens, *at) == Some("include_str") && punctuation(&tokens, at + 1, "!(")
        };
        let arguments = (0..tokens.len())
            .filter(includes)
            .map(|at| &tokens[at + 3].0);
        let (mut names, mut has_macro) = (Vec::new(), false);
        for argument in arguments {
            match argument {
                Token::Text(path) => names.push(path.clone()),
                _ => has_macro = true,
            }
        }
        if has_macro {
            let texts = tokens.iter().filter_map(|(token, _)| match token {
                Token::Text(text) => Some(text.as_str()),
                _ => None,
            });
            names.extend(texts.clone().map(str::to_owned));
            let prefixes: Vec<_> = texts.filter(|text| text.ends_with('/')).collect();
            for name in (0..tokens.len()).filter_map(|at| word(&tokens, at)) {
                let paths = prefixes.iter().chain([&""]);
                names.extend(paths.map(|prefix| format!("{prefix}{name}.sql")));
            }
        }
        names.iter().map(|name| plain(&folder.join(name))).collect()
    }
}

/// Resolves `.` and `..` by the text alone.
fn plain(path: &Path) -> String {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    with_slashes(&plain)
}

fn with_slashes(path: &Path) -> String {
    path.iter()
        .map(|part| part.to_string_lossy())
        .collect::<Vec<_>>()
        .join("/")
}

/// Returns every file below `top`, or `top` itself, with one of these extensions, where `""` is
/// a name without one; none if there is no `top`. Skips installed packages.
pub fn read_text(root: &Path, top: &str, extensions: &[&str]) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut paths = vec![root.join(top)];
    while let Some(path) = paths.pop() {
        if path.ends_with("node_modules") {
            continue;
        }
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder of the sources can be read");
            paths.extend(entries.map(|entry| entry.expect("an entry can be read").path()));
        } else if path.is_file() && {
            let extension = path.extension().unwrap_or_default();
            extensions.iter().any(|one| extension == *one)
        } {
            let text = fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let inside = path
                .strip_prefix(root)
                .expect("it was found below the root");
            sources.push(Source {
                path: with_slashes(inside),
                text,
            });
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    sources
}

/// Returns every `.rs` and `.sql` file below `top`.
pub fn read(root: &Path, top: &str) -> Vec<Source> {
    read_text(root, top, &["rs", "sql"])
}

#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    Word(String),
    Text(String),
    Punctuation(char),
}

/// Returns the tokens of a text, each with the line where it starts.
pub fn tokens(text: &str) -> Vec<(Token, usize)> {
    let letters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < letters.len() {
        let rest = &letters[at..];
        let (token, length) = next_token(rest);
        tokens.extend(token.map(|token| (token, line)));
        line += rest[..length]
            .iter()
            .filter(|letter| **letter == '\n')
            .count();
        at += length;
    }
    tokens
}

/// Returns the first token of `rest`, or `None` if it is none that counts, and its length, at least
/// 1.
fn next_token(rest: &[char]) -> (Option<Token>, usize) {
    let second = rest.get(1).copied();
    match rest[0] {
        '/' if second == Some('/') => (None, until(rest, |letter| letter == '\n')),
        '/' if second == Some('*') => (None, block_comment(rest)),
        '"' => quoted(rest),
        '\'' => quote_or_lifetime(rest),
        first if first.is_alphanumeric() || first == '_' => {
            let length = until(rest, |letter| !letter.is_alphanumeric() && letter != '_');
            let word: String = rest[..length].iter().collect();
            let fences = rest[length..]
                .iter()
                .take_while(|letter| **letter == '#')
                .count();
            let opens = rest.get(length + fences) == Some(&'"');
            match word.as_str() {
                "r" | "br" | "cr" if opens => raw(rest, length, fences),
                // A raw name: `r#type` is a name like any other.
                "r" if fences == 1 => (None, length + 1),
                _ => (Some(Token::Word(word)), length),
            }
        }
        first if first.is_whitespace() => (None, 1),
        first => (Some(Token::Punctuation(first)), 1),
    }
}

fn until(rest: &[char], stop: impl Fn(char) -> bool) -> usize {
    rest.iter()
        .position(|letter| stop(*letter))
        .unwrap_or(rest.len())
}

fn block_comment(rest: &[char]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < rest.len() {
        match (rest[at], rest.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[char]) -> (Option<Token>, usize) {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    let end = at.min(rest.len());
    (
        Some(Token::Text(rest[1..end].iter().collect())),
        (end + 1).min(rest.len()),
    )
}

/// A raw string: `prefix` letters, `fences` times `#`, a quote.
fn raw(rest: &[char], prefix: usize, fences: usize) -> (Option<Token>, usize) {
    let open = prefix + fences;
    let ends = |at: usize| {
        rest[at] == '"'
            && rest
                .get(at + 1..=at + fences)
                .is_some_and(|fence| fence.iter().all(|letter| *letter == '#'))
    };
    let end = (open + 1..rest.len())
        .find(|at| ends(*at))
        .unwrap_or(rest.len());
    (
        Some(Token::Text(rest[open + 1..end].iter().collect())),
        (end + 1 + fences).min(rest.len()),
    )
}

/// `'x'` and `'\n'` are characters; `'a` without a closing quote is a lifetime, whose name is no
/// word that counts.
fn quote_or_lifetime(rest: &[char]) -> (Option<Token>, usize) {
    match (rest.get(1), rest.get(2)) {
        (Some('\\'), Some(_)) => (
            None,
            (3 + until(&rest[3..], |letter| letter == '\'') + 1).min(rest.len()),
        ),
        (Some(_), Some('\'')) => (None, 3),
        _ => (
            None,
            1 + until(&rest[1..], |letter| {
                !letter.is_alphanumeric() && letter != '_'
            }),
        ),
    }
}

/// Returns whether the tokens at `at` are these signs.
pub fn punctuation(tokens: &[(Token, usize)], at: usize, signs: &str) -> bool {
    signs.chars().enumerate().all(|(step, sign)| {
        tokens
            .get(at + step)
            .is_some_and(|(token, _)| *token == Token::Punctuation(sign))
    })
}

/// The word at `at`, or `None` if something else is there.
pub fn word(tokens: &[(Token, usize)], at: usize) -> Option<&str> {
    match tokens.get(at) {
        Some((Token::Word(word), _)) => Some(word),
        _ => None,
    }
}
