//! One life of a consumer: a channel, what the broker sends over it, and what of that is acknowledged.

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
use lapin::types::{AMQPValue, FieldTable};
use tokio::time::{Instant, sleep_until, timeout};

use super::connection::Epoch;
use super::prefetched::{Ahead, Delivered};
use super::topology::{self, DELIVERY_LIMIT, Names};
use super::{dead_letter, message};
use crate::queue::{Batch, Receipt, Source};

/// Deliveries in vain from which on an event is suspected of killing whoever takes it: half of what the queue allows, so that
/// the other half can be spent on it alone.
const SUSPECTED_FROM: i64 = DELIVERY_LIMIT / 2;

/// How often somebody who waits for many looks whether they are here: a write of many takes several times as long.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// An acknowledgement waits for so many events, or so long: the broker writes each to its log, whatever number of events it is
/// for. What is delivered again when a process dies in between changes nothing. Never for so many that the broker sends no more.
const ACKNOWLEDGED_TOGETHER: usize = 16;
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_millis(10);

/// How long the broker may take to end a consumer. A stop has no time for a connection that is dead and not known to be.
pub const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// What to consume, and how.
#[derive(Clone)]
pub struct Wanted {
    pub names: Arc<Names>,
    pub source: Source,
    pub prefetch: u16,
}

impl Wanted {
    pub fn queue(&self) -> &str {
        self.names.of_source(self.source)
    }
}

/// Whether an event that came to nothing many times is handed out alone: where the queue ends it by their number. Where events
/// are parked their deliveries have no limit that matters.
pub fn has_suspects(source: Source) -> bool {
    source == Source::Events
}

pub struct Subscription {
    pub epoch: Arc<Epoch>,
    channel: Channel,
    wanted: Wanted,
    deliveries: lapin::Consumer,
    /// Taken off the stream and not handed out yet.
    ahead: Ahead,
    /// Tells it from every other, so that an acknowledgement never meets another channel.
    serial: u64,
    acknowledged: Acknowledged,
    unsent: Option<Unsent>,
    /// Events that were handed out and are not acknowledged.
    in_hand: usize,
    /// The stream has ended. It says so once, and a second question would wait forever.
    ended: bool,
    /// It was ended by us: the channel is good.
    is_paused: bool,
}

/// An acknowledgement of all up to a tag that is not sent yet.
#[derive(Clone, Copy)]
struct Unsent {
    up_to: u64,
    events: usize,
    due: Instant,
}

/// The tags of a batch, and the channel that they belong to.
pub struct Tags {
    serial: u64,
    /// Ascending.
    tags: Vec<u64>,
}

impl Tags {
    pub fn count(&self) -> usize {
        self.tags.len()
    }
}

