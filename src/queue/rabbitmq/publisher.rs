//! Publishes with confirms, several at once, and releases an answer only when it is certain.
//!
//! lapin 4 has two traps, both seen in tests against a broker. When several tasks publish on one channel it reports false
//! acknowledgements: so one task owns a channel, and everybody else hands it events. And a returned message can be pinned
//! on the confirm of another one: so the answers of a batch are released when all its confirms are in, and returned
//! messages are known by their ID.
//!
//! What each state of the connection means for an event in flight is in `link.rs`.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tracing::warn;

use super::link::{Epoch, Link};
use super::topology::Names;
use super::wire;
use crate::clerk::SignedEvent;
use crate::queue::PublishError;

/// Channels, each with a task: four reach what one connection can do.
const CHANNELS: usize = 4;

/// Most events in flight on a channel. More do not make it faster, and all wait for the last confirm.
const BATCH_MAX: usize = 64;

/// Most events that wait for a channel: about a tenth of a second's work.
const WAITING_MAX: usize = 2048;

/// How long the confirms of a batch may take, below the 10 s of a publish, so that its senders hear of it.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(8);

/// Most bytes of bodies that wait or are in flight: 64 MiB.
const BYTES_MAX: u32 = 64 * 1024 * 1024;

/// Who asked for an event, and the event's share of the room for bodies.
struct Answer {
    asked: oneshot::Sender<Result<(), PublishError>>,
    _room: OwnedSemaphorePermit,
}

impl Answer {
    fn give(self, result: Result<(), PublishError>) {
        // Whoever asked may be gone.
        let _gone = self.asked.send(result);
    }
}

type Handed = (SignedEvent, Answer);

/// Hands events to the tasks that publish.
#[derive(Clone)]
pub struct Publisher {
    hand_over: mpsc::Sender<Handed>,
    /// Room in memory for bodies, in bytes.
    room: Arc<Semaphore>,
}

impl Publisher {
    pub fn start(link: &Link, names: &Arc<Names>) -> Self {
        let (hand_over, handed) = mpsc::channel(WAITING_MAX);
        let handed = Arc::new(Mutex::new(handed));
        for _ in 0..CHANNELS {
            let task = Task { link: link.clone(), exchange: names.events.clone(), handed: Arc::clone(&handed) };
            tokio::spawn(task.run());
        }
        Self { hand_over, room: Arc::new(Semaphore::new(BYTES_MAX as usize)) }
    }

    /// The answer comes later, unless too much waits already.
    pub fn hand_over(
        &self,
        event: SignedEvent,
        asked: oneshot::Sender<Result<(), PublishError>>,
    ) -> Result<(), PublishError> {
        let bytes = u32::try_from(event.body().len()).unwrap_or(u32::MAX).min(BYTES_MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(bytes).map_err(|_| PublishError::Busy)?;
        self.hand_over.try_send((event, Answer { asked, _room: room })).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => PublishError::Busy,
            mpsc::error::TrySendError::Closed(_) => PublishError::Unavailable,
        })
    }
}

/// Owns one channel at a time, and is the only one to publish on it.
struct Task {
    link: Link,
    exchange: String,
    /// Shared with the other tasks: whoever is free takes what is there.
    handed: Arc<Mutex<mpsc::Receiver<Handed>>>,
}

impl Task {
    async fn run(self) {
        while let Some(epoch) = self.wait_for_connection().await {
            match open_channel(&epoch).await {
                Ok(channel) => self.serve(&epoch, &channel).await,
                Err(error) => warn!(%error, "a channel for publishing could not be opened"),
            }
            epoch.abandon();
        }
    }

    /// Until there is one, whatever was handed over in the belief that there was is refused at once.
    async fn wait_for_connection(&self) -> Option<Arc<Epoch>> {
        let mut opened = pin!(self.link.opened());
        loop {
            tokio::select! {
                biased;
                epoch = &mut opened => return epoch,
                handed = async { self.handed.lock().await.recv().await } => {
                    let (_, answer) = handed?;
                    answer.give(Err(PublishError::Unavailable));
                }
            }
        }
    }

