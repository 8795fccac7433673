//! Takes deliveries in batches and acknowledges them together.
//!
//! One consumer, one channel: an acknowledgement of several covers all before it on the channel, and two of them under way
//! at once could overtake each other, which closes the channel.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::timeout;
use tracing::warn;

use super::link::Link;
use super::prefetch::Prefetch;
use super::subscription::{CANCEL_TIMEOUT, Delivered, Subscription, Tags, Wanted};
use crate::backoff::Backoff;
use crate::queue::{Batch, Unavailable};

/// How long the broker may take to make a consumer.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);

pub struct Consumer {
    link: Link,
    queue: Arc<str>,
    has_suspects: bool,
    batch_max: NonZeroUsize,
    prefetch: Prefetch,
    subscription: Option<Subscription>,
    /// Kept over calls: to begin anew at each would give back, and count, what the broker had sent ahead.
    subscribing: Option<BoxFuture<'static, Option<Subscription>>>,
    /// Whether what is in `subscribing` has events in hand.
    is_again: bool,
    stopping: bool,
}

impl Consumer {
    pub(super) fn new(link: Link, queue: &str, has_suspects: bool, batch_max: NonZeroUsize) -> Self {
        Self {
            link,
            queue: queue.into(),
            has_suspects,
            batch_max,
            prefetch: Prefetch::of(batch_max),
            subscription: None,
            subscribing: None,
            is_again: false,
            stopping: false,
        }
    }

    /// Whether its queue counts deliveries in vain, and ends an event by their number.
    pub(super) fn counts_deliveries(&self) -> bool {
        self.has_suspects
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
            if subscription.prefetch() != self.prefetch.now() && !self.stopping {
                self.subscribe_again();
                continue;
            }
            if let Some(first) = subscription.first().await {
                let batch = subscription.batch(first, self.batch_max);
                let bytes = batch.events.iter().map(|event| event.body().len()).sum();
                self.prefetch.learn(batch.events.len(), bytes);
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
        let prefetch = self.prefetch.now();
        Wanted { queue: Arc::clone(&self.queue), has_suspects: self.has_suspects, prefetch }
    }

    /// Waits for a connection and consumes on it; nothing once the link is closed.
    async fn subscribe(&mut self) -> Option<()> {
        let (link, wanted) = (&self.link, self.wanted());
        let subscribing = self.subscribing.get_or_insert_with(|| subscribed(link.clone(), wanted).boxed());
        let subscription = subscribing.await;
        (self.subscribing, self.is_again) = (None, false);
        self.subscription = Some(subscription?);
        Some(())
    }

    /// Consumes on the same channel, with the prefetch that is wanted now.
    fn subscribe_again(&mut self) {
        let Some(subscription) = self.subscription.take() else { return };
        self.subscribing = Some(subscribed_again(subscription, self.link.clone(), self.wanted()).boxed());
        self.is_again = true;
    }

    /// Has the broker send nothing more until the next batch is asked for and nothing is left here. What waits here is
    /// handed out before. False where the connection is gone, and all that was in hand with it.
    pub(super) async fn pause(&mut self) -> bool {
        let Some(subscription) = &mut self.subscription else { return false };
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
        self.subscription.as_mut().map_or_else(Vec::new, Subscription::take_ahead)
    }

    pub(super) fn put_ahead(&mut self, delivered: Vec<Delivered>) {
        if let Some(subscription) = &mut self.subscription {
            subscription.put_ahead(delivered);
        }
    }

    /// Takes a batch back, as if it had not been handed out. False where it is not of this life: then it is delivered again.
    pub(super) fn take_back(&mut self, batch: Batch) -> bool {
        self.subscription.as_mut().is_some_and(|subscription| subscription.take_back(batch))
    }

    /// What waits here, as a batch.
    pub(super) fn batch_of_ahead(&mut self) -> Option<Batch> {
        let subscription = self.subscription.as_mut()?;
        let first = subscription.first().now_or_never().flatten()?;
        Some(subscription.batch(first, self.batch_max))
    }

    /// Acknowledges the batch, and no other one.
    pub async fn ack(&mut self, receipt: Tags) -> Result<(), Unavailable> {
        let mine = |open: &&mut Subscription| open.is_of(&receipt) && !open.epoch.is_over();
        let Some(subscription) = self.subscription.as_mut().filter(mine) else {
            return Err(Unavailable::new("the connection that delivered the batch is gone"));
        };
        if subscription.acknowledge(&receipt).await.is_err() {
            subscription.epoch.abandon();
            return Err(Unavailable::new("the batch could not be acknowledged"));
        }
        Ok(())
    }

    pub(super) async fn ack_delivered(&mut self, delivered: &[Delivered]) -> Result<(), Unavailable> {
        let receipt = self.subscription.as_ref().map(|subscription| subscription.tags_of(delivered));
        match receipt {
            Some(receipt) => self.ack(receipt).await,
            None => Err(Unavailable::new("the connection that delivered the batch is gone")),
        }
    }

    /// Gives back all that is not acknowledged, the broker's own way.
    pub(super) async fn return_all(&mut self) {
        if let Some(subscription) = self.subscription.take().filter(|subscription| !subscription.epoch.is_over()) {
            subscription.return_all().await;
        }
    }

    /// What the broker sent ahead is still handed out: to give it back would count as a delivery of each event.
    pub async fn stop(&mut self) {
        self.stopping = true;
        if let Some(subscribing) = self.subscribing.take().filter(|_| self.is_again) {
            self.subscription = timeout(CANCEL_TIMEOUT, subscribing).await.ok().flatten();
        }
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
        let queue = &*wanted.queue;
        match timeout(SUBSCRIBE_TIMEOUT, Subscription::begin(Arc::clone(&epoch), wanted.clone())).await {
            Ok(Ok(subscription)) => return Some(subscription),
            Ok(Err(error)) => warn!(%error, queue, "the queue cannot be consumed; trying again"),
            Err(_) => warn!(queue, "the queue cannot be consumed, RabbitMQ does not answer; trying again"),
        }
        epoch.abandon();
        backoff.wait().await;
    }
}

/// The same on a channel that is there; what waits there and what is in hand stay valid. Where that fails, all is begun anew.
async fn subscribed_again(mut subscription: Subscription, link: Link, wanted: Wanted) -> Option<Subscription> {
    let epoch = Arc::clone(&subscription.epoch);
    if subscription.pause().await {
        let resumed = timeout(SUBSCRIBE_TIMEOUT, subscription.resume(wanted.prefetch)).await;
        if let Ok(Ok(subscription)) = resumed {
            return Some(subscription);
        }
    }
    // Deleted in between, or silent.
    epoch.abandon();
    subscribed(link, wanted).await
}
