//! `organizations`, `memberships`, `invitations` and so on: every table but users by command, made from
//! the list of tables.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, Subcommand};

use super::arguments::{JsonArg, PageArgs};
use super::output::{self, Cell, Column, Table, or_dash};
use super::row_output;
use super::startup;
use crate::clerk::{self, Kind, Table as Synced, Value, tables};
use crate::clock::now;
use crate::config::Config;
use crate::store::{Store, TableFilter, TableRow, Time};

/// A command about one table.
#[derive(Debug)]
pub struct TableCommand {
    table: &'static Synced,
    action: Action,
}

#[derive(Debug)]
enum Action {
    List { filter: TableFilter, page: PageArgs },
    Show { id: String, json: bool },
    History { id: String, page: PageArgs },
}

/// The flag of a column: `organization` of `organization_id`, `email` of `email_address`.
fn flag(column: &clerk::Column) -> String {
    let name = column.name;
    let short = name.strip_suffix("_id").or(name.strip_suffix("_address"));
    short.unwrap_or(name).replace('_', "-")
}

/// The arguments of a list.
fn list(table: &'static Synced) -> Command {
    let plural = table.plural;
    let mut command = Command::new("list").visible_alias("ls");
    let searched: Vec<_> = table.searched().map(|column| column.name).collect();
    let mut examples = format!("Examples:\n  clerk-sync {plural} list --deleted false --json");
    if !searched.is_empty() {
        let what = format!(
            "The beginning of a Clerk ID or of {}",
            searched.join(" or ")
        );
        command = command
            .arg(Arg::new("text").value_name("TEXT").help(what))
            .arg(
                Arg::new("q")
                    .long("q")
                    .value_name("TEXT")
                    .conflicts_with("text")
                    .help("The same as TEXT"),
            );
        examples += &format!("\n  clerk-sync {plural} list Acme");
    }
    for column in table.filtered() {
        let flag = flag(column);
        let case = if column.is_folded {
            "; case does not count"
        } else {
            ""
        };
        let help = format!("{}{case}", column.description.trim_end_matches('.'));
        let value_name = if column.id_of.is_some() {
            "ID".into()
        } else {
            flag.to_uppercase().replace('-', "_")
        };
        if let Some(of) = column.id_of.and_then(tables::named) {
            examples += &format!(
                "\n  clerk-sync {plural} list --{flag} {}_2abc",
                of.id_prefix
            );
        }
        command = command.arg(
            Arg::new(column.name)
                .long(flag)
                .value_name(value_name)
                .help(help),
        );
    }
    if let Some(column) = table.expiry() {
        let help = format!("Expired {plural}, by {}", column.name);
        command = command.arg(which("expired", &help));
        examples += &format!("\n  clerk-sync {plural} list --expired false");
    }
    let command = command.arg(which("deleted", &format!("Deleted {plural}")));
    // What it does is said last: each group of arguments brings a description of its own.
    PageArgs::augment_args(command)
        .about(format!("List {plural}, the newest first"))
        .long_about(None)
        .after_long_help(examples)
}

fn which(name: &'static str, what: &str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("WHICH")
        .default_value("any")
        .value_parser(["true", "false", "any"])
        .help(format!(
            "{what}: only these (true), only the others (false), or all (any)"
        ))
}

fn id(table: &Synced) -> Arg {
    let Synced {
        singular,
        id_prefix,
        ..
    } = table;
    Arg::new("id")
        .value_name("ID")
        .required(true)
        .help(format!("The {singular}'s Clerk ID, {id_prefix}_…"))
}

