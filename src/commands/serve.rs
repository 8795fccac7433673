//! `serve`, `receiver` and `worker`: start the role, follow the signals, stop in order.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::bail;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::secrets::Secrets;
use super::server::{Role, Service};
use super::startup;
use crate::config::{Config, Flags};
use crate::queue;
use crate::tasks;

pub async fn run(flags: Flags, config: Config, role: Role) -> anyhow::Result<ExitCode> {
    if role != Role::Both && matches!(config.queue, queue::Options::Embedded(_)) {
        bail!(
            "AMQP_URL is not set, and the embedded queue serves one process alone; set AMQP_URL, or run `clerk-sync serve`, which receives and works in one process"
        );
    }
    let secrets = Secrets::of(&config, role != Role::Worker)?;
    let mut signals = Signals::listen()?;
    let service = Service::start(&config, role, &secrets).await?;
    startup::of_service(&service, &config, role);
    let note = startup::note_database(&service, &config, role);
    let ended = signals.until_the_end(&flags, &secrets).await;
    drop(note);
    service.stop().await;
    ended?;
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// The signals a process is steered with.
pub struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
    /// Whether SIGHUP stops the process, too.
    stop_on_hang_up: bool,
}

impl Signals {
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            stop_on_hang_up: false,
        })
    }

    /// The same signals, but if the process has a terminal, SIGHUP stops it: the terminal was
    /// closed.
    pub fn of_terminal(self) -> Self {
        let stop_on_hang_up = std::io::stdin().is_terminal() || std::io::stderr().is_terminal();
        Self {
            stop_on_hang_up,
            ..self
        }
    }

    /// Follows the signals until the process is to stop.
    ///
    /// # Errors
    ///
    /// If it is to stop because a required task died.
    pub async fn until_the_end(&mut self, flags: &Flags, secrets: &Secrets) -> anyhow::Result<()> {
        tokio::select! {
            () = self.follow(flags, secrets) => Ok(()),
            task = tasks::death() => bail!("stopped, because a task died: {task}; the log says why. Start it again, and report it"),
        }
    }

    /// Reads the secrets again on SIGHUP; returns on SIGTERM or SIGINT, and on a SIGHUP that stops.
    /// A second one of these ends the process at once.
    async fn follow(&mut self, flags: &Flags, secrets: &Secrets) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                _ = self.hang_up.recv() => if self.stop_on_hang_up { break } else { secrets.read_again(flags) },
            }
        }
        info!("stopping: finishing what is in flight");
        tasks::brief(async {
            let Ok(mut again) = Self::listen() else {
                return;
            };
            tokio::select! {
                _ = again.terminate.recv() => {}
                _ = again.interrupt.recv() => {}
            }
            warn!("stopped at once; events that were not acknowledged are delivered again");
            std::process::exit(1);
        });
    }
}
