//! Events handed over to be published, and their answers: what a batch came to for each of them.

use std::collections::HashSet;

use lapin::Confirmation;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::limits::{Limits, TooLarge};
use crate::clerk::SignedEvent;
use crate::queue::PublishError;

/// An event to publish.
#[derive(Clone)]
pub struct Outgoing {
    pub event: SignedEvent,
    /// Whether it is published again, and suspected of killing whoever takes it.
    pub is_suspect: bool,
}

/// An event on its way, and the room that its body takes.
pub struct Handed {
    pub outgoing: Outgoing,
    pub answer: Answer,
    pub _room: OwnedSemaphorePermit,
}

pub type Answer = oneshot::Sender<Result<(), PublishError>>;

pub fn is_above(bytes: usize, max: u64) -> bool {
    u64::try_from(bytes).is_ok_and(|bytes| bytes > max)
}

pub fn refuse_all(handed: Vec<Handed>) {
    refuse(
        handed.into_iter().map(|handed| handed.answer).collect(),
        PublishError::Unavailable,
    );
}

pub fn refuse(answers: Vec<Answer>, error: PublishError) {
    for answer in answers {
        // Whoever asked may be gone.
        let _gone = answer.send(Err(error));
    }
}

pub fn release(events: &[Outgoing], answers: Vec<Answer>, confirmations: Vec<Confirmation>) {
    let results = results(events, confirmations);
    for (answer, result) in answers.into_iter().zip(results) {
        let _gone = answer.send(result);
    }
}

/// What the confirms of a whole batch say of each event. What was not confirmed explicitly is refused.
fn results(events: &[Outgoing], confirmations: Vec<Confirmation>) -> Vec<Result<(), PublishError>> {
    let acknowledged: Vec<bool> = confirmations.iter().map(Confirmation::is_ack).collect();
    let returned: HashSet<String> = confirmations
        .into_iter()
        .filter_map(Confirmation::take_message)
        .filter_map(|message| Some(message.properties.message_id().as_ref()?.to_string()))
        .collect();
    let judge = |outgoing: &Outgoing, acknowledged: bool| match acknowledged {
        _ if returned.contains(outgoing.event.id().as_str()) => Err(PublishError::Unroutable),
        true => Ok(()),
        false => Err(PublishError::Refused),
    };
    events
        .iter()
        .zip(acknowledged)
        .map(|(outgoing, acknowledged)| judge(outgoing, acknowledged))
        .collect()
}

/// Refuses what can never be queued; the rest, of which nothing is known.
pub fn refuse_too_large(
    limits: &Limits,
    refusal: TooLarge,
    events: &[Outgoing],
    answers: Vec<Answer>,
    rooms: Vec<OwnedSemaphorePermit>,
) -> Vec<Handed> {
    let bytes = |outgoing: &Outgoing| outgoing.event.body().len();
    let max = limits.learn_body_max(refusal, events.iter().map(bytes));
    let mut rest = Vec::new();
    for ((outgoing, answer), _room) in events.iter().zip(answers).zip(rooms) {
        if is_above(bytes(outgoing), max) {
            refuse(vec![answer], PublishError::TooLarge { max });
        } else {
            rest.push(Handed {
                outgoing: outgoing.clone(),
                answer,
                _room,
            });
        }
    }
    rest
}
