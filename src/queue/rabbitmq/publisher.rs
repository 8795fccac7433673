//! Publishes with confirms, several at once, and releases an answer only when it is certain.
//!
//! lapin 4 has two traps, both seen in tests against a broker. When several tasks publish on one channel it reports false
//! acknowledgements: so one task owns a channel, and everybody else hands it events. And a returned message can be pinned
//! on the confirm of another one: so the answers of a batch are released when all its confirms are in, and returned
//! messages are known by their ID.
//!
//! What each state of the connection means for an event in flight is in `link.rs`. Whoever asked may go away at any time:
//! an event that was handed over is published all the same.

use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, PublisherConfirm};
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::warn;

use super::connection::{Epoch, Link};
use super::limits;
use super::message;
use super::pending_publishes::{self, Handed, Outgoing, is_above, refuse, refuse_all, release};
use super::topology::Names;
use crate::queue::PublishError;
use crate::shutdown::Shutdown;
use crate::tasks;

/// Channels, each with a task: four reach what one connection can do. Threads that publish for themselves share them out.
const CHANNELS: usize = 4;

/// Most events in flight on a channel. More do not make it faster, and all wait for the last confirm.
const BATCH_MAX: usize = 64;

/// Most events of a thread that wait for a channel: about a tenth of a second's work.
const WAITING_MAX: usize = 2048;

/// Most bytes of bodies that wait or are in flight: 64 MiB. One larger body is taken when there is nothing else.
const BYTES_MAX: u32 = 64 * 1024 * 1024;

/// How long the confirms of a batch may take, below the 10 s of a publish, so that its senders hear of it.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(8);

/// How long a channel may take to open: as long as a batch, and for the same reason.
const CHANNEL_TIMEOUT: Duration = CONFIRM_TIMEOUT;

/// A refusal can mean that the queue is full. It can also mean that the queue had no leader at the channel's first publish:
/// then RabbitMQ (seen with 3.10) refuses everything on that channel for ever, and takes the same on a new one. So a channel
/// that refuses is replaced; not more often than this, as a full queue stays full.
const RENEWED_AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// How long `close` waits for what is in flight. Nobody is promised anything that is not confirmed by then.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Hands events to the tasks that publish.
#[derive(Clone)]
pub struct Publisher {
    link: Link,
    names: Arc<Names>,
    hand_over: mpsc::Sender<Handed>,
    room: Arc<Semaphore>,
    closing: Shutdown,
    /// Ends the tasks when no handle is left.
    _handles: Arc<LastHandle>,
    /// Every task holds it.
    ending: Weak<watch::Sender<()>>,
    /// Fails once every task has ended.
    ended: watch::Receiver<()>,
}

/// Asks the tasks to end when it is dropped.
struct LastHandle(Shutdown);

impl Drop for LastHandle {
    fn drop(&mut self) {
        self.0.request();
    }
}

impl Publisher {
    pub fn start(link: &Link, names: &Arc<Names>) -> Self {
        let (ending, ended) = watch::channel(());
        let ending = Arc::new(ending);
        let (hand_over, handed) = mpsc::channel(WAITING_MAX);
        let closing = Shutdown::default();
        let publisher = Self {
            link: link.clone(),
            names: Arc::clone(names),
            hand_over,
            room: Arc::new(Semaphore::new(BYTES_MAX as usize)),
            _handles: Arc::new(LastHandle(closing.clone())),
            closing,
            ending: Arc::downgrade(&ending),
            ended,
        };
        publisher.start_tasks(&publisher.hand_over, handed, CHANNELS, &ending);
        publisher
    }

    /// The same, but its tasks run on the runtime that this is called on, one of so many `threads`: where that is the thread of
    /// whoever publishes, an event goes to lapin and its answer comes back without waking another. The room for bodies, and the
    /// end, are those of `self`.
    pub fn on_this_thread(&self, threads: NonZeroUsize) -> Self {
        // Nobody publishes once all tasks have ended.
        let Some(ending) = self.ending.upgrade() else {
            return self.clone();
        };
        let (hand_over, handed) = mpsc::channel(WAITING_MAX);
        self.start_tasks(
            &hand_over,
            handed,
            CHANNELS.div_ceil(threads.get()),
            &ending,
        );
        Self {
            hand_over,
            ..self.clone()
        }
    }

