//! A running receiver, worker or both: how it starts, and the one order in which it stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use anyhow::Context;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::heartbeat::{self, Heartbeat};
use super::secrets::Secrets;
use crate::backoff::Backoff;
use crate::clock::now;
use crate::config::Config;
use crate::http::{self, Admin, LoginLinks, RejectLog, ServiceStatus, Webhooks};
use crate::queue::embedded::DirectoryLock;
use crate::queue::{self, Queue};
use crate::refresh::{self, Refresher};
use crate::shutdown::Shutdown;
use crate::store::{self, RECEIVER, Store, StoreError};
use crate::tasks;
use crate::telemetry::traces::Traces;
use crate::worker;

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Both,
    /// As `Both`, for `dev`.
    Dev,
    Receiver,
    Worker,
}

impl Role {
    /// The command that starts it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Both => "serve",
            Self::Dev => "dev",
            Self::Receiver => RECEIVER,
            Self::Worker => "worker",
        }
    }
}

/// Longest time for the worker to finish its batches. With the 12 s of HTTP and the 3 s of the
/// queue a stop stays below the 25 s that an orchestrator is asked to give.
const WORKER_GRACE: Duration = Duration::from_secs(9);

const CLOSE_GRACE: Duration = Duration::from_secs(3);

/// The parts of a running process.
pub struct Service {
    pub address: SocketAddr,
    pub store: Store,
    queue: Queue,
    http: JoinHandle<Option<std::io::Result<()>>>,
    http_handle: ServerHandle,
    worker: Option<JoinHandle<Option<()>>>,
    /// Requested first: not ready any more.
    stopping: Shutdown,
    /// Requested when no more requests come.
    stop_worker: Shutdown,
    /// `None` if no traces are exported.
    traces: Option<Traces>,
    /// Held while the embedded files are in use.
    _lock: Option<DirectoryLock>,
}

impl Service {
    /// Starts the role. It waits in the background for servers that are unavailable.
    pub async fn start(config: &Config, role: Role, secrets: &Secrets) -> anyhow::Result<Self> {
        let is_receiver = role != Role::Worker;
        let is_worker = role != Role::Receiver;
        // Before the port: a second start in one directory needs no other port.
        let lock = if has_files(config, is_worker) {
            Some(DirectoryLock::take(&config.data_dir)?)
        } else {
            None
        };
        let listener = http::listen(&config.http).with_context(|| {
            let http::Options { host, port, .. } = &config.http;
            format!("cannot listen on {host}:{port} (choose another address with HOST and PORT)")
        })?;
        let address = listener.local_addr()?;
        let traces = config
            .telemetry
            .traces
            .as_ref()
            .map(Traces::start)
            .transpose()
            .context("traces cannot be exported")?;
        let queue = Queue::open(&config.queue).await?;
        if is_receiver {
            queue.expect_bodies(config.http.max_body_bytes);
        }
        let identity = queue::identity(&config.queue).await?;
        let process = heartbeat::this_process(role.name());
        if role == Role::Receiver {
            queue.mark_messages(&heartbeat::mark(&process));
        }
        let store = Store::open(&config.store)?;
        if is_worker {
            store.check().await?;
        }

        let (stopping, stop_worker) = (Shutdown::default(), Shutdown::default());
        let reject_log = Arc::<RejectLog>::default();
        let status = worker::Status::default();
        let of_worker = is_worker.then(|| (store.clone(), status.subscribe()));
        let service_status = ServiceStatus::new(queue.clone(), of_worker, stopping.clone());
        let webhooks = is_receiver.then(|| Webhooks {
            verifier: secrets.verifier.subscribe(),
            queue: queue.clone(),
            synced: config.synced.clone(),
            max_body_bytes: config.http.max_body_bytes,
            reject_log: Arc::clone(&reject_log),
            deliveries: Arc::clone(service_status.deliveries()),
        });
        let admin = is_worker.then(|| Admin {
            store: store.clone(),
            queue: queue.clone(),
            token: secrets.admin_token.subscribe(),
            read_token: secrets.read_token.subscribe(),
            read_private: config.read_private,
            refresher: Refresher::new(refresh::Parts {
                store: store.clone(),
                clerk_api: secrets.clerk_api.subscribe(),
                synced: config.synced.clone(),
                process_id: process.process_id.clone(),
            }),
            login_links: Arc::new(LoginLinks::since(now())),
            reject_log: Arc::clone(&reject_log),
            replay_runs: http::ReplayRuns::default(),
            status: service_status.clone(),
        });
        let parts = http::Parts {
            webhooks,
            admin,
            status: service_status,
            reject_log,
        };
        let (server, http_handle) = http::serve(listener, &config.http, parts)?;
        match role {
            Role::Worker => info!(%address, "working; health is at /readyz"),
            _ => info!(%address, path = http::WEBHOOK_PATH, "receiving"),
        }
        let worker = is_worker.then(|| {
            let work = work(
                Heartbeat {
                    process,
                    queue: queue.clone(),
                    identity,
                    store: store.clone(),
                },
                config.worker.clone(),
                role,
                status,
                stop_worker.clone(),
            );
            tasks::vital("worker", &stop_worker, work)
        });
        Ok(Self {
            address,
            store,
            queue,
            http: tasks::vital("HTTP server", &stopping, server),
            http_handle,
            worker,
            stopping,
            stop_worker,
            traces,
            _lock: lock,
        })
    }

