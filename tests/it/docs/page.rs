//! The Markdown pages of this repository: their blocks of code, their headings and the rest.

use std::path::{Path, PathBuf};

/// A page, by its path from the root of the repository.
pub struct Page {
    pub path: String,
    pub text: String,
}

/// A block of code between fences, without the indentation of the fence.
pub struct Block {
    /// What stands behind the opening fence: `sh`, `sql sqlite`, or nothing.
    pub language: String,
    /// The line of the page that holds the first line of the block.
    pub line: usize,
    pub text: String,
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns every page of the root, of `docs`, of `deploy` and of `examples`.
pub fn all() -> Vec<Page> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    for folder in ["docs", "deploy", "examples"] {
        paths.extend(files(&root().join(folder)));
    }
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    paths.sort();
    let pages: Vec<_> = paths.iter().map(|path| Page::read(path)).collect();
    assert!(pages.len() > 10, "{} pages were found", pages.len());
    pages
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![path],
        })
        .collect()
}

impl Page {
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let path = path.strip_prefix(root()).unwrap_or(path);
        Self {
            path: path.to_string_lossy().replace('\\', "/"),
            text,
        }
    }

    /// Returns the blocks of code in their order.
    pub fn blocks(&self) -> Vec<Block> {
        let (mut blocks, mut open) = (Vec::new(), None::<(usize, Block)>);
        for (index, line) in self.text.lines().enumerate() {
            let fence = line.trim_start().strip_prefix("```");
            open = match (open, fence) {
                (Some((_, block)), Some("")) => {
                    blocks.push(block);
                    None
                }
                (Some((indent, mut block)), _) => {
                    let spaces = line.len() - line.trim_start().len();
                    block.text += &line[indent.min(spaces)..];
                    block.text.push('\n');
                    Some((indent, block))
                }
                (None, Some(language)) => {
                    let block = Block {
                        language: language.trim().to_owned(),
                        line: index + 2,
                        text: String::new(),
                    };
                    Some((line.len() - line.trim_start().len(), block))
                }
                (None, None) => None,
            };
        }
        assert!(open.is_none(), "{}: a block is not closed", self.path);
        blocks
    }

    /// Returns the lines outside of blocks of code, each with its number.
    pub fn prose(&self) -> Vec<(usize, &str)> {
        let mut is_code = false;
        let lines = self.text.lines().enumerate().filter(|(_, line)| {
            let is_fence = line.trim_start().starts_with("```");
            is_code ^= is_fence;
            !is_code && !is_fence
        });
        lines.map(|(index, line)| (index + 1, line)).collect()
    }

    /// Returns the anchors of the headings, as GitHub makes them.
    pub fn anchors(&self) -> Vec<String> {
        let mut anchors = Vec::<String>::new();
        for (_, line) in self.prose() {
            let text = line.trim_start_matches('#');
            if text.len() == line.len() || !text.starts_with(' ') {
                continue;
            }
            let anchor: String = text
                .trim()
                .to_lowercase()
                .replace(' ', "-")
                .chars()
                .filter(|letter| letter.is_alphanumeric() || matches!(letter, '-' | '_'))
                .collect();
            let repeats = anchors.iter().filter(|other| **other == anchor).count();
            anchors.push(match repeats {
                0 => anchor,
                _ => format!("{anchor}-{repeats}"),
            });
        }
        anchors
    }
}

#[test]
fn blocks_prose_and_anchors_are_read() {
    let text = "# A `b`: c\n\n1. d\n\n   ```sh\n   # e\n     f\n   ```\n\n# A b c\n```sql sqlite\ng\n```\n";
    let page = Page {
        path: "page.md".into(),
        text: text.into(),
    };
    let blocks: Vec<_> = page
        .blocks()
        .into_iter()
        .map(|block| (block.language, block.line, block.text))
        .collect();
    assert_eq!(
        blocks,
        [
            ("sh".into(), 6, "# e\n  f\n".into()),
            ("sql sqlite".into(), 12, "g\n".into())
        ]
    );
    assert_eq!(page.anchors(), ["a-b-c", "a-b-c-1"]);
    let prose: Vec<_> = page.prose().into_iter().map(|(number, _)| number).collect();
    assert_eq!(prose, [1, 2, 3, 4, 9, 10]);
}