    fn start_tasks(
        &self,
        hand_over: &mpsc::Sender<Handed>,
        handed: mpsc::Receiver<Handed>,
        channels: usize,
        ending: &Arc<watch::Sender<()>>,
    ) {
        let handed = Arc::new(Mutex::new(handed));
        for _ in 0..channels {
            let task = Task {
                link: self.link.clone(),
                exchange: self.names.events.clone(),
                handed: Arc::clone(&handed),
                closing: self.closing.clone(),
                _ending: Arc::clone(ending),
            };
            task.start(hand_over.downgrade());
        }
    }

    /// See `queue::Queue::publish`. Fails at once while the broker is away or blocked, or too much waits already.
    pub async fn publish(&self, outgoing: Outgoing) -> Result<(), PublishError> {
        self.link.want();
        let is_open = self.link.is_starting() || self.link.ready().is_ok();
        if !is_open || self.closing.is_requested() {
            return Err(PublishError::Unavailable);
        }
        let bytes = outgoing.event.body().len();
        if let Some(max) = self
            .link
            .limits()
            .body_max()
            .filter(|max| is_above(bytes, *max))
        {
            return Err(PublishError::TooLarge { max });
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(BYTES_MAX);
        let room = Arc::clone(&self.room)
            .try_acquire_many_owned(bytes)
            .map_err(|_| PublishError::Busy)?;
        let (answer, answered) = oneshot::channel();
        self.hand_over
            .try_send(Handed {
                outgoing,
                answer,
                _room: room,
            })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => PublishError::Busy,
                mpsc::error::TrySendError::Closed(_) => PublishError::Unavailable,
            })?;
        answered.await.unwrap_or(Err(PublishError::Unavailable))
    }

    /// Takes no more events, and waits, not for long, for the answers of those in flight.
    pub async fn close(&self) {
        self.closing.request();
        let mut ended = self.ended.clone();
        // Failing is what it waits for.
        drop(
            timeout(FLUSH_TIMEOUT, async {
                while ended.changed().await.is_ok() {}
            })
            .await,
        );
    }
}

/// Why a channel serves no more.
enum Served {
    /// The queue closes, or nobody is left to hand anything over.
    All,
    /// The connection is over.
    ToItsEnd,
    /// It refuses events, and another one may not.
    MayBeStuck,
    /// The broker has closed it; the connection is as good as before.
    Closed,
}

/// What a batch came to.
enum Published {
    Confirmed,
    /// The broker took part of it at most.
    Refused,
    /// It closed the channel for a message that it never takes. These are not to blame, and are to be published again.
    TooLarge(Vec<Handed>),
    /// Nothing more may be published on the channel.
    Unknown,
}

/// Owns one channel at a time, and is the only one to publish on it.
struct Task {
    link: Link,
    exchange: String,
    /// Shared with the other tasks: whoever is free takes what is there.
    handed: Arc<Mutex<mpsc::Receiver<Handed>>>,
    closing: Shutdown,
    _ending: Arc<watch::Sender<()>>,
}

impl Task {
    /// Runs until the queue closes or nobody is left who hands anything over. A panic leaves the channel in an unknown state,
    /// so its epoch is abandoned; the events of its batch are refused, and come again.
    fn start(self, hand_over: mpsc::WeakSender<Handed>) {
        let (link, closing) = (self.link.clone(), self.closing.clone());
        let task = Arc::new(self);
        let work = move || Arc::clone(&task).run();
        let died = move || _ = link.current().map(|epoch| epoch.abandon());
        let is_asked_to_end = move || closing.is_requested() || hand_over.strong_count() == 0;
        tasks::brief(tasks::restarted("publisher", is_asked_to_end, died, work));
    }

    async fn run(self: Arc<Self>) {
        // What is to be published first on the next channel.
        let mut again = Vec::new();
        while let Some(epoch) = self.wait_for_connection().await {
            match timeout(CHANNEL_TIMEOUT, open_channel(&epoch)).await {
                Ok(Ok(channel)) => match self.serve(&epoch, &channel, &mut again).await {
                    // The other tasks may still have something in flight on the connection.
                    Served::All => return,
                    Served::ToItsEnd => {}
                    Served::Closed => continue,
                    Served::MayBeStuck => {
                        // One that cannot be closed leaves with its connection.
                        drop(timeout(CHANNEL_TIMEOUT, channel.close(200, "renewed".into())).await);
                        continue;
                    }
                },
                Ok(Err(error)) => warn!(%error, "a channel for publishing could not be opened"),
                Err(_) => warn!("a channel for publishing could not be opened in time"),
            }
            refuse_all(std::mem::take(&mut again));
            if self.closing.is_requested() {
                return;
            }
            epoch.abandon();
        }
    }

