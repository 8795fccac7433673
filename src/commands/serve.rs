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
    let ended = signals.until_the_end(&flags, &secrets).await;
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

    /// The same for a process that goes with its terminal, if it has one: SIGHUP says that the terminal was closed.
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

    /// Reads the secrets again on SIGHUP; returns on SIGTERM or SIGINT, and on a SIGHUP that stops. A second one of these ends the process at
    /// once.
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::commands::Cli;
    use crate::shutdown::Shutdown;

    /// Says that the test below started this one.
    const DIES: &str = "CLERK_SYNC_TEST_DIES";

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_in_which_a_vital_task_dies() {
        if std::env::var_os(DIES).is_none() {
            return;
        }
        // Not before the log is there to tell of it.
        let dies = async {
            while !tracing::dispatcher::has_been_set() {
                tokio::task::yield_now().await;
            }
            panic!("ada@example.com")
        };
        _ = tasks::vital("made by a test", &Shutdown::default(), dies);
        let status = crate::commands::run(Cli::parse_from(["clerk-sync", "serve"])).await;
        assert_eq!(format!("{status:?}"), format!("{:?}", ExitCode::FAILURE));
    }

    /// In a process of its own: a process dies once.
    #[test]
    fn a_server_in_which_a_vital_task_dies_stops_in_order_with_status_1() {
        let directory =
            std::env::temp_dir().join(format!("clerk-sync-serve-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let mut program = std::process::Command::new(std::env::current_exe().unwrap());
        program.args([
            "--exact",
            "commands::serve::tests::a_server_in_which_a_vital_task_dies",
            "--nocapture",
        ]);
        program
            .env_clear()
            .env(DIES, "1")
            .env("PORT", "0")
            .env("LOG_FORMAT", "json")
            .current_dir(&directory);
        program.env(
            "CLERK_WEBHOOK_SIGNING_SECRET",
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        );
        let output = program.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "the server ends by itself, with status 1: {told}"
        );
        for part in [
            r#""task":"made by a test""#,
            "src/commands/serve.rs:",
            "because a task died: made by a test",
        ] {
            assert!(told.contains(part), "{part} is missing in {told}");
        }
        assert!(!told.contains("ada@"), "{told}");
        std::fs::remove_dir_all(directory).unwrap();
    }
}
