//! Whether what a flood left behind is what it must be.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use clerk_sync::clerk::{Change, Timestamp, Value};
use clerk_sync::store::{EventFilter, EventRow, Page, Status, Store, TableRow};
use tokio::time::{Instant, interval};

use crate::flood::Expected;
use crate::noted::Noted;

/// Longest wait for the last event of a flood: more than the longest wait of a worker between two
/// tries, 39 s.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Differences from the model, as numbers and as text.
#[derive(Debug, Default)]
pub struct Findings {
    /// Events that got a 2xx and have no line.
    pub lost: usize,
    /// Events that were applied more than once, by their rows or by their lines, and rows without
    /// an event.
    pub doubled: usize,
    /// Rows that are not the model's.
    pub wrong_rows: usize,
    /// What is wrong with the change feed.
    pub wrong_changes: usize,
    /// Events that failed, though nothing is wrong with them.
    pub failed: usize,
    pub words: Vec<String>,
}

impl Findings {
    pub fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.wrong_rows += other.wrong_rows;
        self.wrong_changes += other.wrong_changes;
        self.failed += other.failed;
        self.words.extend(other.words);
    }
}

/// Where to look for what a flood has left behind.
pub struct Traces {
    pub store: Store,
    pub noted: Noted,
    /// When the flood began.
    pub since: Timestamp,
    /// Whether unroutable events were replayed.
    pub were_replayed: bool,
}

/// Waits until every accepted event has a line, then compares lines and rows with the model.
pub async fn check(traces: &Traces, expected: &Expected) -> Findings {
    let (store, since) = (&traces.store, traces.since);
    let (deadline, mut looks) = (Instant::now() + SETTLED_WITHIN, interval(LOOK_EVERY));
    let lines = loop {
        let lines = lines(store, &expected.prefix, since).await;
        if lines.len() >= expected.events.len() || Instant::now() > deadline {
            break lines;
        }
        looks.tick().await;
    };
    let mut findings = Findings::default();
    compare_lines(expected, &lines, &mut findings);
    for line in lines
        .iter()
        .filter(|line| line.attempts != 1 && !traces.were_replayed)
    {
        findings.doubled += 1;
        findings.words.push(format!(
            "{} was tried {} times",
            line.event_id, line.attempts
        ));
    }
    for twice in traces.noted.twice(&expected.row_mark).await {
        findings.doubled += 1;
        findings.words.push(format!("twice: {twice}"));
    }
    for (id, change) in &expected.rows {
        let row = store.row(change.table, id).await.unwrap();
        if let Some(difference) = difference(change, row.as_ref()) {
            findings.wrong_rows += 1;
            findings.words.push(format!("row {id}: {difference}"));
        }
    }
    findings
}

fn compare_lines(expected: &Expected, lines: &[EventRow], findings: &mut Findings) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for line in lines {
        *seen.entry(&line.event_id).or_default() += 1;
        if matches!(line.status, Status::Failed | Status::Discarded) {
            findings.failed += 1;
            findings.words.push(format!(
                "{} failed: {:?} {:?}",
                line.event_id, line.error_code, line.error
            ));
        }
    }
    for event in &expected.events {
        match seen.remove(event.id().as_str()) {
            None => {
                findings.lost += 1;
                findings
                    .words
                    .push(format!("{} was accepted and is lost", event.id()));
            }
            Some(1) => {}
            Some(lines) => {
                findings.doubled += 1;
                findings
                    .words
                    .push(format!("{} has {lines} lines", event.id()));
            }
        }
    }
    for unknown in seen.keys() {
        findings.doubled += 1;
        findings.words.push(format!("{unknown} was never sent"));
    }
}

/// Every line of the flood's events, which were received since then.
async fn lines(store: &Store, prefix: &str, since: Timestamp) -> Vec<EventRow> {
    let filter = EventFilter {
        since: Some(since),
        ..EventFilter::default()
    };
    let mut page = Page {
        limit: NonZeroU32::new(500).unwrap(),
        after: None,
    };
    let mut lines = Vec::new();
    loop {
        let listing = store.events(&filter, &page).await.unwrap();
        lines.extend(
            listing
                .rows
                .into_iter()
                .filter(|line| line.event_id.starts_with(prefix)),
        );
        page.after = listing.next;
        if page.after.is_none() {
            return lines;
        }
    }
}

/// What the profile says for each column; JSON as a database writes it, which is not compared.
fn values(change: &Change) -> Vec<Value> {
    let columns = change.table.columns.iter().enumerate();
    columns
        .map(|(place, column)| match change.value_at(place) {
            Some(value) if !column.kind.is_json() => value.clone(),
            _ => Value::Null,
        })
        .collect()
}

/// The same of a row.
fn found_values(row: &TableRow) -> Vec<Value> {
    let columns = row.table.columns.iter().zip(&row.values);
    columns
        .map(|(column, value)| match column.kind.is_json() {
            true => Value::Null,
            false => value.clone(),
        })
        .collect()
}

fn difference(change: &Change, row: Option<&TableRow>) -> Option<String> {
    let Some(row) = row else {
        return Some("is missing".into());
    };
    let version = change.version();
    let expected = (
        version.map(|version| {
            (
                version.updated_at,
                version.occurred_at,
                version.event_id.to_string(),
            )
        }),
        values(change),
        change.deleted_at,
    );
    let found_version = row
        .updated_at
        .zip(row.occurred_at)
        .zip(row.event_id.clone());
    let found = (
        found_version
            .map(|((updated_at, occurred_at), event_id)| (updated_at.0, occurred_at.0, event_id)),
        found_values(row),
        row.deleted_at.map(|time| time.0),
    );
    (found != expected).then(|| format!("is {found:?}, must be {expected:?}"))
}