impl Subscription {
    pub async fn begin(epoch: Arc<Epoch>, wanted: Wanted) -> Result<Self, lapin::Error> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let channel = epoch.connection.create_channel().await?;
        let deliveries = consume(&channel, &wanted).await?;
        Ok(Self {
            epoch,
            channel,
            wanted,
            deliveries,
            ahead: Ahead::default(),
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            acknowledged: Acknowledged::default(),
            unsent: None,
            in_hand: 0,
            ended: false,
            is_paused: false,
        })
    }

    pub fn prefetch(&self) -> u16 {
        self.wanted.prefetch
    }

    /// A batch was dealt with.
    pub fn is_out_of_hand(&mut self, events: usize) {
        self.in_hand = self.in_hand.saturating_sub(events);
    }

    pub fn has_in_hand(&self) -> bool {
        self.in_hand > 0
    }

    /// Whether so many rescued events are here that what the broker lets go could expire before it is delivered.
    pub fn is_full(&self) -> bool {
        let half = usize::from(self.wanted.prefetch) / 2;
        self.wanted.source == Source::Rescued
            && !self.is_paused
            && !self.ended
            && self.ahead.count() >= half
    }

    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Waits until something is here; false once nothing more can come. Cancel-safe.
    pub async fn has_some(&mut self) -> bool {
        self.take_what_came();
        if !self.ended && self.ahead.is_empty() {
            self.wait_for_one().await;
            self.take_what_came();
        }
        !self.ahead.is_empty()
    }

    /// Cancel-safe.
    async fn wait_for_one(&mut self) {
        loop {
            let due = self.unsent.map_or_else(Instant::now, |unsent| unsent.due);
            let delivery = tokio::select! {
                biased;
                () = self.epoch.over() => None,
                () = sleep_until(due), if self.unsent.is_some() => {
                    // Where that fails the epoch is over.
                    drop(self.send_acknowledgement().await);
                    continue;
                }
                delivery = self.deliveries.next() => delivery.and_then(Result::ok),
            };
            return self.keep(delivery);
        }
    }

    /// Waits until so many are here, or what ends a batch before; false once no more can come and nothing is here. Cancel-safe.
    ///
    /// It looks now and then, so that not every delivery wakes somebody who waits for hundreds.
    pub async fn has_many(&mut self, count: usize) -> bool {
        self.take_what_came();
        while !self.ended && !self.ahead.fills(count) {
            tokio::select! {
                biased;
                () = self.epoch.over() => self.ended = true,
                () = tokio::time::sleep(LOOK_AGAIN) => self.take_what_came(),
            }
        }
        !self.ahead.is_empty()
    }

    /// What is here; a suspect alone. Nothing where nothing is.
    pub fn batch(&mut self, batch_max: NonZeroUsize) -> Option<Batch> {
        let taken = self.ahead.batch(batch_max);
        let suspect = taken.first()?.is_suspect;
        self.in_hand += taken.len();
        let tags = self.tags_of(&taken);
        let events = taken.into_iter().map(|delivered| delivered.event).collect();
        Some(Batch {
            events,
            suspect,
            receipt: Receipt::RabbitMq(tags),
        })
    }

    /// Takes off the stream what is in it. Nobody is woken by what comes later, until the stream is awaited.
    fn take_what_came(&mut self) {
        while !self.ended
            && let Some(next) = self.deliveries.next().now_or_never()
        {
            self.keep(next.and_then(Result::ok));
        }
    }

    /// Nothing is the end of the stream.
    fn keep(&mut self, delivery: Option<Delivery>) {
        match delivery {
            Some(delivery) => self.ahead.push(self.read(delivery)),
            None => self.ended = true,
        }
    }

    fn read(&self, delivery: Delivery) -> Delivered {
        let Wanted { names, source, .. } = &self.wanted;
        let is_suspect = has_suspects(*source)
            && (message::was_suspect(&delivery)
                || message::deliveries_in_vain(&delivery) >= SUSPECTED_FROM);
        let (tag, headers) = (delivery.delivery_tag, delivery.properties.headers().clone());
        let event = message::restore(delivery);
        let dead_letter = dead_letter::of(headers.as_ref(), *source, names, event.received_at());
        Delivered {
            tag,
            is_suspect,
            event: event.with_dead_letter(dead_letter),
        }
    }

    /// Has the broker send nothing more. What it has sent is kept, and can be taken and acknowledged as before. False where
    /// the broker does not answer.
    pub async fn pause(&mut self) -> bool {
        if self.is_paused {
            return true;
        }
        if self.send_acknowledgement().await.is_err() {
            return false;
        }
        // While it still takes what is under way. Where it fails it stays bound, which loses nothing.
        self.unbind_rescued(1).await;
        let cancel = self
            .channel
            .basic_cancel(self.deliveries.tag(), BasicCancelOptions { nowait: false });
        self.is_paused = matches!(timeout(CANCEL_TIMEOUT, cancel).await, Ok(Ok(())));
        if self.is_paused {
            // Of two workers that pause together, the last.
            self.unbind_rescued(0).await;
        }
        // All of it is here: it came before the answer.
        self.take_what_came();
        self.ended |= self.is_paused;
        self.is_paused
    }

    /// Where this is the consumer that the bindings are for, and `own` of its consumers are left.
    async fn unbind_rescued(&self, own: u32) {
        if self.wanted.source == Source::Rescued {
            let unbound = topology::unbind_rescued(&self.channel, &self.wanted.names, own);
            drop(timeout(CANCEL_TIMEOUT, unbound).await);
        }
    }

    /// Consumes again, on the same channel, with this prefetch.
    pub async fn resume(mut self, prefetch: u16) -> Result<Self, lapin::Error> {
        self.wanted.prefetch = prefetch;
        self.deliveries = consume(&self.channel, &self.wanted).await?;
        (self.ended, self.is_paused) = (false, false);
        Ok(self)
    }

    /// What waits here. It is to be paused before, or more may come.
    pub fn take_ahead(&mut self) -> Vec<Delivered> {
        self.ahead.take_all()
    }

    pub fn put_ahead(&mut self, delivered: Vec<Delivered>) {
        self.ahead.put_back(delivered);
    }

    /// Takes a batch back, to be handed out first. One from another life is delivered again.
    pub fn take_back(
        &mut self,
        Batch {
            events,
            suspect,
            receipt,
        }: Batch,
    ) {
        if let Receipt::RabbitMq(Tags { serial, tags }) = receipt
            && serial == self.serial
        {
            self.is_out_of_hand(tags.len());
            let delivered = events.into_iter().zip(tags);
            self.put_ahead(
                delivered
                    .map(|(event, tag)| Delivered {
                        event,
                        tag,
                        is_suspect: suspect,
                    })
                    .collect(),
            );
        }
    }

    pub fn tags_of(&self, delivered: &[Delivered]) -> Tags {
        Tags {
            serial: self.serial,
            tags: delivered.iter().map(|delivered| delivered.tag).collect(),
        }
    }

    pub fn is_of(&self, receipt: &Tags) -> bool {
        receipt.serial == self.serial
    }

    /// One acknowledgement covers all before it on the channel: where an older one is not acknowledged, because it was
    /// dropped or is still in hand, each is named alone.
    pub async fn acknowledge(&mut self, receipt: &Tags) -> Result<(), lapin::Error> {
        let Some(last) = receipt.tags.last() else {
            return Ok(());
        };
        let is_covered = self.acknowledged.is_covered_by(&receipt.tags);
        self.acknowledged.add(&receipt.tags);
        if is_covered {
            let due = self
                .unsent
                .map_or_else(|| Instant::now() + ACKNOWLEDGED_WITHIN, |unsent| unsent.due);
            let events = receipt.tags.len() + self.unsent.map_or(0, |unsent| unsent.events);
            self.unsent = Some(Unsent {
                up_to: *last,
                events,
                due,
            });
            // Nothing comes any more once it is paused, and nobody would ask again.
            let together = ACKNOWLEDGED_TOGETHER.min(usize::from(self.wanted.prefetch) / 4);
            if self.is_paused || events >= together || due <= Instant::now() {
                self.send_acknowledgement().await?;
            }
        } else {
            for tag in &receipt.tags {
                self.channel
                    .basic_ack(*tag, BasicAckOptions { multiple: false })
                    .await?;
            }
        }
        Ok(())
    }

    /// Sends what waits to be acknowledged. Cancel-safe: lapin has the frame once it is asked.
    pub async fn send_acknowledgement(&mut self) -> Result<(), lapin::Error> {
        if let Some(Unsent { up_to, .. }) = self.unsent.take() {
            self.channel
                .basic_ack(up_to, BasicAckOptions { multiple: true })
                .await?;
        }
        Ok(())
    }

    /// Gives back all that is not acknowledged, the broker's own way, and ends. It counts as a delivery of each event before
    /// RabbitMQ 4.3.
    pub async fn return_all(mut self) {
        if self.send_acknowledgement().await.is_err() {
            return;
        }
        // The tag 0 stands for all that were delivered.
        let nack = self.channel.basic_nack(
            0,
            BasicNackOptions {
                multiple: true,
                requeue: true,
            },
        );
        // Where it fails, the end of the channel does the same.
        drop(timeout(CANCEL_TIMEOUT, nack).await);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // One that is begun is on its way.
        drop(self.send_acknowledgement().now_or_never());
    }
}

