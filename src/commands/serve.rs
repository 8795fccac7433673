//! `serve`, `receiver` and `worker`: start the role, follow the signals, stop in order.

use std::process::ExitCode;

use anyhow::bail;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::secrets::Secrets;
use super::service::{Role, Service};
use super::startup;
use crate::config::{Config, Settings};
use crate::queue;

pub async fn run(settings: Settings, config: Config, role: Role) -> anyhow::Result<ExitCode> {
    if role != Role::Both && matches!(config.queue, queue::Options::Embedded(_)) {
        bail!(
            "AMQP_URL is not set, and the embedded queue serves one process alone; set AMQP_URL, or run `clerk-sync serve`, which receives and works in one process"
        );
    }
    let secrets = Secrets::of(&config, role != Role::Worker)?;
    let mut signals = Signals::listen()?;
    let service = Service::start(&config, role, &secrets).await?;
    startup::of_service(&service, &config, role);
    signals.follow(&settings, &secrets).await;
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

    /// Reads the secrets again on SIGHUP; returns on SIGTERM or SIGINT. A second one of these ends the process at
    /// once.
    pub async fn follow(&mut self, settings: &Settings, secrets: &Secrets) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                _ = self.hang_up.recv() => secrets.read_again(settings),
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
