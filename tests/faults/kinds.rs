//! The kinds of faults: how each one starts, and how it stops.

use std::time::{Duration, Instant};

use sqlx::{Connection, Executor, PgConnection};

use crate::flood::Flood;
use crate::support::app::until;
use crate::support::proxy::Proxy;
use crate::system::{Role, System};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    ReceiverKilled,
    WorkerKilled,
    BothKilled,
    BrokerStopped,
    BrokerKilled,
    DatabaseStopped,
    DatabaseKilled,
    /// The receiver's connection to the broker ends, and none can be made.
    ReceiverCutOff,
    WorkerCutOff,
    DatabaseCutOff,
    /// Bytes wait on connections that stay open.
    BrokerStalls,
    DatabaseStalls,
    /// Connections stay open, and their other end is gone.
    BrokerHalfOpen,
    DatabaseHalfOpen,
    /// The connection ends in the middle of what the broker sends to the receiver: its confirms.
    CutInConfirms,
    /// The database commits, and its answer does not arrive.
    CutAfterCommit,
    /// Another session holds a lock on the table for longer than a statement waits for one.
    TableLocked,
    /// The database's disk is full: first for its tables, then for its write-ahead log, which ends
    /// the server. Where the tests may not make a disk of their own (see `disk.rs`), only the error
    /// that it makes.
    DiskFull,
    /// A person pauses the applying of events, and resumes.
    Paused,
    /// The broker takes no publishes.
    MemoryAlarm,
    /// An operator closes every connection to the broker.
    ConnectionsClosed,
    /// An operator deletes the queue of events.
    QueueDeleted,
    /// An operator deletes the exchange that events are published to: the broker closes the
    /// channels that do.
    ExchangeDeleted,
}

