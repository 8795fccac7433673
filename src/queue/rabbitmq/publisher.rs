//! Publishes with confirms, several events at once, and answers only when the result is certain.
//!
//! lapin 4 has two traps, both seen in tests against a broker. When several tasks publish on one
//! channel it reports false acknowledgements: so one task owns a channel, and all others hand it
//! events. And a returned message can be attributed to the confirm of another one: so a batch is
//! answered when all its confirms are in, and returned messages are recognized by their ID.
//!
//! `connection.rs` says what each state of the connection means for an event in flight. The caller
//! may be dropped at any time: an event that was handed over is published all the same.

use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use lapin::{Channel, Confirmation};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::warn;

use super::confirmed::{self, open_channel};
use super::connection::{Connection, Session};
use super::limits::{is_above, too_large};
use super::marks::Marks;
use super::message;
use super::topology::Names;
use crate::clerk::SignedEvent;
use crate::queue::error::PublishError;
use crate::shutdown::Shutdown;
use crate::tasks;

/// Channels, each with a task: four use all that one connection can do. Threads with a publisher of
/// their own share them.
const CHANNELS: usize = 4;

/// Most events in flight on a channel. More are not faster, and all wait for the last confirm.
const BATCH_MAX: usize = 64;

/// Most events of a thread that wait for a channel: about a tenth of a second's work.
const WAITING_MAX: usize = 2048;

/// Most bytes of bodies that wait or are in flight: 64 MiB. One larger body is accepted when there
/// is nothing else.
const BYTES_MAX: u32 = 64 * 1024 * 1024;

/// How long the confirms of a batch may take, below the 10 s of a publish, so that its callers get
/// an answer.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(8);

/// How long a channel may take to open: as long as a batch, and for the same reason.
const CHANNEL_TIMEOUT: Duration = CONFIRM_TIMEOUT;

/// A refusal can mean that the queue is full. It can also mean that the queue had no leader at the
/// channel's first publish: then RabbitMQ (seen with 3.10) refuses everything on that channel
/// forever, and accepts the same on a new one. So a channel that refuses is replaced; at most once
/// in this time, as a full queue stays full.
const REPLACED_AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// How long `close` waits for events in flight. Events that are not confirmed by then fail.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Hands events to the tasks that publish. Clones share them.
#[derive(Clone)]
pub struct Publisher {
    connection: Connection,
    names: Arc<Names>,
    marks: Arc<Marks>,
    hand_over: mpsc::Sender<Pending>,
    memory: Arc<Semaphore>,
    closing: Shutdown,
    /// Ends the tasks when no handle is left.
    _handles: Arc<LastHandle>,
    /// Every task holds it.
    ending: Weak<watch::Sender<()>>,
    /// Fails once every task has ended.
    ended: watch::Receiver<()>,
}

/// An event to publish, and who waits for its answer.
type Pending = (Outgoing, Caller);

#[derive(Clone)]
struct Outgoing {
    event: SignedEvent,
    /// Whether it is published again after too many deliveries.
    may_be_poison: bool,
}

struct Caller {
    answer: oneshot::Sender<Result<(), PublishError>>,
    /// The memory that the body takes.
    _memory: OwnedSemaphorePermit,
}

/// Asks the tasks to end when it is dropped.
struct LastHandle(Shutdown);

impl Drop for LastHandle {
    fn drop(&mut self) {
        self.0.request();
    }
}

impl Publisher {
    /// Starts the tasks of a connection.
    pub fn start(connection: &Connection, names: &Arc<Names>, marks: &Arc<Marks>) -> Self {
        let (ending, ended) = watch::channel(());
        let ending = Arc::new(ending);
        let closing = Shutdown::default();
        let publisher = Self {
            connection: connection.clone(),
            names: Arc::clone(names),
            marks: Arc::clone(marks),
            hand_over: mpsc::channel(1).0,
            memory: Arc::new(Semaphore::new(BYTES_MAX as usize)),
            _handles: Arc::new(LastHandle(closing.clone())),
            closing,
            ending: Arc::downgrade(&ending),
            ended,
        };
        publisher.with_tasks(CHANNELS, &ending)
    }

