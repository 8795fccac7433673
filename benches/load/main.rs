//! Measures clerk-sync in one run against the limits of the machine and against what people would
//! use instead.
//!
//! `scripts/bench` builds and runs it; docs/performance.md says what each figure means. Both sides
//! of a ratio are measured in the same round, since a machine is not the same from minute to
//! minute. It makes a database, names at the broker and a directory of its own, and takes them away
//! at the end, after a failure and after Ctrl-C too.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "no count here is near 2^52"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "it finds its servers through the environment, as the tests do"
)]
#![allow(clippy::print_stdout, reason = "the figures are what it is for")]

mod backfill;
mod bare;
mod bare_sqlite;
mod bench;
mod chart;
mod commits;
mod comparisons;
mod crowd;
mod embedded;
mod feed;
mod figures;
mod limits;
mod machine;
mod own;
mod own_broker;
mod peer;
mod place;
mod plain;
mod program;
mod report;
mod settings;
mod targets;
mod tls;
mod traffic;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, anyhow};
use clap::{Parser, ValueEnum};
use futures_util::FutureExt;
use tokio::signal::unix::{SignalKind, signal};

use bench::{Bench, Scale};
use crowd::Crowd;
use figures::Figures;
use machine::Machine;
use place::Place;

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures clerk-sync against the limits of this machine and against a Node handler
#[derive(Parser)]
struct Arguments {
    /// One short round, for trying
    #[arg(long)]
    quick: bool,

    /// Rounds of a full run; with one it is shorter, and says less of how much figures differ
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=9))]
    rounds: Option<u32>,

    /// Only this part; may be given several times
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,

    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,

    /// Serves HTTP without a queue until it is killed: the bench runs itself with this
    #[arg(long, hide = true, value_parser = ["plain", "verify"])]
    serve_http: Option<String>,

    /// Takes events the plain way with so many writers until it is killed: the bench runs itself
    /// with this
    #[arg(long, hide = true)]
    serve_plain: Option<u16>,

    /// Serves a list of so many users until it is killed: the bench runs itself with this
    #[arg(long, hide = true)]
    serve_list: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The broker, the database and HTTP by themselves
    Limits,
    /// Accepted per second
    Accept,
    /// The Node handlers
    Peer,
    /// Received to committed per second
    Sustained,
    /// With the change feed and without; in the first round alone
    Feed,
    /// A backlog, drained
    Drain,
    /// The same over a large table
    Many,
    /// Due to committed and to answered at fixed rates
    Latency,
    /// Memory, idle and loaded
    Memory,
    /// Without servers
    Embedded,
    /// Start to ready, and the size of the program
    Start,
    /// The table filled from Clerk's list
    Backfill,
    /// With TLS to RabbitMQ and PostgreSQL and without
    Tls,
    /// Settings of RabbitMQ on nodes of the run's own; only when it is asked for
    Settings,
}

impl Part {
    fn is_due(self, only: &[Self], round: u32) -> bool {
        match self {
            _ if !only.is_empty() => only.contains(&self),
            Self::Settings => false,
            // It is no target, and takes as long as all that is one.
            Self::Feed => round == 1,
            _ => true,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let done = runtime
        .context("no runtime")
        .and_then(|runtime| runtime.block_on(run(arguments)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    if let Some(kind) = arguments.serve_http {
        return bare::serve_http(kind == "verify").await;
    }
    if let Some(users) = arguments.serve_list {
        return backfill::serve_list(users).await;
    }
    // The library's queue connects with TLS where the URL asks for it.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    if let Some(writers) = arguments.serve_plain {
        return plain::serve(writers).await;
    }
    let run = clerk_sync::clock::now().ms().unsigned_abs();
    let place = Place::of_this_run(run)?;
    let mut terminated = signal(SignalKind::terminate())?;
    let measured = tokio::select! {
        measured = AssertUnwindSafe(Box::pin(measure(&place, &arguments, run))).catch_unwind() => {
            measured.unwrap_or_else(|_| Err(anyhow!("it met a bug of its own")))
        }
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into).and(Err(anyhow!("interrupted"))),
        _ = terminated.recv() => Err(anyhow!("terminated")),
    };
    let cleared = place
        .clear()
        .await
        .context("something of this run is left: its database or its queues");
    measured.and(cleared)
}

async fn measure(place: &Place, arguments: &Arguments, run: u64) -> anyhow::Result<()> {
    let scale = if arguments.quick {
        Scale::QUICK
    } else {
        Scale::FULL
    };
    let database = place.database("users").await?;
    let broker = place.broker().await?;
    let machine = Machine::look(&database.pool, &place.amqp_url).await?;
    machine::warn(&machine, place);
    eprintln!("{}", machine.servers());
    let mut bench = Bench {
        scale,
        run,
        round: 0,
        place: place.clone(),
        crowd: Arc::new(Crowd::of(scale.users, run)),
        database,
        broker,
        figures: Figures::default(),
        many: None,
        filled: None,
        found: std::collections::HashMap::new(),
    };
    // Every part finds the users there.
    own::fill_users(&bench).await?;
    let rounds = arguments.rounds.unwrap_or(scale.rounds);
    for round in 1..=rounds {
        bench.round = round;
        bench.figures.round = round;
        for part in Part::value_variants() {
            if part.is_due(&arguments.only, round) {
                let name = part
                    .to_possible_value()
                    .map(|value| value.get_name().to_owned())
                    .unwrap_or_default();
                eprintln!("round {round} of {rounds}: {name}");
                let began = Instant::now();
                measure_part(&mut bench, *part)
                    .await
                    .with_context(|| name.clone())?;
                eprintln!("  {name} took {:.0} s", began.elapsed().as_secs_f64());
            }
        }
    }
    report::print(&bench.figures, &machine);
    let kind = match (arguments.quick, arguments.only.as_slice()) {
        (false, []) => "full",
        (true, []) => "quick",
        (false, [Part::Settings]) => "settings",
        _ => "partial",
    };
    let path = report::write(&bench.figures, &machine, kind, rounds)?;
    println!("\nwritten to {}", path.display());
    if kind == "full" {
        println!("drawn in {}", chart::write(&bench.figures)?.display());
    }
    Ok(())
}

async fn measure_part(bench: &mut Bench, part: Part) -> anyhow::Result<()> {
    match part {
        Part::Limits => Box::pin(limits::limits(bench)).await,
        Part::Accept => Box::pin(own::accept(bench)).await,
        Part::Peer => Box::pin(peer::peer(bench)).await,
        Part::Sustained => Box::pin(own::sustained(bench)).await,
        Part::Feed => Box::pin(feed::feed(bench)).await,
        Part::Drain => Box::pin(own::drain(bench)).await,
        Part::Many => Box::pin(own::drain_many(bench)).await,
        Part::Latency => Box::pin(own::latency(bench)).await,
        Part::Memory => Box::pin(own::memory(bench)).await,
        Part::Embedded => Box::pin(embedded::embedded(bench)).await,
        Part::Start => Box::pin(own::start(bench)).await,
        Part::Backfill => Box::pin(backfill::backfill(bench)).await,
        Part::Tls => Box::pin(tls::tls(bench)).await,
        Part::Settings => Box::pin(settings::settings(bench)).await,
    }
}
