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
    /// Counts subscriptions, so that an acknowledgement never meets a younger one.
    serial: u64,
    backoff: Backoff,
    stopping: bool,
}

/// One life of the consumer: a channel of one epoch.
struct Subscription {
    epoch: Arc<Epoch>,
    channel: Channel,
    deliveries: lapin::Consumer,
    serial: u64,
}

/// Names the last delivery of a batch, and with it all before.
pub struct Receipt {
    last: Acker,
    serial: u64,
}

impl Consumer {
    pub(super) fn new(link: Link, queue: String, batch_max: NonZeroUsize) -> Self {
        let backoff = Backoff::for_outage();
        Self { link, queue, batch_max, subscription: None, serial: 0, backoff, stopping: false }
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
            let first = tokio::select! {
                biased;
                () = subscription.epoch.over() => None,
                delivery = subscription.deliveries.next() => delivery.and_then(Result::ok),
            };
            if let Some(first) = first {
                self.backoff.reset();
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
        let epoch = self.link.opened().await?;
        match self.consume(&epoch).await {
            Ok((channel, deliveries)) => {
                self.serial += 1;
                self.subscription = Some(Subscription { epoch, channel, deliveries, serial: self.serial });
            }
            Err(error) => {
                warn!(%error, queue = self.queue, "the queue cannot be consumed; trying again");
                epoch.abandon();
                self.backoff.wait().await;
            }
        }
        Some(())
    }

    async fn consume(&self, epoch: &Epoch) -> Result<(Channel, lapin::Consumer), lapin::Error> {
        let channel = epoch.connection.create_channel().await?;
        let prefetch = (self.batch_max.get() * PREFETCH_BATCHES).min(PREFETCH_MAX);
        let prefetch = u16::try_from(prefetch).unwrap_or(u16::MAX);
        // Quorum queues refuse a limit that channels share.
        channel.basic_qos(prefetch, BasicQosOptions { global: false }).await?;
        let options = BasicConsumeOptions { no_local: false, no_ack: false, exclusive: false, nowait: false };
        // An empty tag: the broker makes one.
        let deliveries =
            channel.basic_consume(self.queue.as_str().into(), "".into(), options, FieldTable::default()).await?;
        Ok((channel, deliveries))
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
        if let Some(Subscription { channel, deliveries, .. }) = &self.subscription {
            let cancelled = channel.basic_cancel(deliveries.tag(), BasicCancelOptions { nowait: false }).await;
            if cancelled.is_err() {
                self.subscription = None;
            }
        }
    }
}

impl Subscription {
    /// The first delivery and what is there already.
    fn batch(&mut self, first: Delivery, batch_max: NonZeroUsize) -> Batch {
        let mut last = first.acker.clone();
        let mut events = vec![wire::restore(first)];
        while events.len() < batch_max.get()
            && let Some(Some(Ok(delivery))) = self.deliveries.next().now_or_never()
        {
            last = delivery.acker.clone();
            events.push(wire::restore(delivery));
        }
        Batch { events, receipt: crate::queue::Receipt::RabbitMq(Receipt { last, serial: self.serial }) }
    }
}
