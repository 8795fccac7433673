//! Takes deliveries in batches and acknowledges them together.
//!
//! One consumer, one channel: an acknowledgement of several covers all before it on the channel, and two of them under way
//! at once could overtake each other, which closes the channel.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio::time::timeout;
use tracing::warn;

use super::link::{Epoch, Link};
use super::topology::DELIVERY_LIMIT;
use super::wire;
use crate::backoff::Backoff;
use crate::clerk::SignedEvent;
use crate::queue::{Batch, Unavailable};

/// Deliveries that the broker sends ahead, as a multiple of the batch: the next one is there when one is done.
const PREFETCH_BATCHES: usize = 2;

/// Most deliveries sent ahead; more only take memory (RabbitMQ's guide sees no gain above some hundreds).
const PREFETCH_MAX: usize = 2000;

/// Most bytes of bodies in one batch; one body may be larger. 500 bodies of the greatest size would take half a gigabyte.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Deliveries in vain from which on an event is suspected of killing whoever takes it: half of what the queue allows, so that
/// the other half can be spent on it alone.
const SUSPECTED_FROM: i64 = DELIVERY_LIMIT / 2;

/// How long the broker may take to make a consumer.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the broker may take to end one. A stop has no time for a connection that is dead and not known to be.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

pub struct Consumer {
    link: Link,
    queue: Arc<str>,
    batch_max: NonZeroUsize,
    subscription: Option<Subscription>,
    /// Kept over calls: to begin anew at each would give back, and count, what the broker had sent ahead.
    subscribing: Option<BoxFuture<'static, Option<Subscription>>>,
    stopping: bool,
}

/// One life of the consumer: a channel of one epoch.
struct Subscription {
    epoch: Arc<Epoch>,
    channel: Channel,
    deliveries: lapin::Consumer,
    /// A suspect that was taken with a batch, and not into it.
    suspect: Option<Delivery>,
    /// Tells it from every other, so that an acknowledgement never meets another channel.
    serial: u64,
    /// Every delivery up to this tag is acknowledged.
    acknowledged: u64,
    /// The stream has ended. It says so once, and a second question would wait forever.
    ended: bool,
}

/// The tags of a batch, which are without a gap, and the channel that they belong to.
pub struct Tags {
    serial: u64,
    first: u64,
    last: u64,
}

impl Consumer {
    pub(super) fn new(link: Link, queue: &str, batch_max: NonZeroUsize) -> Self {
        Self { link, queue: queue.into(), batch_max, subscription: None, subscribing: None, stopping: false }
    }

    pub(super) fn takes_from(&self, queue: &str) -> bool {
        &*self.queue == queue
    }

    /// See `queue::Consumer::next_batch`. Nothing is awaited once a delivery is taken, so nothing is lost by cancelling.
    pub async fn next_batch(&mut self) -> Option<Batch> {
        loop {
            let Some(subscription) = &mut self.subscription else {
                if self.stopping {
                    return None;
                }
                self.subscribe().await?;
                continue;
            };
            if let Some(first) = subscription.first().await {
                return Some(subscription.batch(first, self.batch_max));
            }
            if self.stopping && !subscription.epoch.is_over() {
                // The channel is kept, so that what is still in hand can be acknowledged.
                return None;
            }
            // The connection broke, or the queue was deleted: all of it is built anew, the queue too.
            subscription.epoch.abandon();
            self.subscription = None;
        }
    }

    /// What was sent ahead and waits here, suspects too; nothing where nothing is.
    pub(super) fn sent_ahead(&mut self) -> Option<Batch> {
        let subscription = self.subscription.as_mut()?;
        let first = subscription.suspect.take().or_else(|| subscription.waiting())?;
        let mut taken = Taken::of(first, subscription.serial);
        while let Some(next) = subscription.waiting() {
            taken.add(next);
        }
        Some(taken.into_batch())
    }

    /// Waits for a connection and consumes on it; nothing once the link is closed.
    async fn subscribe(&mut self) -> Option<()> {
        let subscribing = self.subscribing.get_or_insert_with(|| {
            let prefetch = self.batch_max.get().saturating_mul(PREFETCH_BATCHES).min(PREFETCH_MAX);
            let prefetch = u16::try_from(prefetch).expect("PREFETCH_MAX is below 65536");
            subscribed(self.link.clone(), Arc::clone(&self.queue), prefetch).boxed()
        });
        let subscription = subscribing.await;
        self.subscribing = None;
        self.subscription = Some(subscription?);
        Some(())
    }

    /// Acknowledges the batch, and no other one.
    pub async fn ack(&mut self, receipt: Tags) -> Result<(), Unavailable> {
        let mine = |open: &&mut Subscription| open.serial == receipt.serial && !open.epoch.is_over();
        let Some(subscription) = self.subscription.as_mut().filter(mine) else {
            return Err(Unavailable::new("the connection that delivered the batch is gone"));
        };
        if subscription.acknowledge(&receipt).await.is_err() {
            subscription.epoch.abandon();
            return Err(Unavailable::new("the batch could not be acknowledged"));
        }
        Ok(())
    }

