//! A page says first whom it is for, and the first page of all is read in a few minutes.

use super::page;

/// Pages that need no such line: the first page of all, a list of changes.
const FOR_EVERYBODY: &[&str] = &["README.md", "CHANGELOG.md"];

/// Pages that do not say it yet.
const NOT_YET: &[&str] = &["ARCHITECTURE.md"];

const README_LINES_MAX: usize = 160;
const README_WORDS_MAX: usize = 1_200;

#[test]
fn the_readme_is_short() {
    let readme = page::Page::read(&page::root().join("README.md"));
    let (lines, words) = (
        readme.text.lines().count(),
        readme.text.split_whitespace().count(),
    );
    assert!(lines <= README_LINES_MAX, "README.md has {lines} lines");
    assert!(words <= README_WORDS_MAX, "README.md has {words} words");
}

#[test]
fn every_page_begins_with_whom_it_is_for() {
    let mut faults = String::new();
    for page in page::all() {
        if FOR_EVERYBODY.contains(&&*page.path)
            || NOT_YET.contains(&&*page.path)
            || page.path.starts_with("docs/decisions/")
        {
            continue;
        }
        let mut lines = page.text.lines().filter(|line| !line.is_empty());
        let is_titled = lines.next().is_some_and(|line| line.starts_with("# "));
        let is_addressed = lines.next().is_some_and(|line| line.starts_with("For "));
        if !is_titled || !is_addressed {
            faults += &format!(
                "{}: begin with a title and \"For …\": whom it is for\n",
                page.path
            );
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}
