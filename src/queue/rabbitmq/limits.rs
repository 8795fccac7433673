//! Limits of a broker, learned from its refusals: the size of a message, and how long an event may
//! stay unacknowledged. AMQP has no request for either.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lapin::options::{BasicPublishOptions, BasicQosOptions};
use lapin::protocol::AMQPSoftError;
use lapin::{BasicProperties, Connection};
use tracing::warn;

use super::amqp_error::channel_error;

/// How long the answer to a message of the largest size may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the broker is asked, if its answer is missed.
const TRIES: usize = 3;

/// The known limits of the broker. Both connections share them; 0 is unknown.
#[derive(Debug, Default)]
pub struct Limits {
    body_max: AtomicU64,
    consumer_timeout_ms: AtomicU64,
}

/// A message that is too large for the broker, in the broker's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge {
    /// The size of the refused message.
    pub size: u64,
    /// Largest message.
    pub max: u64,
}

impl Limits {
    /// The largest body that can be queued; `None` if it is unknown.
    pub fn body_max(&self) -> Option<u64> {
        Some(self.body_max.load(Ordering::Relaxed)).filter(|max| *max > 0)
    }

    /// How long the broker waits for an acknowledgement; `None` if it is unknown.
    pub fn consumer_timeout(&self) -> Option<Duration> {
        let ms = self.consumer_timeout_ms.load(Ordering::Relaxed);
        (ms > 0).then(|| Duration::from_millis(ms))
    }

    /// Forgets the largest body: another connection may meet another configuration.
    pub fn forget_body_max(&self) {
        self.body_max.store(0, Ordering::Relaxed);
    }

    /// Learns from the refusal of one of these bodies. Returns the largest body that can be queued:
    /// the broker counts more than the body.
    pub fn learn_body_max(&self, refusal: TooLarge, bodies: impl Iterator<Item = usize>) -> u64 {
        let bodies = bodies
            .filter_map(|bytes| u64::try_from(bytes).ok())
            .filter(|bytes| *bytes <= refusal.size);
        let overhead = bodies.max().map_or(0, |largest| refusal.size - largest);
        let max = refusal.max.saturating_sub(overhead).max(1);
        self.body_max.store(max, Ordering::Relaxed);
        max
    }

    /// Learns from the error with which the broker takes events back. Logs it once.
    pub fn learn_consumer_timeout(&self, error: &lapin::Error) {
        let Some(ms) = precondition(error).and_then(consumer_timeout_in) else {
            return;
        };
        if self.consumer_timeout_ms.swap(ms, Ordering::Relaxed) != ms {
            warn!(
                consumer_timeout_ms = ms,
                "RabbitMQ took events back from this worker, which cost each one of its deliveries; from now on they return within half of its consumer_timeout. Raise that to 30 minutes, in rabbitmq.conf or in the policy of the queue"
            );
        }
    }
}

/// Whether this is the refusal of a message for its size.
pub fn too_large(error: &lapin::Error) -> Option<TooLarge> {
    too_large_in(precondition(error)?)
}

/// `message size 100001 is larger than configured max size 100000`, in RabbitMQ 3.10 to 4.3.
fn too_large_in(text: &str) -> Option<TooLarge> {
    let (size, max) = text
        .split_once("message size ")?
        .1
        .split_once(" is larger than ")?;
    Some(TooLarge {
        size: number_in(size)?,
        max: number_in(max)?,
    })
}

/// `delivery acknowledgement on channel 1 timed out. Timeout value used: 1800000 ms. …`, in
/// RabbitMQ 3.10 to 4.2.
fn consumer_timeout_in(text: &str) -> Option<u64> {
    number_in(
        text.split_once("acknowledgement")?
            .1
            .split_once("imeout value used: ")?
            .1,
    )
}

fn number_in(text: &str) -> Option<u64> {
    let digits = text.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    digits
        .split(|letter: char| !letter.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

fn precondition(error: &lapin::Error) -> Option<&str> {
    channel_error(error, AMQPSoftError::PRECONDITIONFAILED)
}

/// Whether a body of this many bytes is larger than `max`.
pub fn is_above(bytes: usize, max: u64) -> bool {
    u64::try_from(bytes).is_ok_and(|bytes| bytes > max)
}

/// A time to live that no broker takes: the message is refused for it, once it is not refused for
/// its size.
const NO_TIME: &str = "never";

/// Whether this is the answer to `ask_body_max`.
pub fn is_answer(error: &lapin::Error) -> bool {
    too_large(error).is_some() || precondition(error).is_some_and(|text| text.contains(NO_TIME))
}

/// Asks whether a body of so many bytes can be queued, with a message that is refused in any case.
/// Returns the limit if it cannot; `None` if it can or the broker does not answer.
pub async fn ask_body_max(connection: &Connection, exchange: &str, bytes: usize) -> Option<u64> {
    let body = vec![0; bytes];
    for _ in 0..TRIES {
        let properties = BasicProperties::default().with_expiration(NO_TIME.into());
        let refused = publish_refused(connection, exchange, &body, properties);
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, refused).await;
        let error = answer.ok()?.err()?;
        if is_answer(&error) {
            return Some(too_large(&error)?.max);
        }
        // The broker closed the channel before the next request on it: lapin reports only that.
    }
    None
}

/// Publishes a message that the broker refuses. Returns after its answer.
pub async fn publish_refused(
    connection: &Connection,
    exchange: &str,
    body: &[u8],
    properties: BasicProperties,
) -> Result<(), lapin::Error> {
    let channel = connection.create_channel().await?;
    let (exchange, options) = (exchange.into(), BasicPublishOptions::default());
    #[expect(
        clippy::disallowed_methods,
        reason = "nothing is published: no broker accepts it"
    )]
    let published = channel.basic_publish(exchange, "".into(), options, body, properties);
    drop(published.await?);
    let qos = BasicQosOptions { global: false };
    channel.basic_qos(1, qos).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_the_broker_are_parsed() {
        let text = "PRECONDITION_FAILED - message size 16777217 is larger than configured max size 16777216";
        assert_eq!(
            too_large_in(text),
            Some(TooLarge {
                size: 16_777_217,
                max: 16_777_216
            })
        );
        let text = "PRECONDITION_FAILED - message size 999 is larger than max size 536";
        assert_eq!(
            too_large_in(text),
            Some(TooLarge {
                size: 999,
                max: 536
            })
        );
        let text = "PRECONDITION_FAILED - delivery acknowledgement on channel 2 timed out. Timeout value used: 60000 ms. This timeout value can be configured, see consumers doc guide to learn more";
        assert_eq!(
            (too_large_in(text), consumer_timeout_in(text)),
            (None, Some(60_000))
        );
        for text in [
            "PRECONDITION_FAILED - unknown delivery tag 7",
            "message size",
            "message size x is larger than y",
            "",
        ] {
            assert_eq!(
                (too_large_in(text), consumer_timeout_in(text)),
                (None, None),
                "{text}"
            );
        }
    }

    #[test]
    fn the_overhead_that_the_broker_counts_is_subtracted() {
        let limits = Limits::default();
        assert_eq!((limits.body_max(), limits.consumer_timeout()), (None, None));
        let refusal = TooLarge {
            size: 120,
            max: 100,
        };
        assert_eq!(
            limits.learn_body_max(refusal, [10, 120, 500].into_iter()),
            100
        );
        assert_eq!(limits.learn_body_max(refusal, [10, 110].into_iter()), 90);
        assert_eq!(limits.body_max(), Some(90));
        limits.forget_body_max();
        assert_eq!(limits.body_max(), None);
    }
}
