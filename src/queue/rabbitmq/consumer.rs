//! Takes deliveries in batches and acknowledges them together.
//!
//! One consumer, one channel: an acknowledgement of several covers all before it on the channel, and two of them under way
//! at once could overtake each other, which closes the channel.

use std::num::NonZeroUsize;
use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};
use lapin::{Acker, Channel};

use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio::task::JoinHandle;
use tracing::warn;

use super::link::{Epoch, Link};
use super::wire;
use crate::backoff::Backoff;
use crate::queue::{Batch, Unavailable};

/// Deliveries that the broker sends ahead, as a multiple of the batch: the next one is there when one is done.
const PREFETCH_BATCHES: usize = 2;

/// Most deliveries sent ahead; more only take memory (RabbitMQ's guide sees no gain above some hundreds).
const PREFETCH_MAX: usize = 2000;

pub struct Consumer {
    link: Link,
    queue: String,
    batch_max: NonZeroUsize,
    subscription: Option<Subscription>,
    /// The next subscription while it is made: by a task, so that it goes on when `next_batch` is cancelled.
    opening: Option<AbortOnDropHandle>,
    /// Counts subscriptions, so that an acknowledgement never meets a younger one.
    serial: u64,
    stopping: bool,
}

/// A task that ends with its handle.
struct AbortOnDropHandle(JoinHandle<Option<Opened>>);

impl Drop for AbortOnDropHandle {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a subscription is made of.
struct Opened {
    epoch: Arc<Epoch>,
    channel: Channel,
    deliveries: lapin::Consumer,
}

/// One life of the consumer: a channel of one epoch.
struct Subscription {
    epoch: Arc<Epoch>,
    channel: Channel,
    deliveries: lapin::Consumer,
    /// The stream has said that nothing more comes; it says so only once.
    ended: bool,
    serial: u64,
}

/// Names the last delivery of a batch, and with it all before.
pub struct Receipt {
    last: Acker,
    serial: u64,
}

impl Consumer {
    pub(super) fn new(link: Link, queue: String, batch_max: NonZeroUsize) -> Self {
        Self { link, queue, batch_max, subscription: None, opening: None, serial: 0, stopping: false }
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
            // The connection broke, or the queue was deleted: all of it is built anew, the queue too.
            if !self.stopping {
                subscription.epoch.abandon();
            }
            self.subscription = None;
        }
    }

    /// Waits for a connection and consumes on it; nothing once the link is closed.
    async fn subscribe(&mut self) -> Option<()> {
        let opening = self.opening.get_or_insert_with(|| {
            let open = open(self.link.clone(), self.queue.clone(), self.batch_max);
            AbortOnDropHandle(tokio::spawn(open))
        });
        let opened = (&mut opening.0).await;
        self.opening = None;
        // Fails only where the task panicked or the runtime ends.
        let Opened { epoch, channel, deliveries } = opened.ok().flatten()?;
        self.serial += 1;
        self.subscription = Some(Subscription { epoch, channel, deliveries, ended: false, serial: self.serial });
        Some(())
    }

    pub async fn ack(&mut self, receipt: Receipt) -> Result<(), Unavailable> {
        let Some(subscription) = self.subscription.as_ref().filter(|open| open.serial == receipt.serial) else {
            return Err(Unavailable::new("the connection that delivered the batch is gone"));
        };
        // `false` says that the channel is gone.
        if receipt.last.ack(BasicAckOptions { multiple: true }).await.unwrap_or(false) {
            return Ok(());
        }
        subscription.epoch.abandon();
        Err(Unavailable::new("the batch could not be acknowledged"))
    }

    /// What the broker sent ahead is still handed out: to give it back would count as a delivery of each event.
    pub async fn stop(&mut self) {
        self.stopping = true;
        self.opening = None;
        if let Some(Subscription { channel, deliveries, .. }) = &self.subscription {
            let cancelled = channel.basic_cancel(deliveries.tag(), BasicCancelOptions { nowait: false }).await;
            if cancelled.is_err() {
                self.subscription = None;
            }
        }
    }
}

/// Tries until it consumes, or the link is closed.
async fn open(link: Link, queue: String, batch_max: NonZeroUsize) -> Option<Opened> {
    let mut backoff = Backoff::for_outage();
    loop {
        let epoch = link.opened().await?;
        match consume(&epoch, &queue, batch_max).await {
            Ok((channel, deliveries)) => return Some(Opened { epoch, channel, deliveries }),
            Err(error) => {
                warn!(%error, queue, "the queue cannot be consumed; trying again");
                epoch.abandon();
                backoff.wait().await;
            }
        }
    }
}

async fn consume(
    epoch: &Epoch,
    queue: &str,
    batch_max: NonZeroUsize,
) -> Result<(Channel, lapin::Consumer), lapin::Error> {
    let channel = epoch.connection.create_channel().await?;
    let prefetch = (batch_max.get() * PREFETCH_BATCHES).min(PREFETCH_MAX);
    let prefetch = u16::try_from(prefetch).unwrap_or(u16::MAX);
    // Quorum queues refuse a limit that channels share.
    channel.basic_qos(prefetch, BasicQosOptions { global: false }).await?;
    let options = BasicConsumeOptions { no_local: false, no_ack: false, exclusive: false, nowait: false };
    // An empty tag: the broker makes one.
    let deliveries = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?;
    Ok((channel, deliveries))
}

impl Subscription {
    /// Waits for a delivery; nothing when no more can come.
    async fn first(&mut self) -> Option<Delivery> {
        if self.ended {
            return None;
        }
        tokio::select! {
            biased;
            () = self.epoch.over() => None,
            delivery = self.deliveries.next() => delivery.and_then(Result::ok),
        }
    }

    /// The first delivery and what is there already.
    fn batch(&mut self, first: Delivery, batch_max: NonZeroUsize) -> Batch {
        let mut last = first.acker.clone();
        let mut events = vec![wire::restore(first)];
        while events.len() < batch_max.get() {
            match self.deliveries.next().now_or_never() {
                Some(Some(Ok(delivery))) => {
                    last = delivery.acker.clone();
                    events.push(wire::restore(delivery));
                }
                Some(Some(Err(_)) | None) => {
                    self.ended = true;
                    break;
                }
                None => break,
            }
        }
        Batch { events, receipt: crate::queue::Receipt::RabbitMq(Receipt { last, serial: self.serial }) }
    }
}
