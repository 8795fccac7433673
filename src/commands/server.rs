//! A running receiver, worker or both: how it starts, and the one order in which it stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use anyhow::Context;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::secrets::Secrets;
use crate::backoff::Backoff;
use crate::clock::now;
use crate::config::Config;
use crate::http::{self, Admin, LoginLinks, RejectLog, ServiceStatus, Webhooks};
use crate::queue::embedded::DirectoryLock;
use crate::queue::{self, Identity, Queue};
use crate::replay::worker_queues;
use crate::shutdown::Shutdown;
use crate::store::{self, Store, StoreError};
use crate::tasks;
use crate::telemetry::traces::Traces;
use crate::worker;

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Both,
    Receiver,
    Worker,
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
            Role::Both | Role::Receiver => info!(%address, path = http::WEBHOOK_PATH, "receiving"),
        }
        let worker = is_worker.then(|| {
            let work = work(
                queue.clone(),
                identity,
                store.clone(),
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
    queue: Queue,
    identity: Option<Identity>,
    store: Store,
    options: worker::Options,
    role: Role,
    status: worker::Status,
    stop: Shutdown,
) {
    if role == Role::Both && !migrated(&store, &status, &stop).await {
        return;
    }
    let apply = worker::run(queue, store.clone(), options, status, stop.clone());
    tokio::join!(apply, record_queue(identity, &store, &stop));
}

/// Records at intervals which queue this worker consumes, so that `events replay` can recognize
/// another one. Nothing waits for it.
async fn record_queue(queue: Option<Identity>, store: &Store, stop: &Shutdown) {
    let Some(queue) = queue else { return };
    let (mut repair, mut upkeep) = (Backoff::for_repair(), Backoff::for_upkeep());
    let (mut is_logged, mut others) = (false, Vec::new());
    // The worker itself logs an outage, and an old schema.
    let is_current = async || {
        store
            .schema_version()
            .await
            .is_ok_and(|version| version.check().is_ok())
    };
    while let Some(recorded) = stop.or(worker_queues::record(store, &queue)).await {
        let backoff = match recorded {
            Ok(found) => {
                for other in found.iter().filter(|other| !others.contains(*other)) {
                    warn!(
                        %queue,
                        %other,
                        "a worker of this database has recorded another queue than this one; `events replay` takes either for some minutes, then the queues of the workers that still run. If both are not meant to run, stop one, or give it another DATABASE_URL"
                    );
                }
                others = found;
                repair.reset();
                &mut upkeep
            }
            Err(error) => {
                if !is_logged && matches!(error, StoreError::Incompatible(_)) && is_current().await
                {
                    warn!(%error, "the worker's queue could not be recorded, so `events replay` cannot compare it");
                    is_logged = true;
                }
                &mut repair
            }
        };
        if stop.or(backoff.wait()).await.is_none() {
            return;
        }
    }
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