    /// Once it is known that there is none, whatever was handed over in the belief that there was is refused at once.
    /// Nothing when nothing more can come.
    async fn wait_for_connection(&self) -> Option<Arc<Epoch>> {
        self.closing.or(self.link.started()).await?;
        let mut opened = pin!(self.link.opened());
        loop {
            tokio::select! {
                biased;
                epoch = &mut opened => return epoch,
                handed = self.take() => refuse_all(handed?),
            }
        }
    }

    /// Waits for an event, then takes those that are there too; nothing once none is left and the queue closes, or nobody
    /// hands over any more.
    /// Cancel-safe.
    async fn take(&self) -> Option<Vec<Handed>> {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let mut handed = self.handed.lock().await;
        tokio::select! {
            biased;
            taken = handed.recv_many(&mut batch, BATCH_MAX) => {
                #[cfg(test)]
                tests::meet_a_bug(&batch);
                (taken > 0).then_some(batch)
            }
            () = self.closing.requested() => None,
        }
    }

    /// Publishes until the epoch is over, nothing more can come, or the channel may be stuck.
    async fn serve(&self, epoch: &Epoch, channel: &Channel, again: &mut Vec<Handed>) -> Served {
        let renewed = Instant::now();
        loop {
            let taken = if again.is_empty() {
                tokio::select! {
                    biased;
                    () = epoch.over() => return Served::ToItsEnd,
                    taken = self.take() => taken,
                }
            } else {
                Some(std::mem::take(again))
            };
            let Some(taken) = taken else {
                return Served::All;
            };
            if epoch.is_blocked() {
                // Given to lapin it would hang there until the alarm is over.
                refuse_all(taken);
                continue;
            }
            match self.publish(epoch, channel, taken).await {
                Published::Confirmed => {}
                Published::Refused if renewed.elapsed() < RENEWED_AT_MOST_EVERY => {}
                Published::Refused => return Served::MayBeStuck,
                Published::TooLarge(rest) => {
                    *again = rest;
                    return Served::Closed;
                }
                Published::Unknown => return Served::ToItsEnd,
            }
        }
    }

    /// Publishes one batch and answers for it.
    async fn publish(&self, epoch: &Epoch, channel: &Channel, handed: Vec<Handed>) -> Published {
        let (mut events, mut answers, mut rooms) = (Vec::new(), Vec::new(), Vec::new());
        for Handed {
            outgoing,
            answer,
            _room,
        } in handed
        {
            events.push(outgoing);
            answers.push(answer);
            rooms.push(_room);
        }
        let mut confirmed = pin!(self.confirm(channel, &events));
        let mut deadline = Instant::now() + CONFIRM_TIMEOUT;
        loop {
            tokio::select! {
                biased;
                () = epoch.over() => {
                    refuse(answers, PublishError::Unavailable);
                    return Published::Unknown;
                }
                outcome = &mut confirmed => {
                    let confirmations = match outcome {
                        Ok(confirmations) => confirmations,
                        Err(error) => match limits::too_large(&error) {
                            // Those that the alarm has refused are not asked for any more.
                            Some(refusal) if !answers.is_empty() => {
                                let rest = pending_publishes::refuse_too_large(self.link.limits(), refusal, &events, answers, rooms);
                                return Published::TooLarge(rest);
                            }
                            _ => {
                                refuse(answers, PublishError::Unavailable);
                                return Published::Unknown;
                            }
                        },
                    };
                    let refused = confirmations.iter().any(|confirmation| !confirmation.is_ack());
                    release(&events, answers, confirmations);
                    return if refused { Published::Refused } else { Published::Confirmed };
                }
                () = epoch.blocked() => {
                    // The senders hear of it now. What lapin has goes out when the alarm is over, and the channel is
                    // clean after the confirms.
                    refuse(std::mem::take(&mut answers), PublishError::Unavailable);
                    self.sit_out(epoch).await;
                    deadline = Instant::now() + CONFIRM_TIMEOUT;
                }
                () = sleep_until(deadline) => {
                    // Before anybody hears of it: nothing is known of this connection, so nothing more may go over it.
                    epoch.abandon();
                    refuse(answers, PublishError::TimedOut);
                    return Published::Unknown;
                }
            }
        }
    }

    /// Refuses what was handed over before the alarm was known, until the alarm or the epoch is over or the queue closes.
    async fn sit_out(&self, epoch: &Epoch) {
        loop {
            tokio::select! {
                biased;
                () = epoch.over() => return,
                () = epoch.unblocked() => return,
                taken = self.take() => match taken {
                    Some(taken) => refuse_all(taken),
                    None => return epoch.abandon(),
                },
            }
        }
    }

