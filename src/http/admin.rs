//! `Admin`, the state and the actions that `/api` and the dashboard share; `AdminToken`, which
//! compares the token.

use std::num::NonZeroU32;
use std::sync::Arc;

use actix_web::HttpRequest;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use aws_lc_rs::hmac;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;

use super::login_link::{self, LoginLinks};
use super::paths::LOGIN_PATH;
use super::problem::{Code, Problem};
use super::reject_log::RejectLog;
use super::replay_runs::ReplayRuns;
use super::service_status::ServiceStatus;
use crate::clerk::{EventId, Timestamp};
use crate::format;
use crate::queue::Queue;
use crate::refresh::Refresher;
use crate::replay::{self, ReplayError, ReplayReport, Selection};
use crate::store::{Act, Action, Actor, EventFilter, EventRow, Page, Store, WholeEvent};

/// What the routes for operators need.
#[derive(Clone)]
pub struct Admin {
    /// The database.
    pub store: Store,
    /// The queue.
    pub queue: Queue,
    /// Follows the token as it is read again; `None` if it is not set.
    pub token: watch::Receiver<Option<Arc<AdminToken>>>,
    /// The same of the token that only reads.
    pub read_token: watch::Receiver<Option<Arc<AdminToken>>>,
    /// Whether that token sees private metadata, whole objects and payloads.
    pub read_private: bool,
    /// The login links that were used.
    pub login_links: Arc<LoginLinks>,
    /// The log of rejected requests.
    pub reject_log: Arc<RejectLog>,
    /// Asks Clerk for one user.
    pub refresher: Refresher,
    /// The replays that were started in the dashboard.
    pub replay_runs: ReplayRuns,
    /// Whether the parts of the role are ready.
    pub status: ServiceStatus,
}

impl Admin {
    /// The event with this ID, with its payload.
    ///
    /// # Errors
    ///
    /// If there is none, or the database does not answer.
    pub async fn event(&self, id: &str) -> Result<(EventId, EventRow), Problem> {
        let id = EventId::new(id).ok_or_else(no_event)?;
        let event = self.store.event(&id).await?.ok_or_else(no_event)?;
        Ok((id, event))
    }

    /// The event with this ID, with all that is kept of it.
    ///
    /// # Errors
    ///
    /// If there is none, or the database does not answer.
    pub async fn whole_event(&self, id: &str) -> Result<WholeEvent, Problem> {
        let id = EventId::new(id).ok_or_else(no_event)?;
        self.store.whole_event(&id).await?.ok_or_else(no_event)
    }

    /// The newest events that match a filter.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub async fn newest(
        &self,
        filter: &EventFilter,
        limit: NonZeroU32,
    ) -> Result<Vec<EventRow>, Problem> {
        let page = Page { limit, after: None };
        Ok(self.store.events(filter, &page).await?.rows)
    }

    /// Replays failed events, for `actor`.
    ///
    /// # Errors
    ///
    /// If a server does not answer; says how many events were replayed before.
    pub async fn replay(
        &self,
        selection: &Selection,
        rate: NonZeroU32,
        actor: &Actor,
    ) -> Result<ReplayReport, Problem> {
        let mut report = ReplayReport::default();
        let replay = replay::replay(
            &self.store,
            &self.queue,
            selection,
            rate,
            actor,
            &mut report,
            |_, _| (),
        );
        let Err(error) = replay.await else {
            return Ok(report);
        };
        let code = match error {
            ReplayError::Store(_) => Code::DatabaseUnavailable,
            ReplayError::Queue { .. } => Code::QueueUnavailable,
        };
        let count = format::count(report.replayed, "event");
        let verb = if report.replayed == 1 { "is" } else { "are" };
        Err(Problem::new(
            code,
            format!("{count} {verb} back on the queue; {error}"),
        ))
    }

    /// Has all workers stop applying. Returns false if it is paused already.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub async fn pause(
        &self,
        reason: Option<String>,
        by: String,
        actor: &Actor,
    ) -> Result<bool, Problem> {
        if self.store.control().await?.paused.is_none() {
            let act = Act::new(Action::Paused, actor).because(reason.clone());
            self.store.record_act(&act).await?;
        }
        let (_, is_new) = self.store.pause(reason, by).await?;
        self.status.control_has_changed();
        Ok(is_new)
    }

    /// Has all workers apply again. Returns false if nothing was paused.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub async fn resume(&self, actor: &Actor) -> Result<bool, Problem> {
        if self.store.control().await?.paused.is_some() {
            let act = Act::new(Action::Resumed, actor);
            self.store.record_act(&act).await?;
        }
        let ended = self.store.resume().await?;
        self.status.control_has_changed();
        Ok(ended.is_some())
    }

    /// Limits the events per second of all workers together. Returns false if it is so already.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub async fn set_rate_limit(
        &self,
        limit: Option<NonZeroU32>,
        actor: &Actor,
    ) -> Result<bool, Problem> {
        if self.store.control().await?.rate_limit != limit {
            let act = Act::new(Action::RateLimited, actor).because_of_limit(limit);
            self.store.record_act(&act).await?;
        }
        let before = self.store.set_rate_limit(limit).await?;
        self.status.control_has_changed();
        Ok(before != limit)
    }
}

/// What a person pauses with, and from where, for those who find it paused.
pub fn paused_by(what: &str, request: &HttpRequest) -> String {
    match request.peer_addr() {
        Some(address) => format!("{what}, from {}", address.ip().to_canonical()),
        None => what.to_owned(),
    }
}

fn no_event() -> Problem {
    Problem::new(
        Code::NotFound,
        "no event has this ID; rows of events are deleted after EVENT_RETENTION_DAYS, failed ones stay",
    )
}

/// The digest of the token. Digests are compared in constant time: the time of an answer reveals
/// nothing of the token, not even its length.
pub struct AdminToken(Digest);

impl AdminToken {
    /// The digest of this token.
    pub fn new(token: &SecretString) -> Self {
        Self(digest(&SHA256, token.expose_secret().as_bytes()))
    }

    /// Returns whether a client's guess is the token.
    pub(super) fn is(&self, guess: &[u8]) -> bool {
        verify_slices_are_equal(self.0.as_ref(), digest(&SHA256, guess).as_ref()).is_ok()
    }

    /// The path of a link that logs in to the dashboard once, within 10 minutes. Who has it is as
    /// good as who has the token, so it is never logged.
    pub fn login_path(&self, now: Timestamp) -> String {
        format!("{LOGIN_PATH}?link={}", login_link::make(&self.key(), now))
    }

    /// The key that seals the dashboard's sessions and login links. It changes with the token.
    pub(super) fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.0.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_the_token() {
        let token = AdminToken::new(&"correct-horse-battery".into());
        assert!(token.is(b"correct-horse-battery"));
        for wrong in [
            &b""[..],
            b"correct-horse-batter",
            b"correct-horse-battery ",
            b"Correct-horse-battery",
        ] {
            assert!(!token.is(wrong));
        }
    }
}