    /// Publishes until the epoch is over.
    async fn serve(&self, epoch: &Epoch, channel: &Channel) {
        loop {
            let mut handed = Vec::with_capacity(BATCH_MAX);
            tokio::select! {
                biased;
                () = epoch.over() => return,
                taken = async { self.handed.lock().await.recv_many(&mut handed, BATCH_MAX).await } => {
                    if taken == 0 {
                        return;
                    }
                }
            }
            if !self.publish(epoch, channel, handed).await {
                return;
            }
        }
    }

    /// Publishes one batch and answers for it; false when nothing more may be published on the channel.
    async fn publish(&self, epoch: &Epoch, channel: &Channel, handed: Vec<Handed>) -> bool {
        let (events, answers): (Vec<_>, Vec<_>) = handed.into_iter().unzip();
        let mut confirmed = pin!(self.confirm(channel, &events));
        tokio::select! {
            biased;
            () = epoch.over() => {
                refuse(answers, PublishError::Unavailable);
                false
            }
            outcome = &mut confirmed => match outcome {
                Ok(confirmations) => {
                    release(&events, answers, confirmations);
                    true
                }
                Err(_) => {
                    refuse(answers, PublishError::Unavailable);
                    false
                }
            },
            () = epoch.blocked() => {
                refuse(answers, PublishError::Unavailable);
                // The frames are with lapin and go out when the alarm is over: after their confirms the channel is clean.
                tokio::select! {
                    () = epoch.over() => false,
                    outcome = confirmed => outcome.is_ok(),
                }
            }
            () = tokio::time::sleep(CONFIRM_TIMEOUT) => {
                refuse(answers, PublishError::TimedOut);
                false
            }
        }
    }

    /// Publishes all, then waits for all. An error means that nothing is known of any.
    #[expect(clippy::disallowed_methods, reason = "this task owns the channel")]
    async fn confirm(&self, channel: &Channel, events: &[SignedEvent]) -> Result<Vec<Confirmation>, lapin::Error> {
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let mut confirms = Vec::with_capacity(events.len());
        for event in events {
            let key = wire::routing_key(event).into();
            let exchange = self.exchange.as_str().into();
            confirms.push(channel.basic_publish(exchange, key, options, event.body(), wire::properties(event)).await?);
        }
        let mut confirmations = Vec::with_capacity(events.len());
        for confirm in confirms {
            confirmations.push(confirm.await?);
        }
        Ok(confirmations)
    }
}

async fn open_channel(epoch: &Epoch) -> Result<Channel, lapin::Error> {
    let channel = epoch.connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions { nowait: false }).await?;
    Ok(channel)
}

fn refuse(answers: Vec<Answer>, error: PublishError) {
    for answer in answers {
        answer.give(Err(error));
    }
}

fn release(events: &[SignedEvent], answers: Vec<Answer>, confirmations: Vec<Confirmation>) {
    let results = results(events, confirmations);
    for (answer, result) in answers.into_iter().zip(results) {
        answer.give(result);
    }
}

/// What the confirms of a whole batch say of each event.
fn results(events: &[SignedEvent], confirmations: Vec<Confirmation>) -> Vec<Result<(), PublishError>> {
    let acknowledged: Vec<bool> = confirmations.iter().map(Confirmation::is_ack).collect();
    let returned: HashSet<String> = confirmations
        .into_iter()
        .filter_map(Confirmation::take_message)
        .filter_map(|message| Some(message.properties.message_id().as_ref()?.to_string()))
        .collect();
    let judge = |event: &SignedEvent, acknowledged: bool| match acknowledged {
        _ if returned.contains(event.id().as_str()) => Err(PublishError::Unroutable),
        true => Ok(()),
        false => Err(PublishError::Refused),
    };
    events.iter().zip(acknowledged).map(|(event, acknowledged)| judge(event, acknowledged)).collect()
}
