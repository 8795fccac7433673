//! `users`: the users table by command.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use serde::Serialize;
use tokio::sync::watch;

use super::actor::actor;
use super::arguments::{PageArgs, read_order_of_users};
use super::clerk_lists;
use super::confirm::{self, Consent};
use super::exit::WrongUsage;
use super::output::{self, Cell, Column, Table, or_dash};
use super::row_output::{self, clerk_id};
use super::startup;
use crate::backfill::ClerkApi;
use crate::clerk::{Table as Synced, Timestamp, tables};
use crate::clock::now;
use crate::config::Config;
use crate::escape::visible;
use crate::format;
use crate::refresh::{self, Refresher};
use crate::store::{Erased, Sort, Store, TableRow, Time, UserFilter};

#[derive(Debug, clap::Subcommand)]
pub enum UsersCommand {
    /// List users, the newest first
    #[command(visible_alias = "ls")]
    #[command(after_long_help = "Examples:
  clerk-sync users list ada@exam                  # what begins so: address, number or name
  clerk-sync users list --email ada@example.com   # exactly this one
  clerk-sync users list --deleted false --json")]
    List(ListArgs),
    /// Show one user, with every column
    #[command(visible_alias = "get")]
    #[command(after_long_help = "Examples:
  clerk-sync users show user_2abc --json")]
    Show {
        /// The user's Clerk ID, user_…
        id: String,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Show what each event of a user did and why, the newest first
    ///
    /// Where EVENT_PAYLOADS=all keeps the payloads, it names the fields that changed.
    #[command(after_long_help = "Examples:
  clerk-sync users history user_2abc")]
    History {
        /// The user's Clerk ID, user_…
        id: String,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Ask Clerk for one user, and apply the answer; needs CLERK_SECRET_KEY
    ///
    /// The answer is applied under the rule that events follow, and the row is printed: a newer row
    /// is not changed, a deleted one stays deleted. It is one request to Clerk.
    #[command(after_long_help = "Examples:
  clerk-sync users refresh user_2abc
  clerk-sync users refresh user_2abc --json

Exit status: 1 if Clerk has no such user, or gives no answer that can be used. The row stays as it is.")]
    Refresh {
        /// The user's Clerk ID, user_…
        id: String,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Erase a user's data: every column but the ID and the time of the delete, and the payloads of
    /// the user's events
    ///
    /// Delete the user at Clerk first: the row of a deleted user is never filled again, but the
    /// next event of a live user fills the row. Events that still wait in the queue are not
    /// touched. Asks first on a terminal; elsewhere it needs --yes.
    #[command(after_long_help = "Examples:
  clerk-sync users erase user_2abc --dry-run   # what would be erased
  clerk-sync users erase user_2abc")]
    Erase(EraseArgs),
}

#[derive(Debug, clap::Args)]
pub struct EraseArgs {
    /// The user's Clerk ID, user_…
    id: String,
    /// Delete the row and the rows of the user's events too, as if they had never existed. For the
    /// users of Clerk's own examples, which always have the same IDs
    #[arg(long)]
    forget: bool,
    /// Only print what would be erased
    #[arg(long)]
    dry_run: bool,
    /// Do not ask first
    #[arg(long)]
    yes: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// The beginning of a Clerk ID, an e-mail address, a phone number, a username, an external ID, a
    /// first or a last name, or of both names
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
    /// Username
    #[arg(long)]
    username: Option<String>,
    /// Your own ID of the user
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    /// Deleted users: only these (true), only the others (false), or all (any)
    #[arg(long, value_name = "WHICH", default_value = "any", value_parser = ["true", "false", "any"])]
    deleted: String,
    /// Order by clerk_id, email, phone, username or external_id; with a minus, as in -clerk_id, the
    /// greatest first. Users without a value come last
    #[arg(long, value_name = "ORDER", allow_hyphen_values = true, value_parser = read_order_of_users)]
    sort: Option<Sort>,
    #[command(flatten)]
    page: PageArgs,
}

pub async fn run(command: UsersCommand, config: &Config) -> anyhow::Result<ExitCode> {
    let store = Store::open(&config.store)?;
    let source = startup::source(config);
    let done = match command {
        UsersCommand::List(args) => list(args, &store, &source).await,
        UsersCommand::Show { id, json } => {
            row_output::show(USERS, &id, json, &store, &source).await
        }
        UsersCommand::History { id, page } => {
            row_output::history(USERS, &id, &page, &store, &source).await
        }
        UsersCommand::Refresh { id, json } => refresh_user(&id, json, &store, config).await,
        UsersCommand::Erase(args) => erase(&args, &store, &source).await,
    };
    store.close().await;
    done
}

async fn list(args: ListArgs, store: &Store, source: &str) -> anyhow::Result<ExitCode> {
    let filter = UserFilter {
        email: args.email,
        phone: args.phone,
        username: args.username,
        external_id: args.external_id,
        q: args.text.or(args.q),
        deleted: args.deleted.parse().ok(),
        ids: None,
    };
    let (page, sort) = args.page.page_in(args.sort, Sort::NEWEST_USERS)?;
    if !filter.has_index_for(sort) {
        bail!(WrongUsage(
            "the order is -clerk_id with TEXT, and clerk_id or -clerk_id with --deleted true"
        ));
    }
    let listing = store.users_in(sort, &filter, &page, true).await?;
    output::print_listing(
        &listing,
        args.page.json,
        &format!("No users match{source}."),
        |rows| of_users(rows, now(), args.page.wide),
    )
}

const USERS: &Synced = &tables::users::TABLE;

async fn refresh_user(
    id: &str,
    json: bool,
    store: &Store,
    config: &Config,
) -> anyhow::Result<ExitCode> {
    let key = config.clerk_api.key()?.clone();
    let options = clerk_lists::of_instance(&config.clerk_api, &config.worker.omitted, key);
    let api = Arc::new(ClerkApi::open(options)?);
    store.schema_version().await?.check()?;
    let refresher = Refresher::new(refresh::Parts {
        store: store.clone(),
        clerk_api: watch::Sender::new(Some(api)).subscribe(),
        synced: config.synced.clone(),
        process_id: String::new(),
    });
    let row = refresher.refresh(id).await?;
    row_output::print_row(&row, json)
}

fn no_user(id: &str, source: &str) -> anyhow::Error {
    row_output::no_row(USERS, id, source)
}

/// A table of users with the columns that distinguish them.
fn of_users(users: &[TableRow], now: Timestamp, wide: bool) -> Table {
    let rows = users.iter().map(|user| {
        let age = |time: Option<Time>| or_dash(time.map(|time| output::age(time, now)));
        let names = [user.text("first_name"), user.text("last_name")];
        let names: Vec<_> = names.into_iter().flatten().collect();
        let contact = user
            .text("email")
            .or(user.text("phone"))
            .or(user.text("username"));
        vec![
            Cell::new(&user.clerk_id),
            Cell::new(or_dash(user.updated_at.map(output::local))),
            Cell::new(age(user.updated_at)),
            Cell::new(age(user.deleted_at)),
            Cell::new(or_dash(contact)),
            Cell::new(or_dash((!names.is_empty()).then(|| names.join(" ")))),
        ]
    });
    const COLUMNS: [Column; 6] = [
        Column::new("CLERK ID"),
        Column::new("UPDATED").first_out(1),
        Column::new("AGE").first_out(2),
        Column::new("DELETED").last_out(2),
        Column::new("CONTACT").at_least(20),
        Column::new("NAME").at_least(8).last_out(1),
    ];
    output::of_columns(&COLUMNS, rows, wide)
}

#[derive(Serialize)]
struct Report {
    dry_run: bool,
    clerk_id: String,
    #[serde(flatten)]
    erased: Erased,
    /// Rows of `events` that are deleted, if the user is forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    forgotten_events: Option<u64>,
}

async fn erase(args: &EraseArgs, store: &Store, source: &str) -> anyhow::Result<ExitCode> {
    let id = &*args.id;
    let clerk_id = clerk_id(id)?;
    let (erased, events) = store
        .would_erase(&clerk_id)
        .await?
        .ok_or_else(|| no_user(id, source))?;
    let state = if erased.is_final {
        format!("{id} is deleted at Clerk.")
    } else {
        format!(
            "{id} is still at Clerk, as far as the table knows: the next event fills the row again. Delete the user there first."
        )
    };
    let mut report = Report {
        dry_run: true,
        clerk_id: id.into(),
        erased,
        forgotten_events: args.forget.then_some(events),
    };
    if args.dry_run {
        output::note(&state);
        return print_report(&report, args.json);
    }
    let question = format!("{} This cannot be taken back. Erase?", of_plan(&report));
    match confirm::ask(&state, &question, args.yes) {
        Consent::Given => {}
        Consent::Refused => bail!("nothing was erased"),
        Consent::Absent => bail!(WrongUsage(
            "nothing was erased: add --yes to erase, or --dry-run to see what would be"
        )),
    }
    report.dry_run = false;
    let actor = actor();
    report.erased = store
        .erase(&clerk_id, &actor)
        .await?
        .ok_or_else(|| no_user(id, source))?;
    if args.forget {
        report.forgotten_events = Some(store.forget(&clerk_id, &actor).await?.1);
    }
    print_report(&report, args.json)
}

fn print_report(report: &Report, json: bool) -> anyhow::Result<ExitCode> {
    output::print_one(report, json, || {
        if report.dry_run {
            format!("{}\n", visible(&of_plan(report)))
        } else {
            of_report(report)
        }
    })
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
        // The question before already says that the next event fills the row again.
        (None, false) => "",
    };
    format!("{}: {}.{next}\n", visible(clerk_id), visible(&done))
}

/// What an erasure does, each step with its verb; a step with nothing to do is left out.
fn steps(report: &Report, [erase, empty, delete]: [&str; 3]) -> Vec<String> {
    let Report {
        erased:
            Erased {
                columns,
                other_rows,
                payloads,
                ..
            },
        forgotten_events,
        ..
    } = report;
    let mut steps = Vec::new();
    if !columns.is_empty() {
        let count = format::count(columns.len() as u64, "column");
        steps.push(format!("{erase} {count} ({})", columns.join(", ")));
    }
    for (plural, rows) in other_rows {
        let mut tables = tables::ALL.iter();
        let table = tables.find(|table| table.plural == *plural);
        let of_table = table.map_or(*plural, |table| table.singular);
        let count = format::count(*rows, of_table);
        steps.push(format!("{erase} what is personal in {count}"));
    }
    if *payloads > 0 {
        steps.push(format!("{empty} {}", format::count(*payloads, "payload")));
    }
    steps.extend(forgotten_events.map(|events| {
        format!(
            "{delete} the row and its {}",
            format::count(events, "event")
        )
    }));
    steps
}