async fn consume(channel: &Channel, wanted: &Wanted) -> Result<lapin::Consumer, lapin::Error> {
    // Quorum queues refuse a limit that channels share. It holds for the consumers made after it.
    channel
        .basic_qos(wanted.prefetch, BasicQosOptions { global: false })
        .await?;
    let options = BasicConsumeOptions {
        no_local: false,
        no_ack: false,
        exclusive: false,
        nowait: false,
    };
    if wanted.source == Source::Rescued {
        topology::bind_rescued(channel, &wanted.names).await?;
    }
    // An empty tag: the broker makes one.
    channel
        .basic_consume(
            wanted.queue().into(),
            "".into(),
            options,
            consumer_arguments(),
        )
        .await
}

/// How long the broker waits for an acknowledgement, in milliseconds: its own default, whatever is set there. Known from RabbitMQ
/// 4.3 on; older ones go by their configuration and do not read this.
const CONSUMER_TIMEOUT_MS: i64 = 30 * 60 * 1000;

fn consumer_arguments() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-consumer-timeout".into(),
        AMQPValue::LongLongInt(CONSUMER_TIMEOUT_MS),
    );
    arguments
}

/// Which tags of a channel are acknowledged.
#[derive(Debug, Default)]
struct Acknowledged {
    /// Every one up to this.
    up_to: u64,
    /// And these, after the first that is not.
    beyond: BTreeSet<u64>,
}

impl Acknowledged {
    /// Whether these, ascending, are all up to their last that are not acknowledged.
    fn is_covered_by(&self, tags: &[u64]) -> bool {
        let Some(last) = tags.last() else {
            return false;
        };
        let before = self.beyond.range(..last).count() + tags.len();
        u64::try_from(before).ok() == last.checked_sub(self.up_to)
    }

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
    fn an_acknowledgement_covers_others_only_where_nothing_is_left_out() {
        let mut acknowledged = Acknowledged::default();
        assert!(acknowledged.is_covered_by(&[1, 2, 3]));
        acknowledged.add(&[1, 2, 3]);
        assert!(!acknowledged.is_covered_by(&[5, 6]), "4 is in hand");
        acknowledged.add(&[5, 6]);
        assert!(!acknowledged.is_covered_by(&[8, 9]));
        assert!(acknowledged.is_covered_by(&[4, 7, 8]), "5 and 6 are done");
        acknowledged.add(&[8]);
        assert!(acknowledged.is_covered_by(&[4]));
        acknowledged.add(&[4]);
        assert_eq!((acknowledged.up_to, acknowledged.beyond.len()), (6, 1));
        acknowledged.add(&[7]);
        assert_eq!((acknowledged.up_to, acknowledged.beyond.len()), (8, 0));
        assert!(acknowledged.is_covered_by(&[9, 10]));
    }
}
