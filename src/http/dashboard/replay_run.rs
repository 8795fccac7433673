//! `/replays/{id}`: the outcomes of a replay of many events, while it runs and afterwards.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;

use super::page::{DashboardError, Frame, page};
use super::page_query::PageQuery;
use super::session::Session;
use super::view_models::When;
use crate::clock::now;
use crate::format;
use crate::http::admin::Admin;
use crate::http::problem::{Code, Problem};
use crate::http::replay_runs::Seen;
use crate::replay::OutcomeStatus;
use crate::store::Time;

#[derive(Template)]
#[template(path = "replay_run.html")]
struct ReplayRunPage {
    frame: Frame,
    heading: String,
    started: When,
    expected: u64,
    /// Events whose outcome is known.
    known: u64,
    published: String,
    outcomes: Vec<Count>,
    /// Why it stopped before its end.
    error: Option<String>,
    unknown: Option<String>,
    /// The list that it was started from.
    back: String,
}

/// How many events had an outcome.
struct Count {
    class: &'static str,
    count: String,
    text: &'static str,
    /// The code of those that failed again, and the list of them.
    code: Option<(String, String)>,
}

/// `GET /replays/{id}`
pub async fn show(
    session: Session,
    id: Path<String>,
    admin: Data<Admin>,
) -> Result<HttpResponse, DashboardError> {
    let run = admin.replay_runs.get(&id).ok_or_else(|| {
        Problem::new(
            Code::NotFound,
            "this replay is not known here: a process keeps its replays for an hour, until it stops. The list of events says what each of them is now",
        )
    })?;
    let seen = run.look(&admin.store).await;
    let from = list_query(&run.from)?;
    let waiting = seen.count(OutcomeStatus::Waiting);
    let heading = heading(&seen, run.expected, waiting);
    Ok(page(&ReplayRunPage {
        frame: Frame::of(&session, "events", heading.clone(), true),
        heading,
        started: When::at(Time(run.started_at), now()),
        expected: run.expected.max(seen.published),
        known: seen.published - waiting,
        published: format::number(seen.published),
        outcomes: counts(&seen, &from),
        error: seen.ended.and_then(Result::err),
        unknown: seen.unknown,
        back: from.on("/events"),
    }))
}

/// The filter of a list of failed events, whatever else its address had.
///
/// # Errors
///
/// If it cannot be decoded.
pub fn list_query(from: &str) -> Result<PageQuery, DashboardError> {
    let query = PageQuery::read(from.strip_prefix('?').unwrap_or(from))?;
    let query = query.without(&["cursor", "limit", "done", "number", "from"]);
    // A list of selected events may be of any outcome.
    Ok(if from.starts_with('?') {
        query
    } else {
        query.with("status", "failed")
    })
}

fn heading(seen: &Seen, expected: u64, waiting: u64) -> String {
    let events = format::count(seen.published, "event");
    match (&seen.ended, waiting) {
        (None, _) => format!("Replaying {}", format::count(expected, "event")),
        (Some(Err(_)), _) => format!("The replay stopped after {events}"),
        (Some(Ok(())), 0) if seen.published == 0 => "Nothing was left to replay".into(),
        (Some(Ok(())), 0) => format!("{events} replayed"),
        (Some(Ok(())), _) => format!(
            "{events} replayed; {} not tried yet",
            format::number(waiting)
        ),
    }
}

fn counts(seen: &Seen, from: &PageQuery) -> Vec<Count> {
    let count = |status, class, text| (seen.count(status), class, text, None);
    let mut codes = BTreeMap::<&str, u64>::new();
    for outcome in &seen.outcomes {
        if outcome.status == OutcomeStatus::Failed {
            let code = outcome.error_code.as_deref().unwrap_or_default();
            *codes.entry(code).or_default() += 1;
        }
    }
    let failed = codes.into_iter().map(|(code, number)| {
        let list = from.with("error_code", code).on("/events");
        let code = Some((code.to_owned(), list));
        (number, "failed", "failed again:", code)
    });
    let before = [
        count(OutcomeStatus::Applied, "applied", "applied"),
        count(
            OutcomeStatus::Stale,
            "stale",
            "changed nothing, since a newer version was there",
        ),
    ];
    let after = [
        count(
            OutcomeStatus::Waiting,
            "idle",
            "not tried yet: a worker tries them as soon as it can",
        ),
        count(
            OutcomeStatus::Discarded,
            "discarded",
            "discarded since, by a person",
        ),
        count(
            OutcomeStatus::Gone,
            "discarded",
            "gone: the data of their user was erased",
        ),
    ];
    before
        .into_iter()
        .chain(failed)
        .chain(after)
        .filter(|(count, ..)| *count > 0)
        .map(|(count, class, text, code)| Count {
            class,
            count: format::number(count),
            text,
            code,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(ended: Option<Result<(), String>>, published: u64) -> Seen {
        Seen {
            published,
            ended,
            outcomes: Vec::new(),
            unknown: None,
        }
    }

    #[test]
    fn the_heading_says_how_far_it_is() {
        for (ended, published, waiting, expected) in [
            (None, 3, 3, "Replaying 40 events"),
            (Some(Ok(())), 40, 7, "40 events replayed; 7 not tried yet"),
            (Some(Ok(())), 40, 0, "40 events replayed"),
            (Some(Ok(())), 0, 0, "Nothing was left to replay"),
            (
                Some(Err("gone".into())),
                1,
                1,
                "The replay stopped after 1 event",
            ),
        ] {
            assert_eq!(heading(&seen(ended, published), 40, waiting), expected);
        }
    }

    #[test]
    fn the_way_back_keeps_the_filter_and_nothing_else() {
        let query = list_query("clerk_id=user_1&cursor=e.1.msg_1&done=replayed&from=x").unwrap();
        assert_eq!(query.on("/events"), "/events?clerk_id=user_1&status=failed");
    }
}