    /// A publisher whose tasks run on the current runtime, one of so many `threads`: if that is the
    /// thread of the caller, an event and its answer wake no other thread. It shares the limit of
    /// memory and the end with `self`.
    pub fn on_this_thread(&self, threads: usize) -> Self {
        match self.ending.upgrade() {
            Some(ending) => self.with_tasks(CHANNELS.div_ceil(threads), &ending),
            // All tasks have ended: nothing is published any more.
            None => self.clone(),
        }
    }

    fn with_tasks(&self, channels: usize, ending: &Arc<watch::Sender<()>>) -> Self {
        let (hand_over, pending) = mpsc::channel(WAITING_MAX);
        let pending = Arc::new(Mutex::new(pending));
        for _ in 0..channels {
            let task = ChannelTask {
                connection: self.connection.clone(),
                exchange: self.names.events.clone(),
                marks: Arc::clone(&self.marks),
                pending: Arc::clone(&pending),
                closing: self.closing.clone(),
                _ending: Arc::clone(ending),
            };
            task.start(hand_over.downgrade());
        }
        Self {
            hand_over,
            ..self.clone()
        }
    }

    /// See `queue::Queue::publish`.
    ///
    /// # Errors
    /// Fails at once while the connection is lost or blocked, or if too many events wait.
    pub async fn publish(
        &self,
        event: SignedEvent,
        may_be_poison: bool,
    ) -> Result<(), PublishError> {
        self.connection.want();
        let is_open = self.connection.is_starting() || self.connection.ready().is_ok();
        if !is_open || self.closing.is_requested() {
            return Err(PublishError::Unavailable);
        }
        let bytes = event.body().len();
        let max = self.connection.limits().body_max();
        if let Some(max) = max.filter(|max| is_above(bytes, *max)) {
            return Err(PublishError::TooLarge { max });
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(BYTES_MAX);
        let memory = Arc::clone(&self.memory).try_acquire_many_owned(bytes);
        let memory = memory.map_err(|_| PublishError::Busy)?;
        let (answer, answered) = oneshot::channel();
        let caller = Caller {
            answer,
            _memory: memory,
        };
        let outgoing = Outgoing {
            event,
            may_be_poison,
        };
        self.hand_over
            .try_send((outgoing, caller))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => PublishError::Busy,
                mpsc::error::TrySendError::Closed(_) => PublishError::Unavailable,
            })?;
        answered.await.unwrap_or(Err(PublishError::Unavailable))
    }

    /// Accepts no more events, and waits a short time for the answers of those in flight.
    pub async fn close(&self) {
        self.closing.request();
        let mut ended = self.ended.clone();
        let all_ended = async { while ended.changed().await.is_ok() {} };
        drop(timeout(FLUSH_TIMEOUT, all_ended).await);
    }
}

fn answer(callers: Vec<Caller>, result: Result<(), PublishError>) {
    for caller in callers {
        // The caller may be gone.
        let _gone = caller.answer.send(result);
    }
}

fn refuse(pending: Vec<Pending>) {
    let callers = pending.into_iter().map(|(_, caller)| caller).collect();
    answer(callers, Err(PublishError::Unavailable));
}

/// Why a channel is no longer used.
enum ChannelEnd {
    /// The queue closes, or no handle is left.
    Stop,
    /// The connection is lost.
    ConnectionLost,
    /// The channel refuses events, and another may not.
    Replace,
    /// The broker has closed the channel; the connection is good.
    Closed,
}

/// Owns one channel at a time, and is the only task that publishes on it.
struct ChannelTask {
    connection: Connection,
    exchange: String,
    marks: Arc<Marks>,
    /// Shared with the other tasks: a free one takes what is there.
    pending: Arc<Mutex<mpsc::Receiver<Pending>>>,
    closing: Shutdown,
    _ending: Arc<watch::Sender<()>>,
}

