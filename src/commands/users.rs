//! `users`: the users table by command.

use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;

use super::confirm::{self, Consent};
use super::output;
use crate::clerk::{ClerkId, Timestamp, Value};
use crate::clock::now;
use crate::config::Config;
use crate::escape::visible;
use crate::format;
use crate::store::{Cursor, Erased, HistoryRow, Page, Store, TableRow, Time, UserFilter};

#[derive(Debug, clap::Subcommand)]
pub enum UsersCommand {
    /// List users, the newest first
    List(ListArgs),
    /// Show one user, with every column
    Show {
        /// The user's Clerk ID, user_…
        id: String,
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
    /// Tell what each event of a user did and why, the newest first
    ///
    /// Where EVENT_PAYLOADS=all keeps the payloads, it names the fields that changed.
    History {
        /// The user's Clerk ID, user_…
        id: String,
        /// Most rows, up to 500
        #[arg(long, default_value = "50", value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
        /// Go on where a history ended
        #[arg(long, value_name = "CURSOR")]
        cursor: Option<Cursor>,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Erase a user's data: every column but the ID and the time of the delete, and the payloads of the user's events
    ///
    /// Delete the user at Clerk first: the row of a deleted user is never filled again, that of another one is by the next
    /// event. Events that still wait in the queue are not touched. Asks first on a terminal; elsewhere it needs --yes.
    Erase {
        /// The user's Clerk ID, user_…
        id: String,
        /// Delete the row and the rows of the user's events too, as if they had never been. For the users of Clerk's own
        /// examples, which always bear the same IDs
        #[arg(long)]
        forget: bool,
        /// Only say what would be erased
        #[arg(long)]
        dry_run: bool,
        /// Do not ask first
        #[arg(long)]
        yes: bool,
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// A whole Clerk ID, or the beginning of an e-mail address, a phone number, a username, an external ID, a first or a last
    /// name, or of both names
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// The same as TEXT
    #[arg(long, value_name = "TEXT", conflicts_with = "text")]
    q: Option<String>,
    /// Primary e-mail address; case does not count
    #[arg(long)]
    email: Option<String>,
    /// Primary phone number, such as +12025550123
    #[arg(long)]
    phone: Option<String>,
    #[arg(long)]
    username: Option<String>,
    #[arg(long)]
    external_id: Option<String>,
    /// Deleted users: only these (true), only the others (false), or all (any)
    #[arg(long, default_value = "any", value_parser = ["true", "false", "any"])]
    deleted: String,
    /// Most rows, up to 500
    #[arg(long, default_value = "50", value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    /// Go on where a list ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<Cursor>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

pub async fn run(command: UsersCommand, config: &Config) -> anyhow::Result<ExitCode> {
    let store = Store::open(&config.store)?;
    let mut status = ExitCode::SUCCESS;
    match command {
        UsersCommand::List(args) => list(args, &store).await?,
        UsersCommand::Show { id, json } => show(&id, json, &store).await?,
        UsersCommand::History {
            id,
            limit,
            cursor,
            json,
        } => {
            history(
                &id,
                Page {
                    limit: NonZeroU32::new(limit).context("--limit is 0")?,
                    after: cursor,
                },
                json,
                &store,
            )
            .await?;
        }
        UsersCommand::Erase {
            id,
            forget,
            dry_run,
            yes,
            json,
        } => {
            status = erase(
                &id,
                &Erasure {
                    forget,
                    dry_run,
                    yes,
                    json,
                },
                &store,
            )
            .await?;
        }
    }
    store.close().await;
    Ok(status)
}

async fn list(args: ListArgs, store: &Store) -> anyhow::Result<()> {
    let page = Page {
        limit: NonZeroU32::new(args.limit).context("--limit is 0")?,
        after: args.cursor,
    };
    let filter = UserFilter {
        email: args.email,
        phone: args.phone,
        username: args.username,
        external_id: args.external_id,
        q: args.text.or(args.q),
        deleted: args.deleted.parse().ok(),
    };
    let listing = store.users(&filter, &page).await?;
    if args.json {
        return output::print_json_lines(&listing.rows);
    }
    if listing.rows.is_empty() {
        output::note("No users match.");
        return Ok(());
    }
    output::print(&of_users(&listing.rows, now()))?;
    if let Some(next) = listing.next {
        output::note(&format!("There are more: --cursor {next}"));
    }
    Ok(())
}

/// The columns that tell users apart.
pub fn of_users(users: &[TableRow], now: Timestamp) -> String {
    let rows = users.iter().map(|user| {
        vec![
            output::Cell::new(&user.clerk_id),
            output::Cell::new(output::or_dash(user.updated_at.map(output::local))),
            output::Cell::new(output::or_dash(
                user.updated_at.map(|time| output::age(time, now)),
            )),
            output::Cell::new(output::or_dash(
                user.deleted_at.map(|time| output::age(time, now)),
            )),
            output::Cell::new(output::or_dash(
                user.text("email")
                    .or(user.text("phone"))
                    .or(user.text("username")),
            )),
            output::Cell::new(full_name(user)),
        ]
    });
    output::of_rows(
        &[
            "CLERK ID",
            "UPDATED",
            "AGE",
            "DELETED",
            "E-MAIL, PHONE OR NAME",
            "NAME",
        ],
        rows,
    )
}

fn full_name(user: &TableRow) -> String {
    let parts: Vec<_> = [user.text("first_name"), user.text("last_name")]
        .into_iter()
        .flatten()
        .collect();
    if parts.is_empty() {
        "-".into()
    } else {
        parts.join(" ")
    }
}

async fn show(id: &str, json: bool, store: &Store) -> anyhow::Result<()> {
    let clerk_id = ClerkId::new(id).context("a Clerk ID has 1 to 255 characters")?;
    let Some(user) = store.user(&clerk_id).await? else {
        bail!("no user has the ID {id}; see `clerk-sync users list`");
    };
    if json {
        return output::print_json(&user);
    }
    output::print(&of_user(&user, now()))
}

async fn history(id: &str, page: Page, json: bool, store: &Store) -> anyhow::Result<()> {
    let clerk_id = ClerkId::new(id).context("a Clerk ID has 1 to 255 characters")?;
    let listing = store.history(&clerk_id, &page).await?;
    if listing.rows.is_empty() && page.after.is_none() && store.user(&clerk_id).await?.is_none() {
        bail!("no user has the ID {id}, and no event is about one; see `clerk-sync users list`");
    }
    if json {
        return output::print_json_lines(&listing.rows);
    }
    if listing.rows.is_empty() {
        output::note("No events of this user are kept (EVENT_RETENTION_DAYS says for how long).");
        return Ok(());
    }
    output::print(&of_history(&listing.rows, now()))?;
    if let Some(next) = listing.next {
        output::note(&format!("There are more: --cursor {next}"));
    }
    Ok(())
}

/// One line for an event, and one below it for what it did.
fn of_history(history: &[HistoryRow], now: Timestamp) -> String {
    let rows = history.iter().map(|HistoryRow { event, lag_ms, .. }| {
        vec![
            output::Cell::new(output::local(event.received_at)),
            output::Cell::new(output::age(event.received_at, now)),
            output::status(event.status, event.status.as_str()),
            output::Cell::new(&event.event_type),
            output::Cell::new(format::duration(Duration::from_millis(*lag_ms))),
            output::Cell::new(&event.event_id),
        ]
    });
    let table = output::of_rows(
        &["RECEIVED", "AGE", "STATUS", "TYPE", "LAG", "EVENT ID"],
        rows,
    );
    let what = history.iter().map(|row| match &row.changed {
        None => row.why.clone(),
        Some(names) if names.is_empty() => format!("{}; no field differs", row.why),
        Some(names) => format!("{}: {}", row.why, names.join(", ")),
    });
    let below =
        std::iter::once(String::new()).chain(what.map(|what| format!("   {}\n", visible(&what))));
    table
        .lines()
        .zip(below)
        .map(|(line, below)| format!("{line}\n{below}"))
        .collect()
}

fn of_user(user: &TableRow, now: Timestamp) -> String {
    let time = |value| output::or_dash(Option::map(value, |time| output::local_and_age(time, now)));
    // A contact and whether it is verified are one line.
    let is_verified = |column| user.boolean(&format!("{column}_verified"));
    let columns = user.table.columns.iter().zip(&user.values);
    let shown = columns.filter(|(column, _)| !column.name.ends_with("_verified"));
    let own = shown.map(|(column, value)| {
        let text = match value {
            Value::Null => "-".into(),
            Value::Text(contact) if matches!(column.name, "email" | "phone") => {
                let not = if is_verified(column.name) == Some(true) {
                    ""
                } else {
                    "not "
                };
                format!("{contact} ({not}verified)")
            }
            Value::Text(text) | Value::Json(text) => text.to_string(),
            Value::Boolean(value) => value.to_string(),
            Value::Integer(number) => number.to_string(),
            Value::Time(at) => time(Some(Time(*at))),
        };
        (column.name, text)
    });
    // Who was read from Clerk's list has none.
    let occurred_at = user.occurred_at.filter(|time| time.0 != Timestamp::MIN);
    let last = [
        ("updated_at", time(user.updated_at)),
        ("deleted_at", time(user.deleted_at)),
        ("event_id", output::or_dash(user.event_id.as_ref())),
        ("occurred_at", time(occurred_at)),
        ("synced_at", time(Some(user.synced_at))),
        ("erased_at", time(user.erased_at)),
        ("data", "the whole object: --json".into()),
    ];
    let first = [("clerk_id", user.clerk_id.clone())];
    let fields: Vec<_> = first.into_iter().chain(own).chain(last).collect();
    output::of_fields(&fields)
}

/// How to erase.
struct Erasure {
    forget: bool,
    dry_run: bool,
    yes: bool,
    json: bool,
}

#[derive(Serialize)]
struct Report {
    dry_run: bool,
    clerk_id: String,
    #[serde(flatten)]
    erased: Erased,
    /// Lines of `events` that are gone, where the user was forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    forgotten_events: Option<u64>,
}

async fn erase(id: &str, how: &Erasure, store: &Store) -> anyhow::Result<ExitCode> {
    let clerk_id = ClerkId::new(id).context("a Clerk ID has 1 to 255 characters")?;
    let Some((would, events)) = store.would_erase(&clerk_id).await? else {
        bail!("no user has the ID {id}; see `clerk-sync users list`");
    };
    let is_final = would.is_final;
    let forgotten_events = how.forget.then_some(events);
    let plan = Report {
        dry_run: true,
        clerk_id: id.into(),
        erased: would,
        forgotten_events,
    };
    let state = if is_final {
        format!("{id} is deleted at Clerk.")
    } else {
        format!(
            "{id} is still at Clerk, as far as the table knows: the next event fills the row again. Delete the user there first."
        )
    };
    if how.dry_run {
        output::note(&state);
        return print_report(&plan, how.json);
    }
    let question = format!("{} This cannot be taken back. Erase?", of_plan(&plan));
    match confirm::ask(&state, &question, how.yes) {
        Consent::Given => {}
        Consent::Refused => bail!("nothing was erased"),
        Consent::Absent => {
            output::note(
                "clerk-sync: nothing was erased: add --yes to erase, or --dry-run to see what would be",
            );
            return Ok(ExitCode::from(super::WRONG_USAGE));
        }
    }
    let Some(erased) = store.erase(&clerk_id).await? else {
        bail!("no user has the ID {id}; see `clerk-sync users list`");
    };
    let forgotten_events = if how.forget {
        Some(store.forget(&clerk_id).await?.1)
    } else {
        None
    };
    print_report(
        &Report {
            dry_run: false,
            clerk_id: id.into(),
            erased,
            forgotten_events,
        },
        how.json,
    )
}

fn print_report(report: &Report, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        output::print_json(report)?;
    } else if report.dry_run {
        output::print(&format!("{}\n", visible(&of_plan(report))))?;
    } else {
        output::print(&of_report(report))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What would be done, in one sentence.
fn of_plan(report: &Report) -> String {
    match &steps(report, ["erase", "empty", "delete"])[..] {
        [] => "Nothing is left to erase.".into(),
        steps => format!("Would {}.", steps.join(", ")),
    }
}

/// Names of columns, never what was in them.
fn of_report(report: &Report) -> String {
    let Report {
        clerk_id,
        erased,
        forgotten_events,
        ..
    } = report;
    let done = match &steps(report, ["erased", "emptied", "deleted"])[..] {
        [] => "nothing was left to erase".into(),
        steps => steps.join(", "),
    };
    let next = match (forgotten_events, erased.is_final) {
        (Some(_), _) => " The user's next event makes a new row.",
        (None, true) => " The row stays as a tombstone and is never filled again.",
        // The warning has said what fills it.
        (None, false) => "",
    };
    format!("{}: {}.{next}\n", visible(clerk_id), visible(&done))
}

/// What an erasure does, each step with its verb; a step with nothing to do is left out.
fn steps(report: &Report, [erase, empty, delete]: [&str; 3]) -> Vec<String> {
    let Report {
        erased: Erased {
            columns, payloads, ..
        },
        forgotten_events,
        ..
    } = report;
    let number = columns.len() as u64;
    [
        (number > 0).then(|| {
            format!(
                "{erase} {} ({})",
                format::count(number, "column"),
                columns.join(", ")
            )
        }),
        (*payloads > 0).then(|| format!("{empty} {}", format::count(*payloads, "payload"))),
        forgotten_events.map(|events| {
            format!(
                "{delete} the row and its {}",
                format::count(events, "event")
            )
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}
