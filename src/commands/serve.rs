//! `serve`, `receiver` and `worker`: start the role, follow the signals, stop in order.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::service::{Role, Service};
use crate::clerk::Verifier;
use crate::config::{self, Config, Environment, Settings};
use crate::queue;

pub async fn run(settings: Settings, config: Config, role: Role) -> anyhow::Result<ExitCode> {
    if role != Role::Both && matches!(config.queue, queue::Options::Embedded(_)) {
        bail!(
            "AMQP_URL is not set, and the embedded queue serves one process alone; set AMQP_URL, or run `clerk-sync serve`, which receives and works in one process"
        );
    }
    let verifier =
        if role == Role::Worker { Verifier::new(Vec::new()) } else { config::verifier(&config.signing_secrets)? };
    let (new_verifier, verifier) = watch::channel(Arc::new(verifier));
    let mut signals = Signals::listen()?;
    let service = Service::start(&config, role, verifier).await?;
    signals.follow(&settings, &new_verifier).await;
    service.stop().await;
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// The signals a process is steered with.
pub struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Reads the signing secrets again on SIGHUP; returns on SIGTERM or SIGINT. A second one of these ends the process at
    /// once.
    pub async fn follow(&mut self, settings: &Settings, verifier: &watch::Sender<Arc<Verifier>>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                _ = self.hang_up.recv() => read_secrets_again(settings, verifier),
            }
        }
        info!("stopping: finishing what is in flight");
        tokio::spawn(async {
            let Ok(mut again) = Self::listen() else { return };
            tokio::select! {
                _ = again.terminate.recv() => {}
                _ = again.interrupt.recv() => {}
            }
            warn!("stopped at once; events that were not acknowledged are delivered again");
            std::process::exit(1);
        });
    }
}

/// A secret that cannot be read leaves the ones before in force.
fn read_secrets_again(settings: &Settings, verifier: &watch::Sender<Arc<Verifier>>) {
    let read = Environment::read().and_then(|environment| config::signing_secrets(settings, &environment));
    match read.and_then(|secrets| config::verifier(&secrets).map(|verifier| (verifier, secrets.len()))) {
        Ok((new, secrets)) => {
            verifier.send_replace(Arc::new(new));
            info!(secrets, "the signing secrets were read again");
        }
        Err(error) => error!(%error, "the signing secrets could not be read again; those before stay in force"),
    }
}
