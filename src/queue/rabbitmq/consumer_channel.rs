//! One channel with one consumer: what the broker sends over it, and what of that is acknowledged.
//!
//! One consumer per channel: an acknowledgement of several tags covers all earlier ones on the
//! channel, and two of them at once could overtake each other, which closes the channel.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::AMQPValue;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::connection::Session;
use super::header::table;
use super::marks::Marks;
use super::message;
use super::prefetch::{Delivered, Prefetched};
use super::taken::{TakenCount, TakenShare};
use super::topology::{self, DELIVERY_LIMIT, Names};
use crate::queue::batch::{Batch, DeliveryTags, Lease, Source};

/// Deliveries without an acknowledgement from which on an event may be a poison message: half of
/// the queue's limit, so that the other half can be spent on it in isolation.
const POISON_FROM: i64 = DELIVERY_LIMIT / 2;

/// How often a wait for many deliveries counts them: a write of many takes several times as long.
const COUNT_EVERY: Duration = Duration::from_millis(5);

/// An acknowledgement waits for so many events, or so long: the broker writes each to its log,
/// whatever number of events it is for. Events that are delivered again after a kill in between
/// change nothing. Never for so many that the broker sends no more.
const ACKNOWLEDGED_TOGETHER: usize = 16;
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_millis(10);

/// How long the broker may take to cancel a consumer. A stop has no time for a dead connection that
/// seems alive.
pub const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the broker waits for an acknowledgement, in milliseconds: its own default, whatever is
/// configured there. Known to RabbitMQ from 4.3 on; older versions only read their configuration.
const CONSUMER_TIMEOUT_MS: i64 = 30 * 60 * 1000;

/// What to consume.
#[derive(Clone)]
pub struct Subscription {
    pub names: Arc<Names>,
    pub marks: Arc<Marks>,
    pub source: Source,
    pub prefetch: u16,
    /// Where events are counted until they are acknowledged.
    pub taken: TakenCount,
}

/// Whether the queue of this source counts deliveries, and gives an event up by their number. The
/// limit of the other queues does not matter.
pub fn counts_deliveries(source: Source) -> bool {
    source == Source::Events
}

/// A channel with a consumer.
pub struct ConsumerChannel {
    pub session: Arc<Session>,
    channel: Channel,
    subscription: Subscription,
    stream: Stream,
    prefetched: Prefetched,
    /// Distinguishes it from every other, so that an acknowledgement never goes to another channel.
    number: u64,
    acknowledged: AcknowledgedTags,
    pending_ack: Option<PendingAck>,
    /// Events that were taken and are not acknowledged.
    in_flight: usize,
    /// These and the prefetched ones, for others to see.
    taken: TakenShare,
}

/// What the broker sends.
enum Stream {
    Delivering(lapin::Consumer),
    /// We have canceled it: the channel is good.
    Paused,
    /// The broker has canceled it, or the connection is gone.
    Ended,
}

/// An acknowledgement of all tags up to one that is not sent yet.
#[derive(Clone, Copy)]
struct PendingAck {
    up_to: u64,
    events: usize,
    due: Instant,
}