impl ChannelTask {
    /// Runs until the queue closes or no handle is left. A panic leaves the channel in an unknown
    /// state, so the session is ended; the events of its batch fail, and their senders try again.
    fn start(self, hand_over: mpsc::WeakSender<Pending>) {
        let (connection, closing) = (self.connection.clone(), self.closing.clone());
        let task = Arc::new(self);
        let work = move || Arc::clone(&task).run();
        let died = move || _ = connection.current().map(|session| session.end());
        let is_asked_to_end = move || closing.is_requested() || hand_over.strong_count() == 0;
        tasks::brief(tasks::restarted("publisher", is_asked_to_end, died, work));
    }

    async fn run(self: Arc<Self>) {
        // Events of the previous channel, which are published first on the next one.
        let mut again = Vec::new();
        while let Some(session) = self.wait_for_connection().await {
            match timeout(CHANNEL_TIMEOUT, open_channel(&session)).await {
                Ok(Ok(channel)) => match self.publish_on(&session, &channel, &mut again).await {
                    // The other tasks may still have events in flight on the connection.
                    ChannelEnd::Stop => return,
                    ChannelEnd::ConnectionLost => {}
                    ChannelEnd::Closed => continue,
                    ChannelEnd::Replace => {
                        // A channel that cannot be closed ends with its connection.
                        let close = channel.close(200, "replaced".into());
                        drop(timeout(CHANNEL_TIMEOUT, close).await);
                        continue;
                    }
                },
                Ok(Err(error)) => warn!(%error, "a channel for publishing could not be opened"),
                Err(_) => warn!("a channel for publishing could not be opened in time"),
            }
            refuse(std::mem::take(&mut again));
            if self.closing.is_requested() {
                return;
            }
            session.end();
        }
    }

    /// Returns the open session, or `None` when no more events can arrive. Once an outage is known,
    /// events that were handed over before are refused at once.
    async fn wait_for_connection(&self) -> Option<Arc<Session>> {
        self.closing.or(self.connection.started()).await?;
        let mut opened = pin!(self.connection.opened());
        loop {
            tokio::select! {
                biased;
                session = &mut opened => return session,
                pending = self.take() => refuse(pending?),
            }
        }
    }

    /// Waits for an event, then takes all that are ready; `None` once there are none and the queue
    /// closes, or no handle is left. Cancel-safe.
    async fn take(&self) -> Option<Vec<Pending>> {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let mut pending = self.pending.lock().await;
        tokio::select! {
            biased;
            taken = pending.recv_many(&mut batch, BATCH_MAX) => {
                #[cfg(test)]
                assert!(batch.iter().all(|(outgoing, _)| outgoing.event.id().as_str() != BUG), "a bug, made by a test");
                (taken > 0).then_some(batch)
            }
            () = self.closing.requested() => None,
        }
    }

    /// Publishes until the channel can no longer be used; first the events of `again`, which gets
    /// those of a closed channel.
    async fn publish_on(
        &self,
        session: &Session,
        channel: &Channel,
        again: &mut Vec<Pending>,
    ) -> ChannelEnd {
        let opened = Instant::now();
        loop {
            let mut pending = std::mem::take(again);
            if pending.is_empty() {
                let taken = tokio::select! {
                    biased;
                    () = session.ended() => return ChannelEnd::ConnectionLost,
                    taken = self.take() => taken,
                };
                let Some(taken) = taken else {
                    return ChannelEnd::Stop;
                };
                pending = taken;
            }
            if session.is_blocked() {
                // lapin would keep them until the alarm is over.
                refuse(pending);
                continue;
            }
            match self.publish(session, channel, pending, again).await {
                Ok(true) => {}
                Ok(false) if opened.elapsed() < REPLACED_AT_MOST_EVERY => {}
                Ok(false) => return ChannelEnd::Replace,
                Err(end) => return end,
            }
        }
    }

