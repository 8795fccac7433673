//! The graph of the source files: which file uses what another one defines, and its circles.
//!
//! A name that a module only passes on (`pub use`) counts for the file that defines it. So a parent
//! that has only `mod` and `pub use` lines is in no circle.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;

use super::paths::{self, Names, Path};
use super::scan::{self, Source};

/// One file uses names that another one defines.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrow {
    pub from: String,
    pub to: String,
    /// The names, each with the first line that has it.
    pub names: Vec<(String, usize)>,
}

impl fmt::Display for Arrow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} -> {} (", self.from, self.to)?;
        for (at, (name, line)) in self.names.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(formatter, "{comma}{name} in line {line}")?;
        }
        write!(formatter, ")")
    }
}

/// A module of the crate: its file and what the file names.
struct Module {
    file: String,
    names: Names,
}

struct Graph(HashMap<Vec<String>, Module>);

/// Passed-on names are followed this often, so that two modules that pass on each other's names end
/// the search.
const PASSES_MAX: usize = 8;

/// Returns every arrow between two of the files, sorted.
pub fn arrows(files: &[Source]) -> Vec<Arrow> {
    let modules = files.iter().filter(|file| {
        file.is_rust() && file.path.starts_with("src/") && file.path != "src/main.rs"
    });
    let graph = Graph(
        modules
            .map(|file| {
                let names = paths::read(&file.module(), &scan::tokens(&file.text));
                let file_path = file.path.clone();
                (
                    file.module(),
                    Module {
                        file: file_path,
                        names,
                    },
                )
            })
            .collect(),
    );
    let mut found: BTreeMap<(String, String), BTreeMap<String, usize>> = BTreeMap::new();
    for (path, module) in &graph.0 {
        for (target, name, line) in graph.reached(path, module) {
            if target != module.file {
                let names = found.entry((module.file.clone(), target)).or_default();
                let first = names.entry(name).or_insert(line);
                *first = line.min(*first);
            }
        }
    }
    found
        .into_iter()
        .map(|((from, to), names)| Arrow {
            from,
            to,
            names: names.into_iter().collect(),
        })
        .collect()
}

impl Graph {
    /// Returns the files that a module reaches, each with the name it uses there and the line.
    fn reached(&self, inside: &[String], module: &Module) -> Vec<(String, String, usize)> {
        let names = &module.names;
        // Inline modules are tests, which may use anything.
        let uses = names.uses.iter().filter(|used| {
            !used.is_inline && (!used.is_public || names.words.contains(&used.name))
        });
        let uses = uses.map(|used| (&used.path, used.name.as_str()));
        let paths = names.paths.iter().filter(|path| path.here == inside);
        let paths = paths.map(|path| (path, path.segments.last().map_or("", String::as_str)));
        uses.chain(paths)
            .filter_map(|(path, name)| {
                let absolute = self.absolute(inside, module, path)?;
                let (file, is_module) = self.definition(&absolute, 0)?;
                // A module that is named counts only with a name in it.
                (!is_module || name == "*").then(|| (file, name.to_owned(), path.line))
            })
            .collect()
    }

    /// Returns the path from the root of the crate, or `None` for a path into another crate.
    fn absolute(&self, inside: &[String], module: &Module, path: &Path) -> Option<Vec<String>> {
        let uses = &module.names.uses;
        self.rooted(inside, path).or_else(|| {
            let (first, rest) = path.segments.split_first()?;
            let alias = uses.iter().find(|used| used.name == *first)?;
            let mut whole = self.rooted(inside, &alias.path)?;
            whole.extend_from_slice(rest);
            Some(whole)
        })
    }

    /// Returns the path from the root if it starts there or with a child module; otherwise `None`.
    fn rooted(&self, inside: &[String], path: &Path) -> Option<Vec<String>> {
        if path.is_absolute {
            return Some(path.segments.clone());
        }
        let child = [inside, &path.segments[..1.min(path.segments.len())]].concat();
        let is_child = child.len() > inside.len() && self.0.contains_key(&child);
        is_child.then(|| [inside, &path.segments].concat())
    }

    /// Returns the file that defines a path and whether the path is a module; `None` if another
    /// crate defines it.
    fn definition(&self, path: &[String], passes: usize) -> Option<(String, bool)> {
        let length = (0..=path.len())
            .rev()
            .find(|length| self.0.contains_key(&path[..*length]))?;
        let (inside, rest) = path.split_at(length);
        let module = &self.0[inside];
        let own = Some((module.file.clone(), false));
        let Some((name, deeper)) = rest.split_first() else {
            return Some((module.file.clone(), true));
        };
        if passes > PASSES_MAX || module.names.items.contains(name) {
            return own;
        }
        let passed_on = module
            .names
            .uses
            .iter()
            .find(|used| used.name == *name && !used.is_inline);
        if let Some(used) = passed_on {
            let mut whole = self.absolute(inside, module, &used.path)?;
            whole.extend_from_slice(deeper);
            return self.definition(&whole, passes + 1);
        }
        let all = module
            .names
            .uses
            .iter()
            .filter(|used| used.name == "*" && !used.is_inline);
        for used in all {
            let Some(mut whole) = self.absolute(inside, module, &used.path) else {
                continue;
            };
            let has_it = self
                .0
                .get(&whole)
                .is_some_and(|target| target.names.items.contains(name));
            if has_it {
                whole.push(name.clone());
                return self.definition(&whole, passes + 1);
            }
        }
        own
    }
}

/// Returns circles until the arrows left have none. Of each, the first arrow is the one to remove:
/// it has the fewest names.
pub fn circles(arrows: &[Arrow]) -> Vec<Vec<Arrow>> {
    let mut left = arrows.to_vec();
    let mut circles = Vec::new();
    while let Some(mut circle) = shortest_circle(&left) {
        let weakest = (0..circle.len())
            .min_by_key(|at| circle[*at].names.len())
            .unwrap_or(0);
        circle.rotate_left(weakest);
        left.retain(|arrow| *arrow != circle[0]);
        circles.push(circle);
    }
    circles
}

fn shortest_circle(arrows: &[Arrow]) -> Option<Vec<Arrow>> {
    let mut outgoing: HashMap<&str, Vec<&Arrow>> = HashMap::new();
    for arrow in arrows {
        outgoing.entry(&arrow.from).or_default().push(arrow);
    }
    let starts = arrows.iter().map(|arrow| arrow.from.as_str());
    starts
        .filter_map(|start| way_back(start, &outgoing))
        .min_by_key(Vec::len)
}

/// Returns the shortest way from a file to itself.
fn way_back(start: &str, outgoing: &HashMap<&str, Vec<&Arrow>>) -> Option<Vec<Arrow>> {
    let mut came_by: HashMap<&str, &Arrow> = HashMap::new();
    let mut next = VecDeque::from([start]);
    while let Some(file) = next.pop_front() {
        for arrow in outgoing.get(file).into_iter().flatten() {
            if came_by.contains_key(arrow.to.as_str()) {
                continue;
            }
            came_by.insert(&arrow.to, arrow);
            next.push_back(&arrow.to);
        }
        if came_by.contains_key(start) {
            break;
        }
    }
    let mut way = Vec::from([(*came_by.get(start)?).clone()]);
    while way[0].from != start {
        way.insert(0, came_by[way[0].from.as_str()].clone());
    }
    Some(way)
}
