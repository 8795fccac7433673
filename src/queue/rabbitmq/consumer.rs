//! Takes deliveries in batches and acknowledges them together.
//!
//! One consumer, one channel: an acknowledgement of several covers all before it on the channel, and two of them under way
//! at once could overtake each other, which closes the channel.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::timeout;
use tracing::warn;

use super::channel::{CANCEL_TIMEOUT, Subscription, Tags, Wanted, has_suspects};
use super::connection::Link;
use super::prefetch::Prefetch;
use super::prefetched::Delivered;
use super::topology::Names;
use crate::backoff::Backoff;
use crate::queue::{Batch, ConsumerOptions, Source, Unavailable};

/// How long the broker may take to make a consumer.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);

pub struct Consumer {
    link: Link,
    names: Arc<Names>,
    source: Source,
    taking: ConsumerOptions,
    prefetch: Prefetch,
    subscription: Option<Subscription>,
    /// Kept over calls: to begin anew at each would give back, and count, what the broker had sent ahead.
    subscribing: Option<BoxFuture<'static, Option<Subscription>>>,
    /// A subscription on its way to another prefetch, with what it has in hand. Takes some seconds at most.
    resuming: Option<BoxFuture<'static, Option<Subscription>>>,
    stopping: bool,
}

impl Consumer {
    pub(super) fn new(
        link: Link,
        names: Arc<Names>,
        source: Source,
        taking: ConsumerOptions,
    ) -> Self {
        Self {
            link,
            names,
            source,
            taking,
            prefetch: match source {
                _ if has_suspects(source) => Prefetch::suspicious(taking),
                Source::Rescued => Prefetch::rescued(taking),
                _ => Prefetch::of(taking),
            },
            subscription: None,
            subscribing: None,
            resuming: None,
            stopping: false,
        }
    }

    /// Whether its queue counts deliveries in vain, and ends an event by their number.
    pub(super) fn counts_deliveries(&self) -> bool {
        has_suspects(self.source)
    }

    /// See `queue::Consumer::next_batch`.
    pub async fn next_batch(&mut self) -> Option<Batch> {
        self.next_batch_of(None).await
    }

    /// See `queue::Consumer::next_full_batch`.
    pub async fn next_full_batch(&mut self) -> Option<Batch> {
        self.next_batch_of(Some(self.taking.batch_max.get())).await
    }

    /// Nothing is awaited once a batch is taken, so nothing is lost by cancelling.
    async fn next_batch_of(&mut self, count: Option<usize>) -> Option<Batch> {
        loop {
            self.resume().await;
            let Some(subscription) = &mut self.subscription else {
                if self.stopping {
                    return None;
                }
                self.subscribe().await?;
                continue;
            };
            if subscription.has_in_hand() {
                self.prefetch.begin();
            }
            if subscription.prefetch() != self.prefetch.now() && !self.stopping {
                self.subscribe_again();
                continue;
            }
            let is_there = match count {
                Some(count) => subscription.has_many(count).await,
                None => subscription.has_some().await,
            };
            if is_there && subscription.is_full() && !self.stopping {
                // Consumed again once nothing is left here.
                self.resuming = self
                    .subscription
                    .take()
                    .map(|subscription| paused(subscription).boxed());
                continue;
            }
            if is_there && let Some(batch) = subscription.batch(self.taking.batch_max) {
                self.prefetch.learn(&batch);
                return Some(batch);
            }
            let is_over = subscription.epoch.is_over();
            if self.stopping && !is_over {
                // The channel is kept, so that what is still in hand can be acknowledged.
                return None;
            }
            if subscription.is_paused() && !is_over {
                self.subscribe_again();
                continue;
            }
            // The connection broke, or the queue was deleted: all of it is built anew, the queue too.
            subscription.epoch.abandon();
            self.subscription = None;
        }
    }

    fn wanted(&self) -> Wanted {
        Wanted {
            names: Arc::clone(&self.names),
            source: self.source,
            prefetch: self.prefetch.now(),
        }
    }

    /// Waits for a connection and consumes on it; nothing once the link is closed.
    async fn subscribe(&mut self) -> Option<()> {
        let (link, wanted) = (&self.link, self.wanted());
        let subscribing = self
            .subscribing
            .get_or_insert_with(|| subscribed(link.clone(), wanted).boxed());
        let subscription = subscribing.await;
        self.subscribing = None;
        self.subscription = Some(subscription?);
        Some(())
    }

    /// Consumes on the same channel, with the prefetch that is wanted now.
    fn subscribe_again(&mut self) {
        let Some(subscription) = self.subscription.take() else {
            return;
        };
        self.resuming = Some(resumed(subscription, self.prefetch.now()).boxed());
    }

    /// Waits for a subscription that is on its way to another prefetch. Cancel-safe.
    async fn resume(&mut self) {
        if let Some(resuming) = &mut self.resuming {
            self.subscription = resuming.await;
            self.resuming = None;
        }
    }