    /// What the broker sent ahead is still handed out: to give it back would count as a delivery of each event.
    pub async fn stop(&mut self) {
        self.stopping = true;
        self.subscribing = None;
        let Some(Subscription { channel, deliveries, .. }) = &self.subscription else {
            return;
        };
        let cancel = channel.basic_cancel(deliveries.tag(), BasicCancelOptions { nowait: false });
        if !matches!(timeout(CANCEL_TIMEOUT, cancel).await, Ok(Ok(()))) {
            self.subscription = None;
        }
    }
}

impl Subscription {
    /// Waits for a delivery; nothing once there can be no more. Cancel-safe.
    async fn first(&mut self) -> Option<Delivery> {
        if let Some(suspect) = self.suspect.take() {
            return Some(suspect);
        }
        if self.ended {
            return None;
        }
        let delivery = tokio::select! {
            biased;
            () = self.epoch.over() => None,
            delivery = self.deliveries.next() => delivery.and_then(Result::ok),
        };
        self.ended = delivery.is_none();
        delivery
    }

    /// The first delivery and what is there already; a suspect alone.
    fn batch(&mut self, first: Delivery, batch_max: NonZeroUsize) -> Batch {
        let mut taken = Taken::of(first, self.serial);
        while !taken.suspect
            && taken.events.len() < batch_max.get()
            && taken.bytes < BATCH_BYTES_MAX
            && let Some(next) = self.waiting()
        {
            if is_suspect(&next) {
                self.suspect = Some(next);
                break;
            }
            taken.add(next);
        }
        taken.into_batch()
    }

    /// A delivery that is there already.
    fn waiting(&mut self) -> Option<Delivery> {
        let next = self.deliveries.next().now_or_never()?;
        self.ended = !matches!(next, Some(Ok(_)));
        next?.ok()
    }

    /// One acknowledgement covers all before it on the channel: where an older batch is not acknowledged, because it was
    /// dropped or is still in hand, each event is named alone.
    async fn acknowledge(&mut self, receipt: &Tags) -> Result<(), lapin::Error> {
        if receipt.first == self.acknowledged + 1 {
            self.channel.basic_ack(receipt.last, BasicAckOptions { multiple: true }).await?;
            self.acknowledged = receipt.last;
            return Ok(());
        }
        for tag in receipt.first..=receipt.last {
            self.channel.basic_ack(tag, BasicAckOptions { multiple: false }).await?;
        }
        Ok(())
    }
}

/// Deliveries on their way into a batch. Their tags are without a gap.
struct Taken {
    events: Vec<SignedEvent>,
    tags: Tags,
    bytes: usize,
    suspect: bool,
}

impl Taken {
    fn of(first: Delivery, serial: u64) -> Self {
        let tags = Tags { serial, first: first.delivery_tag, last: first.delivery_tag };
        let mut taken = Self { events: Vec::new(), tags, bytes: 0, suspect: is_suspect(&first) };
        taken.add(first);
        taken
    }

    fn add(&mut self, delivery: Delivery) {
        self.tags.last = delivery.delivery_tag;
        self.bytes += delivery.data.len();
        self.events.push(wire::restore(delivery));
    }

    fn into_batch(self) -> Batch {
        Batch { events: self.events, suspect: self.suspect, receipt: crate::queue::Receipt::RabbitMq(self.tags) }
    }
}

fn is_suspect(delivery: &Delivery) -> bool {
    wire::deliveries_in_vain(delivery) >= SUSPECTED_FROM
}

/// Waits for a connection and makes a consumer on it, through any outage; nothing once the link is closed.
async fn subscribed(link: Link, queue: Arc<str>, prefetch: u16) -> Option<Subscription> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let mut backoff = Backoff::for_outage();
    loop {
        let epoch = link.opened().await?;
        match timeout(SUBSCRIBE_TIMEOUT, consume(&epoch, &queue, prefetch)).await {
            Ok(Ok((channel, deliveries))) => {
                let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
                return Some(Subscription {
                    epoch,
                    channel,
                    deliveries,
                    suspect: None,
                    serial,
                    acknowledged: 0,
                    ended: false,
                });
            }
            Ok(Err(error)) => warn!(%error, queue = &*queue, "the queue cannot be consumed; trying again"),
            Err(_) => warn!(queue = &*queue, "the queue cannot be consumed, RabbitMQ does not answer; trying again"),
        }
        epoch.abandon();
        backoff.wait().await;
    }
}

async fn consume(epoch: &Epoch, queue: &str, prefetch: u16) -> Result<(Channel, lapin::Consumer), lapin::Error> {
    let channel = epoch.connection.create_channel().await?;
    // Quorum queues refuse a limit that channels share.
    channel.basic_qos(prefetch, BasicQosOptions { global: false }).await?;
    let options = BasicConsumeOptions { no_local: false, no_ack: false, exclusive: false, nowait: false };
    // An empty tag: the broker makes one.
    let deliveries = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?;
    Ok((channel, deliveries))
}
