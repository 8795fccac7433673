//! A page says first whom it is for.

use super::page;

/// Pages that need no such line: the first page of all, a list of changes.
const FOR_EVERYBODY: &[&str] = &["README.md", "CHANGELOG.md"];

/// Pages that do not say it yet.
const NOT_YET: &[&str] = &["ARCHITECTURE.md"];

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
