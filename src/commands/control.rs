//! `pause`, `resume` and `rate-limit`: the control of applying, which all workers of the database
//! obey.

use std::num::NonZeroU32;
use std::process::ExitCode;

use anyhow::bail;
use serde::Serialize;

use super::actor::actor;
use super::arguments::JsonArg;
use super::{heartbeat, output};
use crate::clock::now;
use crate::config::Config;
use crate::format;
use crate::store::{Act, Action, Control, Pause, Store, read_rate};

#[derive(Debug, clap::Args)]
pub struct PauseArgs {
    /// Why, for everybody who finds it paused
    #[arg(long, value_name = "TEXT", value_parser = read_reason)]
    reason: Option<Reason>,
    #[command(flatten)]
    json: JsonArg,
}

#[derive(Debug, clap::Args)]
pub struct RateLimitArgs {
    /// Most events per second that all workers together apply, or `off`; without it the limit is printed
    #[arg(value_name = "EVENTS_PER_SECOND", value_parser = read_limit)]
    limit: Option<Limit>,
    #[command(flatten)]
    json: JsonArg,
}

/// A reason, `None` if it is empty.
#[derive(Debug, Clone)]
struct Reason(Option<String>);

/// A rate limit, `None` for `off`.
#[derive(Debug, Clone, Copy)]
struct Limit(Option<NonZeroU32>);

fn read_reason(text: &str) -> Result<Reason, &'static str> {
    Pause::read_reason(text).map(Reason)
}

fn read_limit(text: &str) -> Result<Limit, String> {
    if text == "off" {
        return Ok(Limit(None));
    }
    let limit = read_rate(text).map(|limit| Limit(Some(limit)));
    limit.map_err(|remedy| format!("{remedy}, or off"))
}

/// The control as it is after the command.
#[derive(Serialize)]
struct Controlled {
    /// Whether the command changed it.
    changed: bool,
    #[serde(flatten)]
    control: Control,
}

/// Stops all workers. The time and the reason of a pause that is there already stay.
pub async fn pause(args: PauseArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let store = open(config).await?;
    let reason = args.reason.and_then(|reason| reason.0);
    let by = format!("a command on {}", heartbeat::host());
    if store.control().await?.paused.is_none() {
        let act = Act::new(Action::Paused, &actor()).because(reason.clone());
        store.record_act(&act).await?;
    }
    let (pause, changed) = store.pause(reason, by).await?;
    finish(&store, changed, args.json.json, |_| {
        let since = output::local_and_age(pause.paused_at, now());
        if changed {
            "Paused. Workers stop applying within a second; events are received and wait in the queue.\nResume with `clerk-sync resume`.\n".into()
        } else {
            let reason = pause.reason.as_deref().unwrap_or("no reason was given");
            let reason = crate::escape::visible(reason);
            format!("It is paused already, since {since}: {reason}. That stays as it is.\n")
        }
    })
    .await
}

/// Has all workers apply events again.
pub async fn resume(args: JsonArg, config: &Config) -> anyhow::Result<ExitCode> {
    let store = open(config).await?;
    if store.control().await?.paused.is_some() {
        store
            .record_act(&Act::new(Action::Resumed, &actor()))
            .await?;
    }
    let ended = store.resume().await?;
    finish(&store, ended.is_some(), args.json, |_| match &ended {
        Some(pause) => format!(
            "Resumed, after {}. Workers apply events again within a second.\n",
            format::age(now().ms() - pause.paused_at.0.ms()).trim_end_matches(" ago")
        ),
        None => "Nothing was paused.\n".into(),
    })
    .await
}

/// Sets, removes or prints the rate limit.
pub async fn rate_limit(args: RateLimitArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let store = open(config).await?;
    let changed = match args.limit {
        Some(Limit(limit)) => limit_rate(&store, limit).await?,
        None => false,
    };
    finish(&store, changed, args.json.json, |control| {
        match control.rate_limit {
            Some(limit) => format!(
                "All workers together apply at most {} per second.\n",
                format::count(limit.get().into(), "event")
            ),
            None => "There is no rate limit.\n".into(),
        }
    })
    .await
}

/// Sets the limit, and records who did. Returns whether it changed.
async fn limit_rate(store: &Store, limit: Option<NonZeroU32>) -> anyhow::Result<bool> {
    if store.control().await?.rate_limit != limit {
        let act = Act::new(Action::RateLimited, &actor()).because_of_limit(limit);
        store.record_act(&act).await?;
    }
    Ok(store.set_rate_limit(limit).await? != limit)
}

async fn open(config: &Config) -> anyhow::Result<Store> {
    let store = Store::open(&config.store)?;
    store.schema_version().await?.check()?;
    Ok(store)
}

async fn finish(
    store: &Store,
    changed: bool,
    json: bool,
    text: impl FnOnce(&Control) -> String,
) -> anyhow::Result<ExitCode> {
    let control = store.control().await?;
    store.close().await;
    let done = Controlled { changed, control };
    output::print_one(&done, json, || text(&done.control))
}

/// Refuses a command that writes rows, during a pause.
///
/// # Errors
/// Fails while applying is paused.
pub async fn refuse_if_paused(store: &Store, command: &str) -> anyhow::Result<()> {
    // A role that may not read it is not held up: its workers do not obey either.
    let Some(pause) = store
        .control()
        .await
        .ok()
        .and_then(|control| control.paused)
    else {
        return Ok(());
    };
    let since = output::local_and_age(pause.paused_at, now());
    let reason = pause
        .reason
        .map_or(String::new(), |reason| format!(" ({reason})"));
    bail!(
        "applying is paused since {since}{reason}, and `{command}` writes rows: run `clerk-sync resume` first"
    )
}
