//! The queue on RabbitMQ, for any number of receivers and workers.
//!
//! Two connections: one publishes, one consumes, since a memory alarm stops every connection that publishes. Each is an
//! epoch (`link.rs`): when anything on it breaks, all of it is dropped and built anew, so that no half-alive channel, no
//! acknowledgement of an older connection and no old topology is ever met.
//!
//! lapin's own recovery is off: it is young, and a fresh connection is simpler to reason about.

mod consumer;
mod link;
mod publisher;
mod topology;
mod wire;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lapin::uri::AMQPUri;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::oneshot;

use super::{OpenError, PublishError, Source, Unavailable};
use crate::clerk::SignedEvent;
use link::{Broker, Link};
use publisher::Publisher;
use topology::Names;

pub use consumer::{Consumer, Receipt};

/// Which broker, and the prefix of all names there. Plain data.
#[derive(Debug, Clone)]
pub struct Options {
    pub url: SecretString,
    pub namespace: String,
}

/// A handle on the broker. Clones share its connections.
#[derive(Clone)]
pub struct Queue {
    names: Arc<Names>,
    publishing: Link,
    consuming: Link,
    publisher: Publisher,
}

/// Longest wait for an answer about the queue.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);

impl Queue {
    /// Starts to connect in the background. Must be called on the program's own runtime, which outlives every request.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        let uri: AMQPUri = options.url.expose_secret().parse().map_err(|_| {
            OpenError("AMQP_URL cannot be read; give a URL such as amqp://user:password@host:5672/%2f".into())
        })?;
        let names = Arc::new(Names::new(&options.namespace));
        let broker = Broker { uri, names: Arc::clone(&names) };
        let publishing = Link::new(broker.clone(), "publish");
        publishing.want();
        let publisher = Publisher::start(&publishing, &names);
        Ok(Self { consuming: Link::new(broker, "consume"), names, publishing, publisher })
    }

    /// See `queue::Queue::publish`. Fails at once while the broker is away or blocked, or too much waits already.
    pub async fn publish(&self, event: SignedEvent) -> Result<(), PublishError> {
        if self.publishing.ready().is_err() {
            return Err(PublishError::Unavailable);
        }
        let (answer, answered) = oneshot::channel();
        self.publisher.hand_over(event, answer)?;
        answered.await.unwrap_or(Err(PublishError::Unavailable))
    }

    pub fn consume(&self, source: Source, batch_max: NonZeroUsize) -> Consumer {
        self.consuming.want();
        Consumer::new(self.consuming.clone(), self.names.of_source(source).to_owned(), batch_max)
    }

    /// Messages that wait in the queue, without those in the hands of consumers.
    pub async fn depth(&self) -> Result<u64, Unavailable> {
        self.publishing.ready()?;
        let Some(epoch) = self.publishing.current() else {
            return Err(Unavailable::new("the connection to RabbitMQ is not open"));
        };
        let count = topology::count(&epoch.connection, &self.names.users);
        let count = tokio::time::timeout(QUESTION_TIMEOUT, count).await;
        count.ok().and_then(Result::ok).ok_or_else(|| Unavailable::new("RabbitMQ does not say how many events wait"))
    }

    pub fn ready(&self) -> Result<(), Unavailable> {
        self.publishing.ready()?;
        self.consuming.ready()
    }

    pub async fn close(&self) {
        tokio::join!(self.publishing.close(), self.consuming.close());
    }
}
