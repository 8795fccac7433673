//! Pages of docs/ with blocks that are made from the code, or from the results of a run. Each block is compared with the code, and
//! written if `UPDATE_DOCS` is set. The text around the blocks is written by hand, in the page.

mod api;
mod cli;
mod columns;
mod configuration;
mod errors;
mod performance;

use std::fmt::Write;
use std::path::Path;

/// Compares each block of a page with its text, by the block's name.
fn compare(page: &str, blocks: &[(&str, &str)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let written = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{page}: {error}"));
    let mut expected = written.clone();
    for (name, text) in blocks {
        let start = format!("<!-- generated: {name} -->\n");
        let end = format!("<!-- end: {name} -->");
        let place = expected
            .find(&start)
            .map(|at| at + start.len())
            .zip(expected.find(&end));
        let (from, to) = place.unwrap_or_else(|| panic!("{page} has no {start}…{end}"));
        expected.replace_range(from..to, &format!("\n{}\n\n", text.trim()));
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &expected).unwrap();
        return;
    }
    let differs = written
        .lines()
        .zip(expected.lines())
        .find(|(old, new)| old != new);
    assert!(
        written == expected,
        "{page} is old; run UPDATE_DOCS=1 cargo test --test it generated_pages. The first line that differs, there and now: {differs:#?}"
    );
}

/// A table of Markdown. A `|` in a cell is escaped.
fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', r"\|")).collect();
        format!("| {} |\n", cells.join(" | ").trim_end())
    };
    let mut text = line(&header.map(str::to_owned));
    writeln!(text, "|{}", " --- |".repeat(N)).unwrap();
    rows.into_iter().for_each(|row| text += &line(&row));
    text
}
