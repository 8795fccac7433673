//! The replay and discard of failed events: one event at once, a set after a preview.

use std::num::NonZeroU32;

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde::Deserialize;

use super::auth::Posted;
use super::page::{DashboardError, Frame, page, redirect};
use super::page_query::{IDS, PageQuery};
use super::replay_run::list_query;
use super::session::Session;
use super::view_models::EventLine;
use crate::clerk::Timestamp;
use crate::clock::now;
use crate::http::admin::Admin;
use crate::http::problem::Problem;
use crate::replay::{ReplayPreview, Selection};
use crate::store::{Actor, EventFilter, Status, Time};
use crate::{format, replay};

/// A part of the path, and a word of the buttons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Replay,
    Discard,
}

impl Action {
    /// As a verb for people, as a part of a path and a command, and what was done as a value in an
    /// address.
    fn words(self) -> [&'static str; 3] {
        match self {
            Self::Replay => ["Replay", "replay", "replayed"],
            Self::Discard => ["Discard", "discard", "discarded"],
        }
    }

    /// What was done, as a value in an address.
    pub fn done(self) -> &'static str {
        self.words()[2]
    }

    /// Does it for `actor`, and returns to how many events.
    ///
    /// # Errors
    ///
    /// If a server does not answer. Then it may be done to some of the events.
    pub async fn run(
        self,
        admin: &Admin,
        selection: &Selection,
        actor: &Actor,
    ) -> Result<u64, Problem> {
        Ok(match self {
            Self::Replay => {
                let replay = admin.replay(selection, replay::RATE, actor);
                replay.await?.replayed
            }
            Self::Discard => {
                let discard = replay::discard(&admin.store, selection, actor, |_| ());
                discard.await?.discarded
            }
        })
    }
}

/// Most events that one form replays or discards: at the usual rate of a replay 2 s, and a preview
/// reads each of them.
const EVENTS_MAX: u64 = 1000;

/// The field that says which list the events are of: its query string; after a question mark in a
/// form of selected events.
const FROM: &str = "from";

/// Events that a preview shows.
const SAMPLE: NonZeroU32 = NonZeroU32::new(10).expect("10 is not 0");

/// The fields of the filter, with their names for people and their flags.
const FILTER: [(&str, &str, &str); 5] = [
    ("event_type", "Type", "--type"),
    ("clerk_id", "Row", "--user"),
    ("error_code", "Error code", "--error-code"),
    ("since", "Received since", "--since"),
    ("until", "Received until", "--until"),
];

/// What a replay would do with some of the events.
struct Outcome {
    class: &'static str,
    count: String,
    text: String,
}

