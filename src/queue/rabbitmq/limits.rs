//! What a broker takes, learned from its refusals: how large a message, and how long an event may stay unacknowledged. AMQP has
//! no question for either.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lapin::options::{BasicPublishOptions, BasicQosOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::{BasicProperties, Connection, ErrorKind};
use tracing::warn;

use super::connection::Link;

/// How long the answer to a message of the largest size may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What is known of the broker; both connections share it. 0 is not known.
#[derive(Debug, Default)]
pub struct Limits {
    body_max: AtomicU64,
    consumer_timeout_ms: AtomicU64,
}

/// A message that is too large for the broker, as it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge {
    size: u64,
    max: u64,
}

impl Limits {
    /// The largest body that can be queued, as far as is known.
    pub fn body_max(&self) -> Option<u64> {
        Some(self.body_max.load(Ordering::Relaxed)).filter(|max| *max > 0)
    }

    /// How long the broker waits for an acknowledgement, as far as is known.
    pub fn consumer_timeout(&self) -> Option<Duration> {
        let ms = self.consumer_timeout_ms.load(Ordering::Relaxed);
        (ms > 0).then(|| Duration::from_millis(ms))
    }

    /// Forgets how large a message may be: another connection may meet another configuration.
    pub fn forget_body_max(&self) {
        self.body_max.store(0, Ordering::Relaxed);
    }

    /// Learns from the refusal of one of these bodies; the largest that can be queued. Where the broker counts more than the body,
    /// that much is left for it.
    pub fn learn_body_max(&self, refusal: TooLarge, bodies: impl Iterator<Item = usize>) -> u64 {
        let bodies = bodies
            .filter_map(|bytes| u64::try_from(bytes).ok())
            .filter(|bytes| *bytes <= refusal.size);
        let overhead = bodies.max().map_or(0, |largest| refusal.size - largest);
        let max = refusal.max.saturating_sub(overhead).max(1);
        self.body_max.store(max, Ordering::Relaxed);
        max
    }

    /// Learns from the broker's word that it has taken events back. Tells it once.
    pub fn learn_consumer_timeout(&self, error: &lapin::Error) {
        let Some(ms) = consumer_timeout_ms(error) else {
            return;
        };
        if self.consumer_timeout_ms.swap(ms, Ordering::Relaxed) != ms {
            warn!(
                consumer_timeout_ms = ms,
                "RabbitMQ took events back from this worker, which cost each one of its deliveries; from now on they are given back within half of its consumer_timeout. Raise that to 30 minutes, in rabbitmq.conf or in the policy of the queue"
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

fn consumer_timeout_ms(error: &lapin::Error) -> Option<u64> {
    consumer_timeout_in(precondition(error)?)
}

/// `delivery acknowledgement on channel 1 timed out. Timeout value used: 1800000 ms. …`, in RabbitMQ 3.10 to 4.2.
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
    match error.kind() {
        ErrorKind::ProtocolError(amqp) => match amqp.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => {
                Some(amqp.get_message().as_str())
            }
            _ => None,
        },
        _ => None,
    }
}

/// A time to live that no broker takes: the message is refused for it, once it is not refused for its size.
const NO_TIME: &str = "never";

/// Whether this is the answer to `ask_body_max`.
pub fn is_answer(error: &lapin::Error) -> bool {
    too_large(error).is_some() || precondition(error).is_some_and(|text| text.contains(NO_TIME))
}

/// Asks whether a body of so many bytes can be queued, with a message that is refused in any case; the limit where it cannot.
pub async fn ask_body_max(connection: &Connection, exchange: &str, bytes: usize) -> Option<u64> {
    let refused = async {
        let channel = connection.create_channel().await?;
        let properties = BasicProperties::default().with_expiration(NO_TIME.into());
        let options = BasicPublishOptions {
            mandatory: false,
            immediate: false,
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "nothing is published: no broker takes it"
        )]
        let published = channel
            .basic_publish(
                exchange.into(),
                "".into(),
                options,
                &vec![0; bytes],
                properties,
            )
            .await;
        drop(published?);
        channel
            .basic_qos(1, BasicQosOptions { global: false })
            .await
    };
    match tokio::time::timeout(ANSWER_TIMEOUT, refused).await {
        Ok(Err(error)) => too_large(&error).map(|refusal| refusal.max),
        Ok(Ok(())) | Err(_) => None,
    }
}

/// Says at each connection whether it takes bodies of so many bytes, and remembers where it does not. Until the link is closed.
pub async fn compare_with(link: Link, exchange: String, bytes: usize) {
    while let Some(epoch) = link.opened().await {
        if let Some(max) = ask_body_max(&epoch.connection, &exchange, bytes).await {
            link.limits()
                .learn_body_max(TooLarge { size: max + 1, max }, std::iter::empty());
            warn!(
                max_message_size = max,
                max_body_bytes = bytes,
                "RabbitMQ takes no message as large as MAX_BODY_BYTES: larger webhooks get 413. Raise max_message_size in rabbitmq.conf, or lower MAX_BODY_BYTES"
            );
        }
        epoch.over().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_s_words_are_read() {
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
    fn what_the_broker_counts_beside_the_body_is_left_for_it() {
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