impl ConsumerChannel {
    /// Opens a channel and consumes.
    pub async fn open(
        session: Arc<Session>,
        subscription: Subscription,
    ) -> Result<Self, lapin::Error> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let channel = session.connection.create_channel().await?;
        let mut opened = Self {
            taken: subscription.taken.share(),
            session,
            channel,
            subscription,
            stream: Stream::Paused,
            prefetched: Prefetched::default(),
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            acknowledged: AcknowledgedTags::default(),
            pending_ack: None,
            in_flight: 0,
        };
        opened.consume().await?;
        Ok(opened)
    }

    async fn consume(&mut self) -> Result<(), lapin::Error> {
        let (
            channel,
            Subscription {
                names,
                source,
                prefetch,
                ..
            },
        ) = (&self.channel, &self.subscription);
        // Quorum queues refuse a limit that channels share. It applies to the consumers created
        // after it.
        let qos = BasicQosOptions { global: false };
        channel.basic_qos(*prefetch, qos).await?;
        if *source == Source::Rescued {
            topology::bind_rescued(channel, names).await?;
        }
        let consumer_timeout = AMQPValue::LongLongInt(CONSUMER_TIMEOUT_MS);
        let arguments = table([("x-consumer-timeout", consumer_timeout)]);
        let (queue, options) = (
            names.of_source(*source).into(),
            BasicConsumeOptions::default(),
        );
        // The broker generates a tag if it is empty.
        let consumer = channel.basic_consume(queue, "".into(), options, arguments);
        self.stream = Stream::Delivering(consumer.await?);
        Ok(())
    }

    pub fn prefetch(&self) -> u16 {
        self.subscription.prefetch
    }

    pub fn has_in_flight(&self) -> bool {
        self.in_flight > 0
    }

    /// Whether so many rescued events are prefetched that more could expire before they are
    /// delivered.
    pub fn is_full(&self) -> bool {
        let half = usize::from(self.subscription.prefetch) / 2;
        self.subscription.source == Source::Rescued
            && self.is_delivering()
            && self.prefetched.count() >= half
    }

    pub fn is_paused(&self) -> bool {
        matches!(self.stream, Stream::Paused)
    }

    fn is_delivering(&self) -> bool {
        matches!(self.stream, Stream::Delivering(_))
    }

    /// Waits until `count` deliveries are prefetched, or enough to end a batch. Returns false if
    /// none is, and no more can arrive. Cancel-safe.
    ///
    /// A wait for many only counts now and then, so that not every delivery wakes it.
    pub async fn wait_for(&mut self, count: usize) -> bool {
        self.take_arrived();
        while self.is_delivering() && !self.prefetched.fills(count) {
            if count == 1 {
                self.wait_for_one().await;
            } else {
                tokio::select! {
                    biased;
                    () = self.session.ended() => self.stream = Stream::Ended,
                    () = sleep(COUNT_EVERY) => {}
                }
            }
            self.take_arrived();
        }
        !self.prefetched.is_empty()
    }

    /// Cancel-safe.
    async fn wait_for_one(&mut self) {
        let Stream::Delivering(deliveries) = &mut self.stream else {
            return;
        };
        let due = self.pending_ack.map(|pending| pending.due);
        tokio::select! {
            biased;
            () = self.session.ended() => self.stream = Stream::Ended,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                // If it fails, the session ends.
                drop(self.send_ack().await);
            }
            delivery = deliveries.next() => self.keep(delivery.and_then(Result::ok)),
        }
    }

    /// Takes what has arrived off the stream. Later deliveries wake nothing until the stream is
    /// awaited.
    pub fn take_arrived(&mut self) {
        while let Stream::Delivering(deliveries) = &mut self.stream
            && let Some(next) = deliveries.next().now_or_never()
        {
            self.keep(next.and_then(Result::ok));
        }
    }

    /// `None` is the end of the stream. It is reported once: another poll would wait forever.
    fn keep(&mut self, delivery: Option<Delivery>) {
        let Some(delivery) = delivery else {
            self.stream = Stream::Ended;
            return;
        };
        let Subscription {
            names,
            source,
            marks,
            ..
        } = &self.subscription;
        if let Some(receiver) = message::receiver(&delivery) {
            marks.hear(receiver);
        }
        let may_be_poison = counts_deliveries(*source)
            && (message::is_marked_as_possible_poison(&delivery)
                || message::unacknowledged_deliveries(&delivery) >= POISON_FROM);
        self.prefetched.push(Delivered {
            tag: delivery.delivery_tag,
            may_be_poison,
            event: message::restore(delivery, *source, names),
        });
        self.count_taken();
    }

    fn count_taken(&mut self) {
        self.taken.set(self.prefetched.count() + self.in_flight);
    }

    /// Returns a batch of the prefetched events; `None` if there is none. A possible poison message
    /// is alone in its batch.
    pub fn take_batch(&mut self, batch_max: NonZeroUsize) -> Option<Batch> {
        let taken = self.prefetched.take_batch(batch_max);
        let may_be_poison = taken.first()?.may_be_poison;
        self.in_flight += taken.len();
        let lease = Lease::RabbitMq(self.tags_of(&taken));
        let events = taken.into_iter().map(|delivered| delivered.event);
        Some(Batch {
            events: events.collect(),
            may_be_poison,
            lease,
        })
    }

    /// Puts a batch before all prefetched events. Events of another channel are delivered again
    /// anyway.
    pub fn prepend_batch(&mut self, batch: Batch) {
        if let Lease::RabbitMq(DeliveryTags { channel, tags }) = batch.lease
            && channel == self.number
        {
            self.in_flight = self.in_flight.saturating_sub(tags.len());
            let delivered = batch.events.into_iter().zip(tags);
            let may_be_poison = batch.may_be_poison;
            self.prepend(
                delivered
                    .map(|(event, tag)| Delivered {
                        event,
                        tag,
                        may_be_poison,
                    })
                    .collect(),
            );
        }
    }

    /// Takes all prefetched events. The channel must be paused, or more may arrive.
    pub fn take_prefetched(&mut self) -> Vec<Delivered> {
        self.prefetched.take_all()
    }

    /// Puts events before all prefetched ones.
    pub fn prepend(&mut self, delivered: Vec<Delivered>) {
        self.prefetched.push_front(delivered);
        self.count_taken();
    }

    /// Has the broker send nothing more. What it has sent can be taken and acknowledged as before.
    /// Returns false if the broker does not answer: the channel is then of no use.
    pub async fn pause(&mut self) -> bool {
        let tag = match &self.stream {
            Stream::Delivering(deliveries) => deliveries.tag(),
            Stream::Paused => return true,
            Stream::Ended => return false,
        };
        if self.send_ack().await.is_err() {
            return false;
        }
        // Before the consumer is canceled. If this fails the bindings stay, which loses no event.
        self.unbind_rescued(1).await;
        let cancel = self
            .channel
            .basic_cancel(tag, BasicCancelOptions::default());
        let is_canceled = matches!(timeout(CANCEL_TIMEOUT, cancel).await, Ok(Ok(())));
        if is_canceled {
            // If two workers pause at the same time, the last one removes the bindings.
            self.unbind_rescued(0).await;
        }
        // Everything has arrived: it was sent before the answer.
        self.take_arrived();
        if is_canceled {
            self.stream = Stream::Paused;
        }
        is_canceled
    }

    /// Removes the bindings of rescued events, if this channel consumes them and only `own` of our
    /// consumers are left.
    async fn unbind_rescued(&self, own: u32) {
        if self.subscription.source == Source::Rescued {
            let unbound = topology::unbind_rescued(&self.channel, &self.subscription.names, own);
            drop(timeout(CANCEL_TIMEOUT, unbound).await);
        }
    }

    /// Consumes again after a pause, with this prefetch.
    pub async fn resume(&mut self, prefetch: u16) -> Result<(), lapin::Error> {
        self.subscription.prefetch = prefetch;
        self.consume().await
    }

    /// The tags of these deliveries.
    pub fn tags_of(&self, delivered: &[Delivered]) -> DeliveryTags {
        DeliveryTags {
            channel: self.number,
            tags: delivered.iter().map(|delivered| delivered.tag).collect(),
        }
    }

    /// Acknowledges a batch that was taken. Fails if another channel has delivered it.
    pub async fn acknowledge_batch(&mut self, tags: &DeliveryTags) -> Result<(), ()> {
        if tags.channel != self.number {
            return Err(());
        }
        self.acknowledge(&tags.tags).await?;
        self.in_flight = self.in_flight.saturating_sub(tags.tags.len());
        self.count_taken();
        Ok(())
    }

    /// Acknowledges tags of this channel. One acknowledgement covers all earlier ones: if an
    /// earlier tag is not acknowledged, each is acknowledged alone. A failure ends the session.
    pub async fn acknowledge(&mut self, tags: &[u64]) -> Result<(), ()> {
        let acknowledged = self.try_acknowledge(tags).await;
        acknowledged.map_err(|_| self.session.end())
    }

    async fn try_acknowledge(&mut self, tags: &[u64]) -> Result<(), lapin::Error> {
        // Batches that return together are not in the order of their tags.
        let Some(last) = tags.iter().max() else {
            return Ok(());
        };
        let is_completed = self.acknowledged.are_completed_by(tags);
        self.acknowledged.add(tags);
        if !is_completed {
            for tag in tags {
                self.channel
                    .basic_ack(*tag, BasicAckOptions { multiple: false })
                    .await?;
            }
            return Ok(());
        }
        let now = Instant::now();
        let before = self.pending_ack;
        let pending = PendingAck {
            up_to: *last,
            events: tags.len() + before.map_or(0, |before| before.events),
            due: before.map_or(now + ACKNOWLEDGED_WITHIN, |before| before.due),
        };
        self.pending_ack = Some(pending);
        // After a pause nothing arrives any more, and nothing would send it later.
        let together = ACKNOWLEDGED_TOGETHER.min(usize::from(self.subscription.prefetch) / 4);
        if self.is_paused() || pending.events >= together || pending.due <= now {
            self.send_ack().await?;
        }
        Ok(())
    }

    async fn send_ack(&mut self) -> Result<(), lapin::Error> {
        if let Some(PendingAck { up_to, .. }) = self.pending_ack.take() {
            self.channel
                .basic_ack(up_to, BasicAckOptions { multiple: true })
                .await?;
        }
        Ok(())
    }

    /// Returns all unacknowledged events by a nack, and closes. Before RabbitMQ 4.3 it counts as a
    /// delivery of each event.
    pub async fn nack_all(mut self) {
        if self.send_ack().await.is_ok() {
            let options = BasicNackOptions {
                multiple: true,
                requeue: true,
            };
            // The tag 0 stands for all deliveries. If it fails, the end of the channel does the
            // same.
            let nack = self.channel.basic_nack(0, options);
            drop(timeout(CANCEL_TIMEOUT, nack).await);
        }
    }
}

