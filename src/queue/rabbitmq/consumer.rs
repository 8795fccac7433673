//! The consumer of RabbitMQ: takes deliveries in batches, through any outage.

use std::mem::replace;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::warn;

use super::connection::Connection;
use super::consumer_channel::{CANCEL_TIMEOUT, ConsumerChannel, Subscription, counts_deliveries};
use super::marks::Marks;
use super::prefetch::Prefetch;
use super::publisher::Publisher;
use super::taken::TakenCount;
use super::topology::Names;
use crate::backoff::Backoff;
use crate::queue::batch::{Batch, ConsumerOptions, DeliveryTags, Source};
use crate::queue::error::{PUBLISH_TIMEOUT, Unavailable};

/// How long the broker may take to create a consumer.
const CONSUME_TIMEOUT: Duration = Duration::from_secs(10);

/// Most events that are published again at once: as many as the channels take, and far below what
/// may wait for them.
const REPUBLISHED_AT_ONCE: usize = 256;

/// A consumer of one source. It connects by itself.
pub struct Consumer {
    connection: Connection,
    publisher: Publisher,
    names: Arc<Names>,
    marks: Arc<Marks>,
    source: Source,
    options: ConsumerOptions,
    prefetch: Prefetch,
    taken: TakenCount,
    state: ConsumerState,
}