    /// Publishes all, then waits for all. An error means that nothing is known of any.
    async fn confirm(
        &self,
        channel: &Channel,
        events: &[Outgoing],
    ) -> Result<Vec<Confirmation>, lapin::Error> {
        let options = BasicPublishOptions {
            mandatory: true,
            immediate: false,
        };
        let mut publishes = Vec::with_capacity(events.len());
        for Outgoing { event, is_suspect } in events {
            let key = message::routing_key(event).into();
            let exchange = self.exchange.as_str().into();
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place: this task alone publishes on this channel"
            )]
            let publish = channel.basic_publish(
                exchange,
                key,
                options,
                event.body(),
                message::properties(event, *is_suspect),
            );
            let mut publish = Box::pin(publish);
            // A publish is done when its bytes are on the wire. Begun one after the other and awaited together, a whole
            // batch leaves in few writes. lapin numbers an event and queues its frames within the first poll, so
            // nothing comes between the two.
            let begun = publish.as_mut().now_or_never();
            publishes.push(match begun {
                Some(published) => Publishing::Done(published?),
                None => Publishing::Begun(publish),
            });
        }
        // Resolves with the confirm of the last, and nearly always all are in by then. Each publish and each confirm, awaited by
        // itself, would wake this task.
        channel.wait_for_confirms().await?;
        let mut confirmations = Vec::with_capacity(events.len());
        for publish in publishes {
            let confirm = match publish {
                Publishing::Done(confirm) => confirm,
                Publishing::Begun(publish) => publish.await?,
            };
            confirmations.push(confirm.await?);
        }
        Ok(confirmations)
    }
}

/// A publish whose frames are with lapin.
enum Publishing<F> {
    Begun(F),
    Done(PublisherConfirm),
}

async fn open_channel(epoch: &Epoch) -> Result<Channel, lapin::Error> {
    let channel = epoch.connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions { nowait: false })
        .await?;
    Ok(channel)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::clerk::{EventId, EventType, SignedEvent, Timestamp};
    use crate::queue::rabbitmq::Address;
    use crate::queue::rabbitmq::connection::{Broker, Purpose};

    /// The code of the task meets a bug at this event.
    const BUG: &str = "msg_that_meets_a_bug";

    pub(super) fn meet_a_bug(batch: &[Handed]) {
        assert!(
            batch
                .iter()
                .all(|handed| handed.outgoing.event.id().as_str() != BUG),
            "a bug, shown by a test"
        );
    }

    /// Hands an event over, as if there were a connection; what it came to.
    async fn hand_over(publisher: &Publisher, id: &str) -> Result<(), PublishError> {
        let at = Timestamp::from_ms(1_795_172_400_000).unwrap();
        let event = SignedEvent::restored(
            EventId::new(id).unwrap(),
            EventType::named("user.updated"),
            at,
            at,
            Bytes::from_static(b"{}"),
        );
        let room = Arc::clone(&publisher.room).acquire_owned().await.unwrap();
        let (answer, answered) = oneshot::channel();
        let handed = Handed {
            outgoing: Outgoing {
                event,
                is_suspect: false,
            },
            answer,
            _room: room,
        };
        assert!(
            publisher.hand_over.send(handed).await.is_ok(),
            "no task is left"
        );
        answered.await.unwrap_or(Err(PublishError::Unavailable))
    }

    #[tokio::test]
    async fn a_task_that_dies_starts_again_and_ends_with_the_last_handle() {
        let names = Arc::new(Names::new("clerk-sync-test"));
        // Port 9 of this machine refuses connections.
        let address: Address = "amqp://127.0.0.1:9".parse().unwrap();
        let nodes = Arc::clone(address.nodes());
        let broker = Broker {
            nodes,
            names: Arc::clone(&names),
            limits: Arc::default(),
        };
        let link = Link::new(broker, Purpose::Publish);
        link.want();
        let publisher = Publisher::start(&link, &names);
        // More often than there are tasks.
        for _ in 0..=CHANNELS {
            assert_eq!(
                hand_over(&publisher, BUG).await,
                Err(PublishError::Unavailable)
            );
        }
        assert_eq!(
            hand_over(&publisher, "msg_after").await,
            Err(PublishError::Unavailable)
        );
        let mut ended = publisher.ended.clone();
        drop(publisher);
        let all_have = async { while ended.changed().await.is_ok() {} };
        timeout(Duration::from_secs(30), all_have)
            .await
            .expect("the tasks end with the last handle");
    }
}
