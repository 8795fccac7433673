//! One chart for the README: what is committed and accepted a second, on each side and at the
//! limit.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::figures::{Figures, short};

const FILE: &str = "docs/performance.svg";

/// Label, figure and side.
type Bar = (&'static str, &'static str, Side);

const GROUPS: &[(&str, &[Bar])] = &[
    (
        "accepted a second: verified and on disk in the queue",
        &[
            ("clerk-sync", "accept.rate", Side::Ours),
            (
                "Node, fastify and amqplib",
                "node.receiver.rate",
                Side::Theirs,
            ),
            (
                "limit: lapin alone, 64 in flight",
                "limit.publish_64",
                Side::Limit,
            ),
        ],
    ),
    (
        "received to committed a second, sustained, lag below 0.5 s",
        &[
            (
                "clerk-sync, with a record of every event",
                "sustained.rate",
                Side::Ours,
            ),
            (
                "the same, over TLS to both servers",
                "tls.sustained.rate",
                Side::Ours,
            ),
            (
                "Node with a queue, row by row",
                "node.queued.rate",
                Side::Theirs,
            ),
            ("Node inline, no queue", "node.inline.rate", Side::Theirs),
        ],
    ),
    (
        "a backlog of 100,000, drained a second",
        &[
            ("clerk-sync", "drain.rate", Side::Ours),
            ("clerk-sync, 1,000,000 users", "many.rate", Side::Ours),
            (
                "limit: sqlx alone, batches of 500",
                "limit.upsert_500",
                Side::Limit,
            ),
        ],
    ),
];

#[derive(Clone, Copy)]
enum Side {
    Ours,
    Theirs,
    Limit,
}

impl Side {
    /// Colors that can be distinguished on light and on dark.
    fn color(self) -> &'static str {
        match self {
            Self::Ours => "#6c47ff",
            Self::Theirs => "#5f9e6e",
            Self::Limit => "#9aa0a6",
        }
    }
}

const WIDTH: f64 = 820.0;
const LEFT: f64 = 290.0;
const BAR: f64 = 18.0;
const STEP: f64 = 26.0;
const GAP: f64 = 44.0;

pub fn draw(figures: &Figures) -> String {
    let (mut body, mut y) = (String::new(), 28.0);
    let greatest = GROUPS
        .iter()
        .flat_map(|(_, bars)| bars.iter().filter_map(|(_, name, _)| figures.median(name)))
        .fold(1.0, f64::max);
    for (title, bars) in GROUPS {
        _ = writeln!(body, r#"<text x="0" y="{y}" class="title">{title}</text>"#);
        y += 10.0;
        for (label, name, side) in *bars {
            let Some(value) = figures.median(name) else {
                continue;
            };
            let (width, middle) = (
                value / greatest * (WIDTH - LEFT - 80.0),
                y + BAR / 2.0 + 4.0,
            );
            let color = side.color();
            _ = writeln!(
                body,
                r#"<text x="{}" y="{middle}" class="label">{label}</text>"#,
                LEFT - 8.0
            );
            _ = writeln!(
                body,
                r#"<rect x="{LEFT}" y="{y}" width="{width:.1}" height="{BAR}" rx="2" fill="{color}"/>"#
            );
            _ = writeln!(
                body,
                r#"<text x="{:.1}" y="{middle}">{}</text>"#,
                LEFT + width + 6.0,
                short(value)
            );
            y += STEP;
        }
        y += GAP - 10.0;
    }
    let height = y - 20.0;
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Events a second: clerk-sync, Node and the limits">
<style>text {{ font: 13px system-ui, sans-serif; fill: #57606a }} .title {{ font-weight: 600 }} .label {{ text-anchor: end }} @media (prefers-color-scheme: dark) {{ text {{ fill: #c9d1d9 }} }}</style>
{body}</svg>
"#
    )
}

pub fn write(figures: &Figures) -> anyhow::Result<PathBuf> {
    std::fs::write(
        Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE),
        draw(figures),
    )?;
    Ok(FILE.into())
}