/// What a consumer does. The futures are kept over calls: to drop one would return the prefetched
/// events to the broker, and count a delivery of each.
enum ConsumerState {
    /// Waits for a connection and opens a channel; `None` once the connection is closed for good.
    Connecting(BoxFuture<'static, Option<ConsumerChannel>>),
    /// The channel delivers, or is paused.
    Open(ConsumerChannel),
    /// The channel is being paused or resumed with another prefetch; `None` if that fails. Takes
    /// some seconds at most.
    Changing(BoxFuture<'static, Option<ConsumerChannel>>),
    /// After `stop`: prefetched events are taken and acknowledged, and no more arrive.
    Draining(ConsumerChannel),
    Stopped,
}

impl Consumer {
    pub(super) fn new(
        connection: Connection,
        publisher: Publisher,
        (names, marks): (Arc<Names>, Arc<Marks>),
        (source, options): (Source, ConsumerOptions),
        taken: TakenCount,
    ) -> Self {
        let mut consumer = Self {
            connection,
            publisher,
            names,
            marks,
            source,
            options,
            prefetch: Prefetch::new(source, options),
            taken,
            state: ConsumerState::Stopped,
        };
        consumer.connect();
        consumer
    }

    /// See `queue::Consumer::next_batch`.
    pub async fn next_batch(&mut self) -> Option<Batch> {
        self.next_batch_of(1).await
    }

    /// See `queue::Consumer::next_full_batch`.
    pub async fn next_full_batch(&mut self) -> Option<Batch> {
        self.next_batch_of(self.options.batch_max.get()).await
    }

    /// Cancel-safe: nothing is awaited once a batch is taken.
    async fn next_batch_of(&mut self, count: usize) -> Option<Batch> {
        loop {
            match &mut self.state {
                ConsumerState::Connecting(connecting) => {
                    let opened = connecting.await;
                    self.state = opened.map_or(ConsumerState::Stopped, ConsumerState::Open);
                }
                ConsumerState::Changing(_) => self.finish_change().await,
                ConsumerState::Open(channel) => {
                    if channel.has_in_flight() {
                        self.prefetch.raise();
                    }
                    if channel.prefetch() != self.prefetch.now() {
                        self.change(Some(self.prefetch.now()));
                        continue;
                    }
                    let is_there = channel.wait_for(count).await;
                    if is_there && channel.is_full() {
                        // Consumed again once all prefetched events are taken.
                        self.change(None);
                        continue;
                    }
                    if let Some(batch) = channel.take_batch(self.options.batch_max) {
                        self.prefetch.learn(&batch);
                        return Some(batch);
                    }
                    if channel.is_paused() && !channel.session.is_ended() {
                        self.change(Some(self.prefetch.now()));
                    } else {
                        // The connection is lost, or the queue was deleted: all is created again,
                        // the queue too.
                        channel.session.end();
                        self.connect();
                    }
                }
                ConsumerState::Draining(channel) => {
                    return channel.take_batch(self.options.batch_max);
                }
                ConsumerState::Stopped => return None,
            }
        }
    }

    fn connect(&mut self) {
        let subscription = Subscription {
            names: Arc::clone(&self.names),
            marks: Arc::clone(&self.marks),
            source: self.source,
            prefetch: self.prefetch.now(),
            taken: self.taken.clone(),
        };
        self.state = ConsumerState::Connecting(open(self.connection.clone(), subscription).boxed());
    }

    /// Pauses the open channel, and resumes it with `prefetch` if that is given.
    fn change(&mut self, prefetch: Option<u16>) {
        match replace(&mut self.state, ConsumerState::Stopped) {
            ConsumerState::Open(channel) => {
                self.state = ConsumerState::Changing(changed(channel, prefetch).boxed())
            }
            other => self.state = other,
        }
    }

    /// Waits for a channel that changes. Cancel-safe.
    async fn finish_change(&mut self) {
        if let ConsumerState::Changing(changing) = &mut self.state {
            match changing.await {
                Some(channel) => self.state = ConsumerState::Open(channel),
                None => self.connect(),
            }
        }
    }

    /// The channel, unless its connection is lost.
    async fn channel(&mut self) -> Option<&mut ConsumerChannel> {
        self.finish_change().await;
        match &mut self.state {
            ConsumerState::Open(channel) | ConsumerState::Draining(channel) => {
                Some(channel).filter(|channel| !channel.session.is_ended())
            }
            ConsumerState::Connecting(_) | ConsumerState::Changing(_) | ConsumerState::Stopped => {
                None
            }
        }
    }

    /// See `queue::Consumer::count_arrived`.
    pub fn count_arrived(&mut self) {
        if let ConsumerState::Open(channel) | ConsumerState::Draining(channel) = &mut self.state {
            channel.take_arrived();
        }
    }

    /// See `queue::Consumer::pause`. Returns false if the connection is lost: then everything in
    /// flight is delivered again.
    pub async fn pause(&mut self) -> bool {
        match self.channel().await {
            Some(channel) => {
                let is_paused = channel.pause().await;
                if !is_paused {
                    channel.session.end();
                }
                is_paused
            }
            None => false,
        }
    }

    /// See `queue::Consumer::ack`.
    ///
    /// # Errors
    /// Fails if the channel that delivered the batch is closed.
    pub async fn ack(&mut self, tags: DeliveryTags) -> Result<(), Unavailable> {
        let acknowledged = match self.channel().await {
            Some(channel) => channel.acknowledge_batch(&tags).await,
            None => Err(()),
        };
        let lost = "the connection that delivered the batch is lost";
        acknowledged.map_err(|()| Unavailable::new(lost))
    }

    /// See `queue::Consumer::return_all`.
    pub async fn return_all(&mut self, batches: Vec<Batch>, force: bool) -> Option<Batch> {
        if !self.pause().await {
            return None;
        }
        let channel = self.channel().await?;
        for batch in batches.into_iter().rev() {
            channel.prepend_batch(batch);
        }
        if self.republish_prefetched().await == 0 {
            return None;
        }
        if !force && counts_deliveries(self.source) {
            let batch_max = self.options.batch_max;
            return self.channel().await?.take_batch(batch_max);
        }
        if let ConsumerState::Open(channel) | ConsumerState::Draining(channel) =
            replace(&mut self.state, ConsumerState::Stopped)
        {
            channel.nack_all().await;
        }
        None
    }

    /// See `queue::Consumer::return_prefetched`. Events that the queue does not take now are taken
    /// later: a nack would spend a delivery of each event for certain, and to keep it does so only
    /// if the process dies.
    pub async fn return_prefetched(&mut self) {
        if self.pause().await {
            self.republish_prefetched().await;
        }
    }

    /// Publishes the prefetched events again, and acknowledges those that the queue takes. Returns
    /// the number of the others. The channel must be paused.
    ///
    /// A quorum queue counts every delivery that ends without an acknowledgement, by a kill or by a
    /// nack (RabbitMQ's guide to quorum queues, "Poison Message Handling"; before 4.3 there is no
    /// other return). A long outage would spend the limit of good events. The count of a message
    /// that is published again starts at 0, but a possible poison message is marked.
    async fn republish_prefetched(&mut self) -> usize {
        let (source, publisher) = (self.source, self.publisher.clone());
        let Some(channel) = self.channel().await else {
            return 0;
        };
        let prefetched = channel.take_prefetched();
        let deadline = Instant::now() + PUBLISH_TIMEOUT;
        // After the first refusal no other event is published.
        let refused = AtomicBool::new(!counts_deliveries(source));
        let republish = async |event, may_be_poison| {
            let is_taken = !refused.load(Ordering::Relaxed) && {
                let publish = publisher.publish(event, may_be_poison);
                matches!(timeout_at(deadline, publish).await, Ok(Ok(())))
            };
            refused.fetch_or(!is_taken, Ordering::Relaxed);
            is_taken
        };
        let republishing: Vec<_> = prefetched
            .iter()
            .map(|delivered| republish(delivered.event.clone(), delivered.may_be_poison))
            .collect();
        let taken: Vec<bool> = stream::iter(republishing)
            .buffered(REPUBLISHED_AT_ONCE)
            .collect()
            .await;
        let (mut republished, mut rest) = (Vec::new(), Vec::new());
        for (delivered, is_taken) in prefetched.into_iter().zip(taken) {
            if is_taken {
                republished.push(delivered.tag);
            } else {
                rest.push(delivered);
            }
        }
        if channel.acknowledge(&republished).await.is_err() {
            // All are delivered again, those that were published too: a repetition changes nothing.
            return 0;
        }
        let count = rest.len();
        channel.prepend(rest);
        count
    }

    /// See `queue::Consumer::stop`. Prefetched events are still taken: to return them would count
    /// as a delivery of each.
    pub async fn stop(&mut self) {
        // Otherwise its events in flight are delivered again.
        drop(timeout(CANCEL_TIMEOUT, self.finish_change()).await);
        if let ConsumerState::Open(mut channel) | ConsumerState::Draining(mut channel) =
            replace(&mut self.state, ConsumerState::Stopped)
            && channel.pause().await
        {
            self.state = ConsumerState::Draining(channel);
        }
    }
}

/// Waits for a connection and opens a channel, through any outage; `None` once the connection is
/// closed for good.
async fn open(connection: Connection, subscription: Subscription) -> Option<ConsumerChannel> {
    let mut backoff = Backoff::for_outage();
    loop {
        let session = connection.opened().await?;
        let queue = subscription.names.of_source(subscription.source);
        let channel = ConsumerChannel::open(Arc::clone(&session), subscription.clone());
        match timeout(CONSUME_TIMEOUT, channel).await {
            Ok(Ok(channel)) => return Some(channel),
            Ok(Err(error)) => warn!(%error, queue, "the queue cannot be consumed; trying again"),
            Err(_) => warn!(
                queue,
                "the queue cannot be consumed, RabbitMQ does not answer; trying again"
            ),
        }
        session.end();
        backoff.wait().await;
    }
}

/// The same channel after a pause, resumed with `prefetch` if that is given; events prefetched and
/// in flight stay valid. `None` if that fails: then the session is ended, and all of them are
/// delivered again.
async fn changed(mut channel: ConsumerChannel, prefetch: Option<u16>) -> Option<ConsumerChannel> {
    if !channel.pause().await {
        channel.session.end();
        return None;
    }
    if let Some(prefetch) = prefetch {
        let resumed = timeout(CONSUME_TIMEOUT, channel.resume(prefetch)).await;
        if !matches!(resumed, Ok(Ok(()))) {
            // The queue was deleted meanwhile, or the broker does not answer.
            channel.session.end();
            return None;
        }
    }
    Some(channel)
}