    /// Publishes one batch and answers its callers. Returns whether the broker took all of it.
    /// Fails if the channel cannot be used any more; events that are to be published on another go
    /// to `again`.
    async fn publish(
        &self,
        session: &Session,
        channel: &Channel,
        pending: Vec<Pending>,
        again: &mut Vec<Pending>,
    ) -> Result<bool, ChannelEnd> {
        let (events, mut callers): (Vec<Outgoing>, Vec<Caller>) = pending.into_iter().unzip();
        let mut confirmed = pin!(self.confirm(channel, &events));
        let mut deadline = Instant::now() + CONFIRM_TIMEOUT;
        let failure = loop {
            tokio::select! {
                biased;
                () = session.ended() => break PublishError::Unavailable,
                confirmed = &mut confirmed => match confirmed {
                    Ok(confirmations) => {
                        let is_taken = confirmations.iter().all(Confirmation::is_ack);
                        for (caller, result) in callers.into_iter().zip(message::results(events.iter().map(|outgoing| outgoing.event.id()), confirmations)) {
                            answer(vec![caller], result);
                        }
                        return Ok(is_taken);
                    }
                    Err(error) => {
                        // Without callers nothing is to be published again.
                        if let Some(refusal) = too_large(&error).filter(|_| !callers.is_empty()) {
                            let bytes = |outgoing: &Outgoing| outgoing.event.body().len();
                            let bodies = events.iter().map(bytes);
                            let max = self.connection.limits().learn_body_max(refusal, bodies);
                            for (outgoing, caller) in events.iter().zip(callers) {
                                if is_above(bytes(outgoing), max) {
                                    answer(vec![caller], Err(PublishError::TooLarge { max }));
                                } else {
                                    again.push((outgoing.clone(), caller));
                                }
                            }
                            return Err(ChannelEnd::Closed);
                        }
                        break PublishError::Unavailable;
                    }
                },
                () = session.blocked() => {
                    // The callers get their answer now. What lapin has is sent when the alarm is
                    // over, and the channel is clean after the confirms.
                    answer(std::mem::take(&mut callers), Err(PublishError::Unavailable));
                    self.reject_until_unblocked(session).await;
                    deadline = Instant::now() + CONFIRM_TIMEOUT;
                }
                () = sleep_until(deadline) => {
                    // Before the answer: nothing is known of this connection, so nothing more may
                    // go over it.
                    session.end();
                    break PublishError::TimedOut;
                }
            }
        };
        answer(callers, Err(failure));
        Err(ChannelEnd::ConnectionLost)
    }

    /// Rejects events that were handed over before the alarm was known, until the alarm or the
    /// session ends or the queue closes.
    async fn reject_until_unblocked(&self, session: &Session) {
        loop {
            tokio::select! {
                biased;
                () = session.ended() => return,
                () = session.unblocked() => return,
                taken = self.take() => match taken {
                    Some(taken) => refuse(taken),
                    None => return session.end(),
                },
            }
        }
    }

    /// Publishes all events, then waits for all confirms. After an error nothing is known of any
    /// event.
    async fn confirm(
        &self,
        channel: &Channel,
        events: &[Outgoing],
    ) -> Result<Vec<Confirmation>, lapin::Error> {
        let messages = events.iter().map(|outgoing| {
            let Outgoing {
                event,
                may_be_poison,
            } = outgoing;
            confirmed::Outgoing {
                routing_key: message::routing_key(event).into(),
                body: event.body(),
                properties: message::properties(event, *may_be_poison, self.marks.own()),
            }
        });
        confirmed::publish(channel, &self.exchange, true, messages).await
    }
}

/// The task panics at this event.
#[cfg(test)]
const BUG: &str = "msg_that_meets_a_bug";

#[cfg(test)]
mod tests;
