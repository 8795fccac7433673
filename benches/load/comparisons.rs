//! What is shown side by side: by `scripts/bench` after a run, and in docs/performance.md.

/// Two sides of one round.
pub struct Comparison {
    /// The name of its block in docs/performance.md.
    pub name: &'static str,
    pub one: &'static str,
    pub other: &'static str,
    /// What, with the figure of each side.
    pub rows: &'static [(&'static str, &'static str, &'static str)],
}

pub const COMPARISONS: &[Comparison] = &[
    Comparison {
        name: "plain",
        one: "clerk-sync",
        other: "plain way",
        rows: &[
            ("accepted per second", "accept.rate", "plain.accept.rate"),
            (
                "committed per second, sustained",
                "sustained.rate",
                "plain.sustained.rate",
            ),
            (
                "a backlog, committed per second",
                "drain.rate",
                "plain.drain.rate",
            ),
            (
                "own processor time per event, accepted, µs",
                "accept.processor_us",
                "plain.accept.processor_us",
            ),
            (
                "… sustained, µs",
                "sustained.processor_us",
                "plain.sustained.processor_us",
            ),
            (
                "… a backlog, µs",
                "drain.processor_us",
                "plain.drain.processor_us",
            ),
            (
                "due to committed at 200 per second, p50 ms",
                "latency.200.commit_p50_ms",
                "plain.latency.200.commit_p50_ms",
            ),
            (
                "… p99 ms",
                "latency.200.commit_p99_ms",
                "plain.latency.200.commit_p99_ms",
            ),
            (
                "due to committed at 1,000 per second, p50 ms",
                "latency.1000.commit_p50_ms",
                "plain.latency.1000.commit_p50_ms",
            ),
            (
                "… p99 ms",
                "latency.1000.commit_p99_ms",
                "plain.latency.1000.commit_p99_ms",
            ),
            (
                "answer at 1,000 per second, p50 ms",
                "latency.1000.answer_p50_ms",
                "plain.latency.1000.answer_p50_ms",
            ),
            (
                "… p99 ms",
                "latency.1000.answer_p99_ms",
                "plain.latency.1000.answer_p99_ms",
            ),
        ],
    },
    Comparison {
        name: "tls",
        one: "with TLS",
        other: "without",
        rows: &[
            (
                "accepted per second",
                "tls.accept.rate",
                "clear.accept.rate",
            ),
            (
                "committed per second, sustained",
                "tls.sustained.rate",
                "clear.sustained.rate",
            ),
            (
                "a backlog, committed per second",
                "tls.drain.rate",
                "clear.drain.rate",
            ),
            (
                "due to committed at 200 per second, p50 ms",
                "tls.latency.200.commit_p50_ms",
                "clear.latency.200.commit_p50_ms",
            ),
            (
                "… p99 ms",
                "tls.latency.200.commit_p99_ms",
                "clear.latency.200.commit_p99_ms",
            ),
            (
                "due to committed at 1,000 per second, p50 ms",
                "tls.latency.1000.commit_p50_ms",
                "clear.latency.1000.commit_p50_ms",
            ),
            (
                "… p99 ms",
                "tls.latency.1000.commit_p99_ms",
                "clear.latency.1000.commit_p99_ms",
            ),
            (
                "own processor time per event, sustained, µs",
                "tls.sustained.processor_us",
                "clear.sustained.processor_us",
            ),
            (
                "RabbitMQ's, sustained, µs",
                "tls.sustained.broker_us",
                "clear.sustained.broker_us",
            ),
            (
                "PostgreSQL's, sustained, µs",
                "tls.sustained.postgresql_us",
                "clear.sustained.postgresql_us",
            ),
        ],
    },
    Comparison {
        name: "feed",
        one: "with the change feed",
        other: "without",
        rows: &[
            (
                "committed per second, sustained",
                "feed.on.rate",
                "feed.off.rate",
            ),
            (
                "… and a quorum queue bound to its exchange",
                "feed.bound.rate",
                "feed.off.rate",
            ),
            (
                "a backlog, committed per second",
                "feed.on.drain.rate",
                "feed.off.drain.rate",
            ),
        ],
    },
];

/// What, then processor time per event in µs: of clerk-sync, of RabbitMQ and of PostgreSQL.
pub const PROCESSOR_TIME: &[(&str, [&str; 3])] = &[
    ("accepted", ["accept.processor_us", "accept.broker_us", ""]),
    (
        "committed, sustained",
        [
            "sustained.processor_us",
            "sustained.broker_us",
            "sustained.postgresql_us",
        ],
    ),
    (
        "a backlog",
        [
            "drain.processor_us",
            "drain.broker_us",
            "drain.postgresql_us",
        ],
    ),
    (
        "at 200 per second",
        [
            "latency.200.processor_us",
            "latency.200.broker_us",
            "latency.200.postgresql_us",
        ],
    ),
    (
        "at 1,000 per second",
        [
            "latency.1000.processor_us",
            "latency.1000.broker_us",
            "latency.1000.postgresql_us",
        ],
    ),
];

/// RabbitMQ as it was set, with the beginning of the names of its figures.
pub const SETTINGS: &[(&str, &str)] = &[
    ("as it comes", "settings.usual"),
    ("the management plugin", "settings.management"),
    (
        "… and `management_agent.disable_metrics_collector = true`",
        "settings.no_collector",
    ),
    (
        "`quorum_commands_soft_limit` 256",
        "settings.soft_limit_256",
    ),
    ("`raft.wal_max_size_bytes` 64 MiB", "settings.log_64_mib"),
    ("slow disk, as it comes", "settings.slow"),
    (
        "slow disk, `quorum_commands_soft_limit` 256",
        "settings.slow_soft_limit_256",
    ),
    (
        "slow disk, `raft.wal_max_size_bytes` 64 MiB",
        "settings.slow_log_64_mib",
    ),
];

/// What each of them is seen by, with the end of the name of its figure.
pub const SETTINGS_FIGURES: &[(&str, &str)] = &[
    ("bare publish per second", "publish"),
    ("accepted per second", "accept.rate"),
    ("µs per event", "accept.broker_us"),
    ("accepted, 256 connections", "accept_256.rate"),
    ("committed, sustained", "sustained.rate"),
    ("µs per event", "sustained.broker_us"),
    (
        "answer at 1,000 per second, p50 ms",
        "latency.1000.answer_p50_ms",
    ),
    ("memory, MB", "broker_memory_mb"),
];
