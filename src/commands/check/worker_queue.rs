//! Whether the queue of the settings is the one that the workers of this database consume.

use super::finding::{Finding, note, ok};
use crate::config::Config;
use crate::queue::{self, Identity};
use crate::replay::worker_queues::{self, listed};
use crate::store::Store;

/// Compares both. Returns `None` if one is not known; other findings report that.
pub async fn check(store: &Store, config: &Config) -> Option<Finding> {
    let recorded = worker_queues::recorded(store).await.ok()?;
    judge(
        &recorded,
        queue::identity(&config.queue).await.ok()?.as_ref(),
    )
}

/// A queue that is about to be changed looks the same, so it is a note.
fn judge(recorded: &[Identity], ours: Option<&Identity>) -> Option<Finding> {
    let last = recorded.first()?;
    let place = format!(
        "the workers of this database take events from {}",
        listed(recorded)
    );
    let Some(ours) = ours else {
        let what = format!("{place}, and there is no embedded queue here");
        let remedy = "set AMQP_URL or DATA_DIR to that queue for `events replay`; a worker that starts here takes from a new one";
        return Some(note("worker_queue", what, remedy));
    };
    if recorded.iter().any(|recorded| recorded.is(ours)) {
        if recorded.len() == 1 {
            return Some(ok(
                "worker_queue",
                format!("workers take events from {ours}"),
            ));
        }
        let remedy = "if both are not meant to run, stop one, or give it another DATABASE_URL; this finding disappears some minutes later";
        return Some(note("worker_queue", place, remedy));
    }
    let what = format!("{place}; the queue here is {ours}");
    let remedy = format!(
        "{}; a worker that starts here records its own",
        last.remedy(ours)
    );
    Some(note("worker_queue", what, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_queue_is_noted_with_the_variable_to_set() {
        let broker = |namespace: &str| Identity::RabbitMq {
            hosts: vec!["mq".into()],
            vhost: "/".into(),
            namespace: namespace.into(),
        };
        let said = |ours: Option<&Identity>| judge(&[broker("live")], ours).unwrap();
        assert!(said(Some(&broker("live"))).remedy.is_none());
        let other = said(Some(&broker("test")));
        assert!(!other.failed() && other.remedy.unwrap().starts_with("set AMQP_NAMESPACE"));
        assert!(said(None).what.contains("no embedded queue here"));
        let both = judge(&[broker("test"), broker("live")], Some(&broker("live"))).unwrap();
        assert!(
            !both.failed() && both.remedy.is_some() && both.what.contains("namespace test"),
            "{}",
            both.what
        );
        assert!(judge(&[], Some(&broker("live"))).is_none());
    }
}