#[derive(Template)]
#[template(path = "bulk_action.html")]
struct PreviewPage {
    frame: Frame,
    verb: &'static str,
    path: String,
    /// Whether it cannot be undone.
    is_final: bool,
    back: String,
    /// The filter of the list that it was asked from, for the way back afterwards.
    from: String,
    how_many: String,
    count: u64,
    /// The filter, for people.
    filter: Vec<(&'static str, String)>,
    /// The filter for the form, with fixed times.
    query: PageQuery,
    outcomes: Vec<Outcome>,
    more: Option<String>,
    sample_heading: String,
    events: Vec<EventLine>,
}

/// `GET /events/{action}`
pub async fn preview(
    session: Session,
    action: Path<Action>,
    request: HttpRequest,
    admin: Data<Admin>,
) -> Result<HttpResponse, DashboardError> {
    let (action, now) = (action.into_inner(), now());
    let [verb, name, _] = action.words();
    let asked = PageQuery::read(request.query_string())?;
    let from = match asked.get(FROM) {
        "" => asked.encoded(),
        from => from.to_owned(),
    };
    let list = list_query(&from)?;
    if !matches!(asked.get("status"), "" | "failed") {
        return Err(DashboardError::invalid(
            "only failed events can be replayed or discarded",
        ));
    }
    let asked = asked.without(&["status", FROM]);
    // A form of selected events: without IDs it would be about all events.
    if from.starts_with('?') && asked.get(IDS).is_empty() {
        return Ok(redirect(&list.with("done", "none").on("/events")));
    }
    // An age becomes a time, and events that fail from now on are left out: the form means the
    // events that are shown here.
    let (filter, query) = fixed(&asked, now)?;
    let failed = EventFilter {
        status: Some(Status::Failed),
        ..filter.clone()
    };
    let sample = admin.newest(&failed, SAMPLE).await?;
    let selection = matching(filter);
    let (count, would, next) = match action {
        Action::Replay => {
            let done = replay::preview(&admin.store, &selection).await?;
            (done.replayed, done.would, done.next)
        }
        Action::Discard => {
            let done = replay::preview_discard(&admin.store, &selection).await?;
            (done.discarded, None, done.next)
        }
    };
    Ok(page(&PreviewPage {
        frame: Frame::of(
            &session,
            "events",
            format!("{verb} {}? · Events", format::count(count, "event")),
            false,
        ),
        verb,
        path: format!("/events/{name}"),
        is_final: action == Action::Discard,
        back: list.on("/events"),
        from,
        how_many: format::count(count, "event"),
        count,
        filter: filter_for_people(&query),
        outcomes: would.as_ref().map(outcomes).unwrap_or_default(),
        more: next.map(|_| more(name, &query)),
        sample_heading: if count > u64::from(SAMPLE.get()) {
            format!("The newest {SAMPLE}")
        } else {
            "These".into()
        },
        events: EventLine::all(&sample, now),
        query,
    }))
}

fn matching(filter: EventFilter) -> Selection {
    Selection::Matching {
        filter,
        limit: EVENTS_MAX,
        after: None,
    }
}

/// The filter with its times as points in time, and the same as fields.
fn fixed(query: &PageQuery, now: Timestamp) -> Result<(EventFilter, PageQuery), DashboardError> {
    let (mut filter, _) = query.events(now)?;
    // Selected events are these, whenever they came.
    if filter.ids.is_none() {
        filter.until.get_or_insert(now);
    }
    let time = |time: Option<Timestamp>| time.map_or(String::new(), |time| Time(time).to_string());
    let query = query
        .with("since", &time(filter.since))
        .with("until", &time(filter.until));
    Ok((filter, query.without(&["cursor", "limit"])))
}

/// The given fields of the filter, each with its name and flag.
fn given(query: &PageQuery) -> impl Iterator<Item = (&'static str, &'static str, &str)> {
    let fields = FILTER.iter();
    let values = fields.map(|(field, name, flag)| (*name, *flag, query.get(field)));
    values.filter(|(.., value)| !value.is_empty())
}

fn filter_for_people(query: &PageQuery) -> Vec<(&'static str, String)> {
    let fields = given(query).map(|(name, _, value)| {
        let is_time = name.starts_with("Received");
        let value = if is_time {
            value.replace('T', " ").replace('Z', " UTC")
        } else {
            value.to_owned()
        };
        (name, value)
    });
    let ids = query
        .get(IDS)
        .split(',')
        .filter(|id| !id.is_empty())
        .count();
    let selected = (ids > 0).then(|| ("Selected", format::count(ids as u64, "event")));
    [("Outcome", "failed".to_owned())]
        .into_iter()
        .chain(selected)
        .chain(fields)
        .collect()
}

fn outcomes(would: &ReplayPreview) -> Vec<Outcome> {
    let fail = would
        .fail
        .iter()
        .map(|(code, count)| ("failed", *count, format!("would fail again: {code}")));
    let stale = "would change nothing, since a newer version is there";
    [
        ("applied", would.apply, "would be applied".to_owned()),
        ("stale", would.be_stale, stale.to_owned()),
    ]
    .into_iter()
    .chain(fail)
    .filter(|(_, count, _)| *count > 0)
    .map(|(class, count, text)| Outcome {
        class,
        count: format::number(count),
        text,
    })
    .collect()
}

/// The note that more events match than one form takes.
fn more(command: &str, query: &PageQuery) -> String {
    let mut flags: String = given(query)
        .map(|(_, flag, value)| format!(" {flag} {value}"))
        .collect();
    if flags.is_empty() {
        flags = " --all".into();
    }
    format!(
        "More than {} match; these are the newest. Come back for the rest, or take them all by command: clerk-sync events {command}{flags}",
        format::number(EVENTS_MAX)
    )
}

/// `POST /events/{action}`: the set that the preview showed. Without an end in time it would be
/// another one by now.
pub async fn run(
    form: Posted,
    action: Path<Action>,
    admin: Data<Admin>,
) -> Result<HttpResponse, DashboardError> {
    let fields = PageQuery::of(form.fields());
    let from = fields.get(FROM).to_owned();
    let (filter, _) = fields.without(&[FROM]).events(now())?;
    if filter.until.is_none() && filter.ids.is_none() {
        return Err(DashboardError::invalid(
            "the form has no end in time: start from the list of failed events",
        ));
    }
    let selection = matching(filter);
    if *action == Action::Replay {
        let expected = replay::preview_discard(&admin.store, &selection)
            .await?
            .discarded;
        let runs = &admin.replay_runs;
        let run = runs.start(
            &admin.store,
            &admin.queue,
            selection,
            form.actor(),
            expected,
            from,
        );
        return Ok(redirect(&format!("/replays/{}", run.id)));
    }
    let count = action.run(&admin, &selection, form.actor()).await?;
    let list = list_query(&from)?.with("done", action.done());
    Ok(redirect(
        &list.with("number", &count.to_string()).on("/events"),
    ))
}
