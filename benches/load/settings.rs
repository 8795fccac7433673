//! Settings of RabbitMQ, each on a node of its own, turn and turn about: what docs/operations.md
//! says of them. Measured only when it is asked for, since it takes its time and says nothing of
//! clerk-sync.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::bench::{Bench, CONNECTIONS};
use crate::limits;
use crate::own;
use crate::own_broker::{OwnBroker, Settings, free_port};
use crate::program::UsageWatch;

/// More deliveries under way than RabbitMQ's limit for a channel has room for.
const MANY_CONNECTIONS: usize = 256;

/// How much longer a sync takes on the slow disk.
const SLOW_SYNC_US: u32 = 10_000;

/// Events a second at which the latency is looked at.
const RATE: u32 = 1000;

/// How a node differs from one as it comes, without plugins.
#[derive(Clone, Copy)]
struct Variant {
    name: &'static str,
    has_management: bool,
    configuration: &'static str,
    advanced: &'static str,
    is_slow: bool,
}

const USUAL: Variant = Variant {
    name: "settings.usual",
    has_management: false,
    configuration: "",
    advanced: "",
    is_slow: false,
};

/// The limit of commands in flight from a channel to a queue, 32 unless it is set.
const SOFT_LIMIT: &str = "[{rabbit, [{quorum_commands_soft_limit, 256}]}].";

/// A log of 64 MiB, instead of 512, before it is written into segments.
const SMALL_LOG: &str = "raft.wal_max_size_bytes = 67108864\n";

const VARIANTS: &[Variant] = &[
    USUAL,
    Variant {
        name: "settings.management",
        has_management: true,
        ..USUAL
    },
    Variant {
        name: "settings.no_collector",
        has_management: true,
        configuration: "management_agent.disable_metrics_collector = true\n",
        ..USUAL
    },
    Variant {
        name: "settings.soft_limit_256",
        advanced: SOFT_LIMIT,
        ..USUAL
    },
    Variant {
        name: "settings.log_64_mib",
        configuration: SMALL_LOG,
        ..USUAL
    },
    Variant {
        name: "settings.slow",
        is_slow: true,
        ..USUAL
    },
    Variant {
        name: "settings.slow_soft_limit_256",
        advanced: SOFT_LIMIT,
        is_slow: true,
        ..USUAL
    },
    Variant {
        name: "settings.slow_log_64_mib",
        configuration: SMALL_LOG,
        is_slow: true,
        ..USUAL
    },
];

pub async fn settings(bench: &mut Bench) -> anyhow::Result<()> {
    let directory = bench.place.directory.join("settings");
    std::fs::create_dir_all(&directory)?;
    let slow_sync = compile(&directory)?;
    for variant in bench.in_turn(VARIANTS.to_vec()) {
        eprintln!("  {}", variant.name);
        let settings = variant.settings(&slow_sync)?;
        let broker = OwnBroker::start(directory.join("node"), &settings).await?;
        let before = bench.go_to(bench.place.at(&broker)).await?;
        bench.database.forget_queue().await?;
        let usage = UsageWatch::over(broker.process());
        measure(bench, &variant).await?;
        let memory = usage.samples().memory_peak();
        bench
            .figures
            .add(format!("{}.broker_memory_mb", variant.name), memory);
        bench.go_back(before).await;
    }
    bench.database.forget_queue().await
}

impl Variant {
    fn settings(&self, slow_sync: &Path) -> anyhow::Result<Settings> {
        let mut settings = Settings {
            configuration: self.configuration.to_owned(),
            advanced: self.advanced.to_owned(),
            ..Settings::default()
        };
        if self.has_management {
            let port = free_port()?;
            settings.plugins = "rabbitmq_management";
            settings.configuration +=
                &format!("management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {port}\n");
        }
        if self.is_slow {
            settings.environment = vec![
                ("LD_PRELOAD", slow_sync.display().to_string()),
                ("SLOW_SYNC_US", SLOW_SYNC_US.to_string()),
            ];
        }
        Ok(settings)
    }
}

/// What makes syncs slow.
fn compile(directory: &Path) -> anyhow::Result<PathBuf> {
    let library = directory.join("slow_sync.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/load/slow_sync.c");
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status()
        .context("there is no C compiler, cc")?;
    ensure!(made.success(), "cc: {made}");
    Ok(library)
}

async fn measure(bench: &mut Bench, variant: &Variant) -> anyhow::Result<()> {
    let name = |part: &str| format!("{}.{part}", variant.name);
    limits::publish(bench, &name("publish"), 1).await?;
    for (part, connections) in [("accept", CONNECTIONS), ("accept_256", MANY_CONNECTIONS)] {
        let program = bench.place.start("receiver", Some(&bench.database)).await?;
        own::accept_over(bench, &name(part), program, connections).await?;
        bench.purge("events").await?;
    }
    bench.database.settle().await?;
    let program = bench.place.start("serve", Some(&bench.database)).await?;
    own::latency_of(bench, &name("latency"), RATE, program).await?;
    if !variant.is_slow {
        bench.database.settle().await?;
        let program = bench.place.start("serve", Some(&bench.database)).await?;
        own::rate_of(bench, &name("sustained"), &program).await?;
        program.stop().await?;
    }
    Ok(())
}