impl Drop for ConsumerChannel {
    fn drop(&mut self) {
        // The first poll sends it.
        drop(self.send_ack().now_or_never());
    }
}

/// The acknowledged tags of a channel.
#[derive(Debug, Default)]
struct AcknowledgedTags {
    /// All tags up to this.
    up_to: u64,
    /// Others, after the first that is not acknowledged.
    beyond: BTreeSet<u64>,
}

impl AcknowledgedTags {
    /// Whether these tags, in any order, are all up to their last that are not acknowledged: one
    /// acknowledgement covers them.
    fn are_completed_by(&self, tags: &[u64]) -> bool {
        let Some(last) = tags.iter().max() else {
            return false;
        };
        let before = self.beyond.range(..last).count() + tags.len();
        u64::try_from(before).ok() == last.checked_sub(self.up_to)
    }

    /// Adds tags.
    fn add(&mut self, tags: &[u64]) {
        self.beyond.extend(tags);
        while self.beyond.remove(&(self.up_to + 1)) {
            self.up_to += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_covers_earlier_tags_only_if_none_is_left_out() {
        let mut acknowledged = AcknowledgedTags::default();
        assert!(acknowledged.are_completed_by(&[1, 2, 3]));
        assert!(acknowledged.are_completed_by(&[3, 1, 2]), "in any order");
        assert!(!acknowledged.are_completed_by(&[4, 1, 2]), "3 is left out");
        acknowledged.add(&[1, 2, 3]);
        assert!(!acknowledged.are_completed_by(&[5, 6]), "4 is in flight");
        acknowledged.add(&[5, 6]);
        assert!(!acknowledged.are_completed_by(&[8, 9]));
        assert!(
            acknowledged.are_completed_by(&[4, 7, 8]),
            "5 and 6 are done"
        );
        acknowledged.add(&[8]);
        assert!(acknowledged.are_completed_by(&[4]));
        acknowledged.add(&[4]);
        assert_eq!((acknowledged.up_to, acknowledged.beyond.len()), (6, 1));
        acknowledged.add(&[7]);
        assert_eq!((acknowledged.up_to, acknowledged.beyond.len()), (8, 0));
        assert!(acknowledged.are_completed_by(&[9, 10]));
    }
}
