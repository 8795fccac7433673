//! Reads which paths a Rust file writes: in `use` declarations and in code.
//!
//! A path is followed through `crate`, `self`, `super`, groups in braces and inline modules, as the
//! language does. What macros generate is not seen.

use std::collections::HashSet;

use super::scan::{Token, punctuation, word};

/// A path that a file writes.
#[derive(Debug, Clone)]
pub struct Path {
    /// The module that the file writes it in; inline modules included.
    pub here: Vec<String>,
    /// From the root of the crate if `is_absolute`, otherwise from a name in scope.
    pub segments: Vec<String>,
    pub is_absolute: bool,
    pub line: usize,
}

/// One name that a `use` declaration brings into scope.
#[derive(Debug, Clone)]
pub struct Use {
    pub path: Path,
    /// The name in this file; `*` for all names.
    pub name: String,
    pub is_public: bool,
    /// Whether it stands in an inline module.
    pub is_inline: bool,
}

/// What a file names.
#[derive(Debug, Default)]
pub struct Names {
    pub uses: Vec<Use>,
    pub paths: Vec<Path>,
    /// The words outside of `use` declarations.
    pub words: HashSet<String>,
    /// The items that the file defines.
    pub items: HashSet<String>,
}

const DEFINES: &[&str] = &[
    "fn", "struct", "enum", "trait", "type", "const", "static", "union", "mod",
];

/// Returns what the file of `module` names.
pub fn read(module: &[String], tokens: &[(Token, usize)]) -> Names {
    let mut names = Names::default();
    let mut here = module.to_vec();
    // The depth of braces inside each inline module that is open.
    let mut inline: Vec<usize> = Vec::new();
    let (mut depth, mut at) = (0_usize, 0);
    while at < tokens.len() {
        if punctuation(tokens, at, "{") {
            depth += 1;
            if let (Some("mod"), Some(name)) = (
                at.checked_sub(2).and_then(|at| word(tokens, at)),
                word(tokens, at.saturating_sub(1)),
            ) {
                here.push(name.to_owned());
                inline.push(depth);
            }
        } else if punctuation(tokens, at, "}") {
            if inline.last() == Some(&depth) {
                inline.pop();
                here.pop();
            }
            depth = depth.saturating_sub(1);
        }
        let Some(first) = word(tokens, at) else {
            at += 1;
            continue;
        };
        if first == "use" && !punctuation(tokens, at + 1, "<") {
            let start = names.uses.len();
            let path = Path {
                here: here.clone(),
                segments: Vec::new(),
                is_absolute: false,
                line: tokens[at].1,
            };
            let is_public = at.checked_sub(1).is_some_and(|before| {
                word(tokens, before) == Some("pub") || punctuation(tokens, before, ")")
            });
            at = tree(path, tokens, at + 1, &mut names.uses);
            for declared in &mut names.uses[start..] {
                declared.is_public = is_public;
                declared.is_inline = !inline.is_empty();
            }
            continue;
        }
        names.words.insert(first.to_owned());
        let before = at.checked_sub(1).and_then(|at| word(tokens, at));
        let is_macro = at >= 2
            && word(tokens, at - 2) == Some("macro_rules")
            && punctuation(tokens, at - 1, "!");
        if inline.is_empty() && (is_macro || before.is_some_and(|word| DEFINES.contains(&word))) {
            names.items.insert(first.to_owned());
        }
        let mut path = Path {
            here: here.clone(),
            segments: Vec::new(),
            is_absolute: false,
            line: tokens[at].1,
        };
        let is_middle = at >= 2 && punctuation(tokens, at - 2, "::");
        path.step(first);
        while punctuation(tokens, at + 1, "::")
            && let Some(next) = word(tokens, at + 3)
        {
            path.step(next);
            at += 3;
        }
        if !is_middle && (path.is_absolute || path.segments.len() > 1) {
            names.paths.push(path);
        }
        at += 1;
    }
    names
}

impl Path {
    fn step(&mut self, segment: &str) {
        match segment {
            "crate" | "clerk_sync" if self.segments.is_empty() => self.is_absolute = true,
            "self" if self.segments.is_empty() && !self.is_absolute => {
                self.segments = self.here.clone();
                self.is_absolute = true;
            }
            // At the end of a group: the module itself.
            "self" => {}
            "super" if self.is_absolute => {
                self.segments.pop();
            }
            "super" => {
                self.segments = self.here.clone();
                self.segments.pop();
                self.is_absolute = true;
            }
            name => self.segments.push(name.to_owned()),
        }
    }
}

/// Reads a tree of a `use` declaration at `at` and returns where it ends.
fn tree(mut path: Path, tokens: &[(Token, usize)], mut at: usize, uses: &mut Vec<Use>) -> usize {
    let mut named = |path: Path, name: String| {
        uses.push(Use {
            path,
            name,
            is_public: false,
            is_inline: false,
        });
    };
    if punctuation(tokens, at, "::") {
        // From the root of another crate.
        path.segments.push(String::new());
        at += 2;
    }
    while let Some(segment) = word(tokens, at) {
        path.line = tokens[at].1;
        path.step(segment);
        if !punctuation(tokens, at + 1, "::") {
            let renamed = (word(tokens, at + 1) == Some("as")).then(|| at + 2);
            let name = renamed
                .and_then(|at| word(tokens, at).map(str::to_owned))
                .or_else(|| path.segments.last().cloned());
            named(path, name.unwrap_or_default());
            return renamed.unwrap_or(at) + 1;
        }
        at += 3;
    }
    if punctuation(tokens, at, "*") {
        named(path, "*".to_owned());
        return at + 1;
    }
    if punctuation(tokens, at, "{") {
        at += 1;
        while at < tokens.len() && !punctuation(tokens, at, "}") {
            at = tree(path.clone(), tokens, at, uses);
            if punctuation(tokens, at, ",") {
                at += 1;
            }
        }
    }
    at + 1
}
