//! Every link and picture within the repository leads somewhere, to the heading if it names one.

use super::page::{self, Page};

#[test]
fn every_link_within_the_repository_leads_somewhere() {
    let pages = page::all();
    let (mut faults, mut count) = (String::new(), 0);
    for page in &pages {
        for (line, link) in links(page) {
            count += 1;
            if let Some(fault) = fault(page, &link) {
                faults += &format!("{}:{line}: {link}: {fault}\n", page.path);
            }
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
    assert!(count > 50, "{count} links were found");
}

/// Returns what is wrong with a link of this page.
fn fault(page: &Page, link: &str) -> Option<&'static str> {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let here = page::root().join(&page.path);
    let target = match path {
        "" => here,
        path => here.parent().unwrap().join(path),
    };
    if !target.exists() {
        return Some("no such file");
    }
    if anchor.is_empty() {
        return None;
    }
    let target = Page::read(&target.canonicalize().unwrap());
    let is_named = target.text.contains(&format!("id=\"{anchor}\""));
    (!is_named && !target.anchors().iter().any(|other| other == anchor))
        .then_some("no such heading")
}

/// Returns the links that are no addresses, each with its line.
fn links(page: &Page) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, text) in page.prose() {
        // What stands between backticks is code.
        let text: String = text.split('`').step_by(2).collect();
        let after = ["](", "src=\"", "href=\""].map(|begin| text.split(begin).skip(1));
        for rest in after.into_iter().flatten() {
            let link = rest.split([')', '"', ' ']).next().unwrap_or_default();
            if !link.contains("://") && !link.starts_with("mailto:") {
                found.push((line, link.to_owned()));
            }
        }
    }
    found
}