    /// Has the broker send nothing more until the next batch is asked for and nothing is left here. What waits here is
    /// handed out before. False where the connection is gone, and all that was in hand with it.
    pub async fn pause(&mut self) -> bool {
        self.resume().await;
        let Some(subscription) = &mut self.subscription else {
            return false;
        };
        if subscription.epoch.is_over() {
            return false;
        }
        let is_paused = subscription.pause().await;
        if !is_paused {
            subscription.epoch.abandon();
        }
        is_paused
    }

    /// All that waits here: what was sent ahead.
    pub(super) fn take_ahead(&mut self) -> Vec<Delivered> {
        self.subscription
            .as_mut()
            .map_or_else(Vec::new, Subscription::take_ahead)
    }

    pub(super) fn put_ahead(&mut self, delivered: Vec<Delivered>) {
        if let Some(subscription) = &mut self.subscription {
            subscription.put_ahead(delivered);
        }
    }

    /// Takes a batch back, as if it had not been handed out. One that is not of this life is delivered again.
    pub(super) fn take_back(&mut self, batch: Batch) {
        if let Some(subscription) = &mut self.subscription {
            subscription.take_back(batch);
        }
    }

    /// What waits here, as a batch.
    pub(super) fn batch_of_ahead(&mut self) -> Option<Batch> {
        self.subscription.as_mut()?.batch(self.taking.batch_max)
    }

    /// Acknowledges the batch, and no other one.
    pub async fn ack(&mut self, receipt: Tags) -> Result<(), Unavailable> {
        self.resume().await;
        let events = receipt.count();
        self.acknowledge(receipt).await?;
        if let Some(subscription) = &mut self.subscription {
            subscription.is_out_of_hand(events);
        }
        Ok(())
    }

    async fn acknowledge(&mut self, receipt: Tags) -> Result<(), Unavailable> {
        let mine = |open: &&mut Subscription| open.is_of(&receipt) && !open.epoch.is_over();
        let Some(subscription) = self.subscription.as_mut().filter(mine) else {
            return Err(Unavailable::new(
                "the connection that delivered the batch is gone",
            ));
        };
        if subscription.acknowledge(&receipt).await.is_err() {
            subscription.epoch.abandon();
            return Err(Unavailable::new("the batch could not be acknowledged"));
        }
        Ok(())
    }

    pub(super) async fn ack_delivered(
        &mut self,
        delivered: &[Delivered],
    ) -> Result<(), Unavailable> {
        let receipt = self
            .subscription
            .as_ref()
            .map(|subscription| subscription.tags_of(delivered));
        match receipt {
            Some(receipt) => self.acknowledge(receipt).await,
            None => Err(Unavailable::new(
                "the connection that delivered the batch is gone",
            )),
        }
    }

    /// Gives back all that is not acknowledged, the broker's own way.
    pub(super) async fn return_all(&mut self) {
        if let Some(subscription) = self
            .subscription
            .take()
            .filter(|subscription| !subscription.epoch.is_over())
        {
            subscription.return_all().await;
        }
    }

    /// What the broker sent ahead is still handed out: to give it back would count as a delivery of each event.
    pub async fn stop(&mut self) {
        self.stopping = true;
        self.subscribing = None;
        // Otherwise what it has in hand is delivered again.
        drop(timeout(CANCEL_TIMEOUT, self.resume()).await);
        self.resuming = None;
        if let Some(subscription) = &mut self.subscription
            && !subscription.pause().await
        {
            self.subscription = None;
        }
    }
}

/// Waits for a connection and makes a consumer on it, through any outage; nothing once the link is closed.
async fn subscribed(link: Link, wanted: Wanted) -> Option<Subscription> {
    let mut backoff = Backoff::for_outage();
    loop {
        let epoch = link.opened().await?;
        let queue = wanted.queue();
        match timeout(
            SUBSCRIBE_TIMEOUT,
            Subscription::begin(Arc::clone(&epoch), wanted.clone()),
        )
        .await
        {
            Ok(Ok(subscription)) => return Some(subscription),
            Ok(Err(error)) => warn!(%error, queue, "the queue cannot be consumed; trying again"),
            Err(_) => warn!(
                queue,
                "the queue cannot be consumed, RabbitMQ does not answer; trying again"
            ),
        }
        epoch.abandon();
        backoff.wait().await;
    }
}

/// The same subscription, and nothing more comes. Nothing where that fails.
async fn paused(mut subscription: Subscription) -> Option<Subscription> {
    if subscription.pause().await {
        return Some(subscription);
    }
    subscription.epoch.abandon();
    None
}

/// The same subscription with another prefetch; what waits there and what is in hand stay valid. Nothing where that fails: then
/// its connection is of no use, and all of it is delivered again.
async fn resumed(mut subscription: Subscription, prefetch: u16) -> Option<Subscription> {
    let epoch = Arc::clone(&subscription.epoch);
    if subscription.pause().await {
        let resumed = timeout(SUBSCRIBE_TIMEOUT, subscription.resume(prefetch)).await;
        if let Ok(Ok(subscription)) = resumed {
            return Some(subscription);
        }
    }
    // Deleted in between, or silent.
    epoch.abandon();
    None
}