    /// Stops accepting, finishes the answers in flight, stops consuming, finishes the batches,
    /// closes.
    pub async fn stop(self) {
        self.stopping.request();
        self.http_handle.stop(true).await;
        let served = self.http.await;
        if let Ok(Some(Err(error))) = served {
            error!(%error, "HTTP ended with an error");
        }
        self.stop_worker.request();
        if let Some(worker) = self.worker
            && tokio::time::timeout(WORKER_GRACE, worker).await.is_err()
        {
            warn!("a batch could not be finished in time; its events are delivered again");
        }
        let close = async {
            self.queue.close().await;
            self.store.close().await;
        };
        // No more spans start. They are sent while the connections close.
        let send_traces = async {
            if let Some(traces) = self.traces {
                traces.end().await;
            }
        };
        let (closed, ()) = tokio::join!(tokio::time::timeout(CLOSE_GRACE, close), send_traces);
        if closed.is_err() {
            info!("connections were cut, not closed; nothing is lost");
        }
    }
}

/// Whether the process works in `DATA_DIR`. A receiver opens no database.
fn has_files(config: &Config, is_worker: bool) -> bool {
    matches!(config.queue, queue::Options::Embedded(_))
        || is_worker && matches!(config.store, store::Options::Sqlite(_))
}

/// Migrates if the role does so, then applies events until `stop`.
async fn work(
    heartbeat: Heartbeat,
    options: worker::Options,
    role: Role,
    status: worker::Status,
    stop: Shutdown,
) {
    let (queue, store) = (heartbeat.queue.clone(), heartbeat.store.clone());
    if role != Role::Worker && !migrated(&store, &status, &stop).await {
        return;
    }
    let process_id = &heartbeat.process.process_id;
    let apply = worker::run(queue, store, options, process_id, status, stop.clone());
    tokio::join!(apply, heartbeat.run(&stop));
}

/// Migrates, as soon as the database answers. Returns false if the process stops first.
async fn migrated(store: &Store, status: &worker::Status, stop: &Shutdown) -> bool {
    let (mut outage, mut repair) = (Backoff::for_outage(), Backoff::for_repair());
    let mut logged = None;
    status.waits("the schema is being brought up to date, by this process or by another one that it waits for (the log names it)");
    while let Err(error) = store.migrate().await {
        let text = error.to_string();
        status.waits(format!(
            "the schema could not be brought up to date: {text}"
        ));
        if logged.as_ref() != Some(&text) {
            error!(
                error = text,
                "the schema could not be brought up to date; events wait in the queue. `clerk-sync check` names the fix"
            );
            logged = Some(text);
        }
        let backoff = if matches!(error, StoreError::Incompatible(_)) {
            &mut repair
        } else {
            &mut outage
        };
        if stop.or(backoff.wait()).await.is_none() {
            return false;
        }
    }
    true
}