impl Kind {
    pub const ALL: [Self; 23] = [
        Self::ReceiverKilled,
        Self::WorkerKilled,
        Self::BothKilled,
        Self::BrokerStopped,
        Self::BrokerKilled,
        Self::DatabaseStopped,
        Self::DatabaseKilled,
        Self::ReceiverCutOff,
        Self::WorkerCutOff,
        Self::DatabaseCutOff,
        Self::BrokerStalls,
        Self::DatabaseStalls,
        Self::BrokerHalfOpen,
        Self::DatabaseHalfOpen,
        Self::CutInConfirms,
        Self::CutAfterCommit,
        Self::TableLocked,
        Self::DiskFull,
        Self::Paused,
        Self::MemoryAlarm,
        Self::ConnectionsClosed,
        Self::QueueDeleted,
        Self::ExchangeDeleted,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::ReceiverKilled => "receiver killed",
            Self::WorkerKilled => "worker killed",
            Self::BothKilled => "receiver and worker killed",
            Self::BrokerStopped => "broker stopped",
            Self::BrokerKilled => "broker killed",
            Self::DatabaseStopped => "database stopped",
            Self::DatabaseKilled => "database killed",
            Self::ReceiverCutOff => "receiver cut off",
            Self::WorkerCutOff => "worker cut off from the broker",
            Self::DatabaseCutOff => "database cut off",
            Self::BrokerStalls => "broker stalls",
            Self::DatabaseStalls => "database stalls",
            Self::BrokerHalfOpen => "broker half open",
            Self::DatabaseHalfOpen => "database half open",
            Self::CutInConfirms => "cut in the middle of confirms",
            Self::CutAfterCommit => "cut between commit and answer",
            Self::TableLocked => "table locked",
            Self::DiskFull => "database's disk full",
            Self::Paused => "paused",
            Self::MemoryAlarm => "broker's memory alarm",
            Self::ConnectionsClosed => "connections closed by the broker",
            Self::QueueDeleted => "queue deleted",
            Self::ExchangeDeleted => "exchange deleted",
        }
    }

    /// Takes half a minute or more until a program notices: for long runs.
    pub fn is_slow(self) -> bool {
        // A question to the database has 35 s.
        self == Self::DatabaseHalfOpen
    }

    pub fn is_kill(self) -> bool {
        matches!(
            self,
            Self::ReceiverKilled
                | Self::WorkerKilled
                | Self::BothKilled
                | Self::BrokerKilled
                | Self::DatabaseKilled
        )
    }

    /// Whether events may become unroutable, and must be replayed.
    pub fn makes_unroutable(self) -> bool {
        matches!(self, Self::QueueDeleted | Self::ExchangeDeleted)
    }

    /// What it breaks; two that break the same thing don't go together.
    pub fn breaks(self) -> &'static [&'static str] {
        match self {
            Self::ReceiverKilled => &["receiver"],
            Self::WorkerKilled => &["worker"],
            Self::BothKilled => &["receiver", "worker"],
            Self::ReceiverCutOff
            | Self::CutInConfirms
            | Self::BrokerStalls
            | Self::BrokerHalfOpen => &["receiver's wire"],
            Self::BrokerStopped
            | Self::BrokerKilled
            | Self::MemoryAlarm
            | Self::ConnectionsClosed
            | Self::ExchangeDeleted => &["broker"],
            // It waits until the queue is empty and not filled: only by itself.
            Self::QueueDeleted => &[
                "broker",
                "receiver",
                "worker",
                "database",
                "receiver's wire",
                "worker's wire",
                "database's wire",
            ],
            // A worker that is away does not show that it obeys, nor does one without a database.
            Self::Paused => &["worker", "database", "database's wire"],
            Self::WorkerCutOff => &["worker's wire"],
            Self::DatabaseStopped | Self::DatabaseKilled | Self::TableLocked | Self::DiskFull => {
                &["database"]
            }
            Self::DatabaseCutOff
            | Self::DatabaseStalls
            | Self::DatabaseHalfOpen
            | Self::CutAfterCommit => &["database's wire"],
        }
    }

    pub async fn begin(self, system: &mut System<'_>) -> Broken {
        let mut lock = None;
        let waits_before = system.waits_for_database();
        match self {
            Self::ReceiverKilled => system.kill_role(Role::Receiver),
            Self::WorkerKilled => system.kill_role(Role::Worker),
            Self::BothKilled => {
                system.kill_role(Role::Receiver);
                system.kill_role(Role::Worker);
            }
            Self::BrokerStopped => system.broker.end("TERM"),
            Self::BrokerKilled => system.broker.end("KILL"),
            Self::DatabaseStopped => system.postgres.end("INT"),
            Self::DatabaseKilled => system.postgres.end("KILL"),
            Self::ReceiverCutOff => system.wires.receiver_to_broker.cut(),
            Self::WorkerCutOff => system.wires.worker_to_broker.cut(),
            Self::DatabaseCutOff => system.wires.worker_to_database.cut(),
            Self::BrokerStalls => {
                system.wires.receiver_to_broker.stall();
                system.wires.worker_to_broker.stall();
            }
            Self::DatabaseStalls => system.wires.worker_to_database.stall(),
            Self::BrokerHalfOpen => {
                system.wires.receiver_to_broker.go_dead();
                system.wires.worker_to_broker.go_dead();
            }
            Self::DatabaseHalfOpen => system.wires.worker_to_database.go_dead(),
            // See `is_felt`.
            Self::CutInConfirms | Self::CutAfterCommit => {}
            Self::ConnectionsClosed => {
                _ = system
                    .broker
                    .control(&["close_all_connections", "closed by a test"])
            }
            Self::TableLocked => {
                let mut connection = system.postgres.connect().await;
                connection
                    .execute("begin; lock table clerk.users in access exclusive mode")
                    .await
                    .unwrap();
                lock = Some(connection);
            }
            Self::DiskFull if system.postgres.has_disk() => system.postgres.fill_disk(),
            Self::DiskFull => _ = system.postgres.connect().await.execute(FULL).await.unwrap(),
            Self::Paused => _ = system.store().pause(None, "a test".into()).await.unwrap(),
            Self::QueueDeleted => system.delete_queue().await,
            Self::ExchangeDeleted => system.delete_exchange().await,
            Self::MemoryAlarm => {
                _ = system
                    .broker
                    .control(&["set_vm_memory_high_watermark", "0.0000001"])
            }
        }
        Broken {
            kind: self,
            lock,
            waits_before,
        }
    }
}

/// How long a worker may take to obey a pause, and to end the batches that are in flight.
const OBEYED_WITHIN: Duration = Duration::from_secs(2);

/// How many answers are cut, each on a connection that works.
const CUTS: usize = 4;

async fn cut_again_and_again(wire: &Proxy, mut works: impl AsyncFnMut()) {
    for _ in 0..CUTS {
        wire.cut_next_answers(1);
        until("an answer is cut", async || wire.cuts_left() == 0).await;
        works().await;
    }
}

/// SQLSTATE 53100, as on a disk without room.
const FULL: &str = "
    create or replace function public.refuse() returns trigger language plpgsql as $$
    begin
        raise exception 'full' using errcode = '53100';
    end $$;
    create trigger full_disk before insert on clerk.events for each statement execute function public.refuse()";

