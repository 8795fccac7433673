//! Rounds of faults: one kind each at first, then several at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clerk_sync::clock::now;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::check::{Findings, Traces, check};
use crate::flood::{Counts, Flood};
use crate::kinds::Kind;
use crate::servers::postgres::Postgres;
use crate::servers::rabbitmq::Family;
use crate::system::{System, seed};

/// The result of a run.
#[derive(Default)]
struct Report {
    rounds: usize,
    counts: Counts,
    faults: BTreeMap<Kind, usize>,
    findings: Findings,
}

/// One line.
impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts {
            accepted,
            repeated,
            refused,
        } = self.counts;
        let Findings {
            lost,
            doubled,
            wrong_rows,
            wrong_changes,
            failed,
            ..
        } = self.findings;
        write!(
            f,
            "{accepted} events accepted ({repeated} repeats accepted, {refused} deliveries refused) "
        )?;
        write!(
            f,
            "in {} rounds; kills: {}; ",
            self.rounds,
            self.faults(Kind::is_kill)
        )?;
        write!(f, "outages: {}; ", self.faults(|kind| !kind.is_kill()))?;
        write!(
            f,
            "lost {lost}, doubled {doubled}, wrong rows {wrong_rows}, wrong changes {wrong_changes}, failed {failed}"
        )
    }
}

impl Report {
    fn faults(&self, wanted: fn(Kind) -> bool) -> String {
        let faults = self.faults.iter().filter(|(kind, _)| wanted(**kind));
        faults
            .map(|(kind, count)| format!("{} {count}", kind.name()))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// How long a run goes on after each kind was met once.
fn at_least() -> Duration {
    let minutes = std::env::var("FAULT_MINUTES")
        .map_or(0, |text| text.parse().expect("FAULT_MINUTES is a number"));
    Duration::from_secs(minutes * 60)
}

/// The kinds that `FAULT_KINDS` names, separated by commas; all where it is not set.
fn chosen() -> Vec<Kind> {
    let Ok(names) = std::env::var("FAULT_KINDS") else {
        return Kind::ALL.to_vec();
    };
    let kind = |name: &str| {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.name() == name.trim())
    };
    names
        .split(',')
        .map(|name| kind(name).expect("FAULT_KINDS names kinds as a run prints them"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_event_is_lost_or_applied_twice_whatever_breaks() {
    let _alone = crate::ALONE.lock().await;
    let (seed, at_least, began) = (seed(), at_least(), Instant::now());
    let mut random = StdRng::seed_from_u64(seed);
    let family = Family::new();
    let broker = family.start("faults").await;
    let mut system = System::start(Postgres::start().await, broker, 1).await;
    println!(
        "servers and programs are up after {:.1} s",
        began.elapsed().as_secs_f64()
    );

    let mut report = Report::default();
    let chosen = chosen();
    let mut alone: Vec<Kind> = chosen
        .iter()
        .copied()
        .filter(|kind| !at_least.is_zero() || !kind.is_slow())
        .collect();
    alone.shuffle(&mut random);
    loop {
        let kinds = match alone.pop() {
            Some(kind) => vec![kind],
            None if began.elapsed() < at_least => several(&chosen, &mut random),
            None => break,
        };
        let name = format!("{seed:x}_{}", report.rounds);
        let round = Instant::now();
        let (counts, findings) = one_round(&mut system, name, random.random(), &kinds).await;
        let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
        let Counts {
            accepted,
            repeated,
            refused,
        } = counts;
        println!(
            "{:>3}. {:<60} {accepted:>5} accepted {repeated:>5} repeated {refused:>5} refused {:>6.1} s",
            report.rounds + 1,
            names.join(" + "),
            round.elapsed().as_secs_f64()
        );
        for words in findings.words.iter().take(20) {
            println!("     {words}");
        }
        report.rounds += 1;
        report.counts.add(counts);
        kinds
            .iter()
            .for_each(|kind| *report.faults.entry(*kind).or_default() += 1);
        report.findings.add(findings);
    }
    println!("{report}");
    if let Some(path) = std::env::var_os("FAULT_SUMMARY") {
        std::fs::write(path, format!("{report}\n")).unwrap();
    }
    assert!(
        report.findings.words.is_empty(),
        "FAULT_SEED={seed} repeats this run"
    );
}

/// Two or three kinds that break different things.
fn several(kinds: &[Kind], random: &mut StdRng) -> Vec<Kind> {
    let mut kinds = kinds.to_vec();
    kinds.shuffle(random);
    let mut chosen: Vec<Kind> = Vec::new();
    let count = random.random_range(2..=3);
    for kind in kinds {
        if chosen.len() < count
            && chosen.iter().all(|other| {
                kind.breaks()
                    .iter()
                    .all(|part| !other.breaks().contains(part))
            })
        {
            chosen.push(kind);
        }
    }
    chosen
}

/// A flood, with these faults in the middle of it.
async fn one_round(
    system: &mut System<'_>,
    name: String,
    seed: u64,
    kinds: &[Kind],
) -> (Counts, Findings) {
    let since = now();
    let flood = Flood::start(name, seed, system.target.clone());
    flood.accepts(50).await;
    let mut broken = Vec::new();
    for kind in kinds {
        broken.push(kind.begin(system).await);
    }
    match &broken[..] {
        [alone] => alone.is_felt(system, &flood).await,
        several => {
            for fault in several {
                fault.may_be_felt(system, &flood).await;
            }
        }
    }
    for fault in broken {
        fault.end(system).await;
    }
    flood.accepts(50).await;
    let expected = flood.ends().await;
    let were_replayed = kinds.iter().any(|kind| kind.makes_unroutable());
    if were_replayed {
        system.replay().await;
    }
    let traces = Traces {
        store: system.store(),
        noted: system.noted(),
        since,
        were_replayed,
    };
    let mut findings = check(&traces, &expected).await;
    let of_feed = system.check_feed(&expected).await;
    findings.wrong_changes += of_feed.len();
    findings.words.extend(of_feed);
    system.queues_are_empty().await;
    (expected.counts, findings)
}
