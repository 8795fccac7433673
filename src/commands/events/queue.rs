//! The queue that `events replay` publishes to: the one that the workers of the database consume.

use anyhow::bail;

use crate::config::Config;
use crate::queue::{self, Queue, QueueInspection, rabbitmq};
use crate::replay::worker_queues;
use crate::store::Store;

/// The queue of the settings, if workers of this database consume it. Creates no other queue,
/// neither a file nor at a broker.
pub async fn open_queue(config: &Config, store: &Store, this_queue: bool) -> anyhow::Result<Queue> {
    let recorded = if this_queue {
        Vec::new()
    } else {
        worker_queues::recorded(store).await?
    };
    let Some(queue) = queue::identity(&config.queue).await? else {
        let queue::Options::Embedded(options) = &config.queue else {
            bail!("the queue is not known")
        };
        let place = format!(
            "AMQP_URL is not set, and there is no embedded queue {}",
            options.path.display()
        );
        match recorded.first() {
            Some(last) => bail!(
                "{place}: the workers of this database take events from {}; {}.",
                worker_queues::listed(&recorded),
                last.remedy(&queue::Identity::Embedded {
                    id: String::new(),
                    path: String::new()
                })
            ),
            None => bail!(
                "{place}: set AMQP_URL to the queue of the workers, or DATA_DIR to the directory of `clerk-sync serve`"
            ),
        }
    };
    match recorded.first() {
        Some(last) if !recorded.iter().any(|recorded| recorded.is(&queue)) => bail!(
            "the workers of this database take events from {}; the queue here is {queue}, where events would wait unseen: {}. If both are one queue under two names, add --this-queue",
            worker_queues::listed(&recorded),
            last.remedy(&queue)
        ),
        Some(_) => {}
        // Only older versions have used the database: such a queue must at least exist.
        None if !this_queue => require_queue(config, &queue).await?,
        None => {}
    }
    Ok(Queue::open(&config.queue).await?)
}

async fn require_queue(config: &Config, queue: &queue::Identity) -> anyhow::Result<()> {
    let QueueInspection::RabbitMq(found) = queue::inspect(&config.queue, false).await? else {
        return Ok(());
    };
    let is_empty = |topology: &rabbitmq::TopologyInspection| {
        !topology.declarations.is_empty()
            && topology
                .declarations
                .iter()
                .all(|(_, state)| *state == rabbitmq::DeclaredState::Missing)
    };
    if found.topology.as_ref().is_some_and(is_empty) {
        bail!(
            "there is no queue at {queue}: set AMQP_URL and AMQP_NAMESPACE to the queue of the workers"
        );
    }
    Ok(())
}