/// The command of a table, with those below it.
fn command(table: &'static Synced) -> Command {
    let Synced {
        plural, id_prefix, ..
    } = table;
    let one = table.one();
    let show = Command::new("show").visible_alias("get").arg(id(table));
    let show = JsonArg::augment_args(show)
        .about(format!("Show one {}, with every column", table.singular))
        .long_about(None)
        .after_long_help(format!(
            "Examples:\n  clerk-sync {plural} show {id_prefix}_2abc --json"
        ));
    let history = PageArgs::augment_args(Command::new("history").arg(id(table)))
        .about(format!(
            "Show what each event about {one} did and why, the newest first"
        ))
        .long_about(format!(
            "Show what each event about {one} did and why, the newest first\n\n\
             Where EVENT_PAYLOADS=all keeps the payloads, it names the fields that changed."
        ))
        .after_long_help(format!(
            "Examples:\n  clerk-sync {plural} history {id_prefix}_2abc"
        ));
    Command::new(plural)
        .about(format!("Query the table of {plural}"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(list(table))
        .subcommand(show)
        .subcommand(history)
}

impl Subcommand for TableCommand {
    fn augment_subcommands(all: Command) -> Command {
        all.subcommands(tables::others().map(command))
    }

    fn augment_subcommands_for_update(all: Command) -> Command {
        Self::augment_subcommands(all)
    }

    fn has_subcommand(name: &str) -> bool {
        tables::others().any(|table| table.plural == name)
    }
}

impl FromArgMatches for TableCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let missing = || clap::Error::new(clap::error::ErrorKind::MissingSubcommand);
        let (name, of_table) = matches.subcommand().ok_or_else(missing)?;
        let table = tables::others().find(|table| table.plural == name);
        let table = table.ok_or_else(missing)?;
        let (action, given) = of_table.subcommand().ok_or_else(missing)?;
        let id = || given.get_one::<String>("id").cloned().unwrap_or_default();
        let action = match action {
            "list" => Action::List {
                filter: filter(table, given),
                page: PageArgs::from_arg_matches(given)?,
            },
            "show" => Action::Show {
                id: id(),
                json: JsonArg::from_arg_matches(given)?.json,
            },
            _ => Action::History {
                id: id(),
                page: PageArgs::from_arg_matches(given)?,
            },
        };
        Ok(Self { table, action })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn filter(table: &'static Synced, given: &ArgMatches) -> TableFilter {
    // An argument that the command does not have is no value.
    let text = |name: &str| {
        let value = given.try_get_one::<String>(name).ok().flatten();
        value.cloned()
    };
    let which = |name| text(name).and_then(|which| which.parse().ok());
    let columns = table.filtered();
    TableFilter {
        values: columns
            .filter_map(|column| Some((column, text(column.name)?)))
            .collect(),
        q: text("text").or_else(|| text("q")),
        ids: None,
        deleted: which("deleted"),
        expired: which("expired"),
    }
}

/// Runs the command.
///
/// # Errors
///
/// If there is no such row, or the database does not answer.
pub async fn run(command: TableCommand, config: &Config) -> anyhow::Result<ExitCode> {
    let store = Store::open(&config.store)?;
    let source = startup::source(config);
    let TableCommand { table, action } = command;
    let done = match action {
        Action::List { filter, page } => list_rows(table, &filter, &page, &store, &source).await,
        Action::Show { id, json } => row_output::show(table, &id, json, &store, &source).await,
        Action::History { id, page } => {
            row_output::history(table, &id, &page, &store, &source).await
        }
    };
    store.close().await;
    done
}

async fn list_rows(
    table: &'static Synced,
    filter: &TableFilter,
    args: &PageArgs,
    store: &Store,
    source: &str,
) -> anyhow::Result<ExitCode> {
    let page = args.page_of(table)?;
    let listing = store.rows(table, filter, &page, args.json).await?;
    let none = format!("No {} match{source}.", table.plural);
    output::print_listing(&listing, args.json, &none, |rows| {
        of_rows(table, filter, rows, args.wide)
    })
}

/// A table of rows with the columns that they are found by.
fn of_rows(table: &Synced, filter: &TableFilter, rows: &[TableRow], wide: bool) -> Table {
    let now = now();
    let own: Vec<_> = table
        .columns
        .iter()
        .filter(|column| is_listed(column))
        .collect();
    let mut columns = vec![
        Column::new("CLERK ID"),
        Column::new("UPDATED").first_out(1),
        Column::new("AGE").first_out(3),
        Column::new("DELETED").first_out(4),
    ];
    let names = own
        .iter()
        .map(|column| flag(column).to_uppercase().replace('-', " "));
    let names: Vec<_> = names.collect();
    columns.extend(
        own.iter()
            .zip(&names)
            .zip(0..)
            .map(|((column, name), place)| {
                let shown = Column::new(name);
                let is_given = filter
                    .values
                    .iter()
                    .any(|(given, _)| given.name == column.name);
                match (column.id_of, column.kind) {
                    // The same in every row.
                    (Some(_), _) if is_given => shown.first_out(5),
                    (Some(_), _) => shown.last_out(place),
                    (None, Kind::Time) => shown.first_out(2),
                    (None, _) => shown.at_least(8),
                }
            }),
    );
    let rows = rows.iter().map(|row| {
        let age = |time: Option<Time>| or_dash(time.map(|time| output::age(time, now)));
        let first = [
            Cell::new(&row.clerk_id),
            Cell::new(or_dash(row.updated_at.map(output::local))),
            Cell::new(age(row.updated_at)),
            Cell::new(age(row.deleted_at)),
        ];
        let own = own.iter().map(|column| {
            Cell::new(match row.value(column.name) {
                Value::Null => "-".into(),
                Value::Text(text) | Value::Json(text) => text.to_string(),
                Value::Boolean(value) => value.to_string(),
                Value::Integer(number) => number.to_string(),
                Value::Time(time) => output::local(Time(*time)),
            })
        });
        first.into_iter().chain(own).collect()
    });
    output::of_columns(&columns, rows, wide)
}

fn is_listed(column: &clerk::Column) -> bool {
    column.is_filtered || column.is_searched || column.is_expiry
}