/// Something that is broken, and what it takes to fix it.
pub struct Broken {
    kind: Kind,
    lock: Option<PgConnection>,
    /// How often the worker had waited for the database before.
    waits_before: usize,
}

impl Broken {
    /// Waits, not for long, until the fault has been met: beside another one it may never be.
    pub async fn may_be_felt(&self, system: &System<'_>, flood: &Flood) {
        drop(tokio::time::timeout(Duration::from_secs(6), self.is_felt(system, flood)).await);
    }

    /// Waits until the fault has been met.
    pub async fn is_felt(&self, system: &System<'_>, flood: &Flood) {
        match self.kind {
            // These let nothing be accepted.
            Kind::ReceiverKilled
            | Kind::BothKilled
            | Kind::BrokerStopped
            | Kind::BrokerKilled
            | Kind::ReceiverCutOff
            | Kind::MemoryAlarm => {
                flood.is_refused(20).await;
            }
            // Nothing is answered at first: the confirms have 8 s.
            Kind::BrokerStalls | Kind::BrokerHalfOpen => flood.is_refused(1).await,
            Kind::CutInConfirms => {
                let wire = &system.wires.receiver_to_broker;
                cut_again_and_again(wire, async || flood.is_answered(30).await).await;
            }
            Kind::CutAfterCommit => {
                let wire = &system.wires.worker_to_database;
                cut_again_and_again(wire, async || flood.accepts(30).await).await;
            }
            // The worker has tried in vain: with a lock after 5 s.
            Kind::DatabaseStopped
            | Kind::DatabaseKilled
            | Kind::DatabaseCutOff
            | Kind::TableLocked
            | Kind::DiskFull => {
                until("the worker waits", async || {
                    system.waits_for_database() > self.waits_before
                })
                .await;
                if self.kind == Kind::DiskFull {
                    system.postgres.fill_log().await;
                }
            }
            // Receivers go on, and nothing is applied.
            Kind::Paused => {
                let since = Instant::now();
                until("the worker obeys", async || since.elapsed() > OBEYED_WITHIN).await;
                let applied = system.store().totals().await.unwrap().events;
                flood.accepts(200).await;
                assert_eq!(system.store().totals().await.unwrap().events, applied);
            }
            Kind::ExchangeDeleted => flood.is_refused(1).await,
            Kind::QueueDeleted => system.queue_is_bound().await,
            _ => flood.is_answered(200).await,
        }
    }

    pub async fn end(self, system: &mut System<'_>) {
        match self.kind {
            Kind::ReceiverKilled => system.start_role(Role::Receiver),
            Kind::WorkerKilled => system.start_role(Role::Worker),
            Kind::BothKilled => {
                system.start_role(Role::Receiver);
                system.start_role(Role::Worker);
            }
            Kind::BrokerStopped | Kind::BrokerKilled => system.broker.start_again().await,
            Kind::DatabaseStopped | Kind::DatabaseKilled => system.postgres.start_again().await,
            Kind::ReceiverCutOff => system.wires.receiver_to_broker.restore(),
            Kind::WorkerCutOff => system.wires.worker_to_broker.restore(),
            Kind::DatabaseCutOff | Kind::DatabaseStalls => {
                system.wires.worker_to_database.restore()
            }
            Kind::BrokerStalls => {
                system.wires.receiver_to_broker.restore();
                system.wires.worker_to_broker.restore();
            }
            Kind::TableLocked => self.lock.expect("it holds the lock").close().await.unwrap(),
            Kind::Paused => _ = system.store().resume().await.unwrap(),
            Kind::DiskFull if system.postgres.has_disk() => system.postgres.make_room().await,
            Kind::DiskFull => {
                system
                    .postgres
                    .connect()
                    .await
                    .execute("drop trigger full_disk on clerk.events")
                    .await
                    .unwrap();
            }
            Kind::MemoryAlarm => {
                _ = system
                    .broker
                    .control(&["set_vm_memory_high_watermark", "0.4"])
            }
            Kind::QueueDeleted | Kind::ExchangeDeleted => system.queue_is_bound().await,
            Kind::CutInConfirms => system.wires.receiver_to_broker.cut_next_answers(0),
            Kind::CutAfterCommit => system.wires.worker_to_database.cut_next_answers(0),
            // New connections work.
            Kind::BrokerHalfOpen | Kind::DatabaseHalfOpen | Kind::ConnectionsClosed => {}
        }
    }
}
