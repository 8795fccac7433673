//! What is done with failed events: one at once, a set after its preview.

use std::num::NonZeroU32;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;

use super::auth::Posted;
use super::events::find;
use super::filters::Ask;
use super::format::count;
use super::page::{Frame, Refusal, answer, go_to};
use super::session::Session;
use super::view_models::EventLine;
use super::{error_help, format};
use crate::clerk::{EventId, Timestamp};
use crate::clock::now;
use crate::http::Api;
use crate::replay::{self, ReplayError, ReplayPreview, ReplayReport, Selection};
use crate::store::{EventFilter, Page, Status, Store, StoreError, Time};

/// Most events that one form replays or discards: at the usual rate of a replay 2 s, and a preview looks at each of them.
const EVENTS_MAX: u64 = 1000;

/// Events that a preview shows.
const SAMPLE: NonZeroU32 = NonZeroU32::new(10).expect("10 is not 0");

/// Parts of the filter that an order takes, with their names for people.
const PARTS: [(&str, &str); 5] = [
    ("error_code", "Error code"),
    ("type", "Type"),
    ("user", "User"),
    ("since", "Received since"),
    ("until", "Received until"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Replay,
    Discard,
}

/// What would become of some of the events.
struct WouldBe {
    class: &'static str,
    count: String,
    text: String,
}

#[derive(Template)]
#[template(path = "order.html")]
struct OrderPage {
    frame: Frame,
    form_token: String,
    verb: &'static str,
    button: &'static str,
    /// Whether it cannot be taken back.
    is_final: bool,
    action: &'static str,
    back: String,
    how_many: String,
    count: u64,
    /// The filter, for people.
    parts: Vec<(&'static str, String)>,
    /// The same for the form, its times fixed.
    fields: Vec<(String, String)>,
    outcomes: Vec<WouldBe>,
    more: Option<String>,
    sample_heading: String,
    events: Vec<EventLine>,
}

/// `GET /events/replay`
pub async fn preview_replay(
    session: Session,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, Refusal> {
    preview(Verb::Replay, session, request.query_string(), &api).await
}

/// `GET /events/discard`
pub async fn preview_discard(
    session: Session,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, Refusal> {
    preview(Verb::Discard, session, request.query_string(), &api).await
}

async fn preview(
    verb: Verb,
    session: Session,
    query: &str,
    api: &Api,
) -> Result<HttpResponse, Refusal> {
    let now = now();
    let asked = Ask::read(query)?.without("status");
    // An age becomes a time, and what fails from now on is left out: the form means the events that are shown here.
    let (filter, ask) = fixed(&asked, now)?;
    let page = Page {
        limit: SAMPLE,
        after: None,
    };
    let failed = EventFilter {
        status: Some(Status::Failed),
        ..filter.clone()
    };
    let sample = api.store.events(&failed, &page).await?;
    let which = Selection::Matching {
        filter,
        limit: EVENTS_MAX,
        after: None,
    };
    let (number, would, next) = match verb {
        Verb::Replay => {
            let done = replay::preview(&api.store, &which).await?;
            (done.replayed, done.would.unwrap_or_default(), done.next)
        }
        Verb::Discard => {
            let done = replay::discard(&api.store, &which, true, |_| ()).await?;
            (done.discarded, ReplayPreview::default(), done.next)
        }
    };
    let how_many = format::events(number);
    answer(&OrderPage {
        frame: Frame::of(&session, "events", verb.word()),
        form_token: session.form_token,
        verb: verb.word(),
        button: verb.button(),
        is_final: verb == Verb::Discard,
        action: verb.path(),
        back: asked.with("status", "failed").on("/events"),
        count: number,
        parts: parts(&ask),
        fields: ask.fields().to_vec(),
        outcomes: if verb == Verb::Replay {
            outcomes(&would)
        } else {
            Vec::new()
        },
        more: next.map(|_| verb.more(&ask)),
        sample_heading: if number > u64::from(SAMPLE.get()) {
            format!("The newest {SAMPLE}")
        } else {
            "These".into()
        },
        events: sample
            .rows
            .iter()
            .map(|event| EventLine::of(event, now))
            .collect(),
        how_many,
    })
}

/// The filter with its times as points in time, and the same as fields.
fn fixed(ask: &Ask, now: Timestamp) -> Result<(EventFilter, Ask), Refusal> {
    let (mut filter, _) = ask.events(now)?;
    filter.until.get_or_insert(now);
    let time =
        |time: Option<Timestamp>| time.map(|time| Time(time).to_string()).unwrap_or_default();
    let ask = ask
        .with("since", &time(filter.since))
        .with("until", &time(filter.until));
    Ok((filter, ask.without("cursor").without("limit")))
}

fn parts(ask: &Ask) -> Vec<(&'static str, String)> {
    let shown = |name: &str| match name {
        "since" | "until" => ask.get(name).replace('T', " ").replace('Z', " UTC"),
        _ => ask.get(name).to_owned(),
    };
    let given = PARTS.iter().map(|(name, said)| (*said, shown(name)));
    let given: Vec<_> = given.filter(|(_, value)| !value.is_empty()).collect();
    [("Result", "failed".to_owned())]
        .into_iter()
        .chain(given)
        .collect()
}

fn outcomes(would: &ReplayPreview) -> Vec<WouldBe> {
    let of = |class, number: u64, text: String| {
        (number > 0).then(|| WouldBe {
            class,
            count: count(number),
            text,
        })
    };
    let fail = would
        .fail
        .iter()
        .filter_map(|(code, number)| of("failed", *number, format!("would fail again: {code}")));
    let rest = [
        of("applied", would.apply, "would be applied".into()),
        of(
            "stale",
            would.be_stale,
            "would change nothing, since a newer version is there".into(),
        ),
    ];
    rest.into_iter().flatten().chain(fail).collect()
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Self::Replay => "Replay",
            Self::Discard => "Discard",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Replay => "/events/replay",
            Self::Discard => "/events/discard",
        }
    }

    fn button(self) -> &'static str {
        match self {
            Self::Replay => "primary",
            Self::Discard => "danger",
        }
    }

    /// What is said where there are more than one form takes.
    fn more(self, ask: &Ask) -> String {
        let flag = |(name, flag): &(&str, &str)| {
            let value = ask.get(name);
            (!value.is_empty()).then(|| format!(" {flag} {value}"))
        };
        let flags = [
            ("type", "--type"),
            ("user", "--user"),
            ("error_code", "--error-code"),
            ("since", "--since"),
            ("until", "--until"),
        ];
        let flags: String = flags.iter().filter_map(flag).collect();
        let flags = if flags.is_empty() {
            " --all".into()
        } else {
            flags
        };
        let command = self.word().to_lowercase();
        format!(
            "More than {} match; these are the newest. Come back for the rest, or take them all by command: clerk-sync events {command}{flags}",
            count(EVENTS_MAX)
        )
    }
}

/// `POST /events/replay`
pub async fn replay(form: Posted, api: web::Data<Api>) -> Result<HttpResponse, Refusal> {
    let which = which(&form, now())?;
    let mut done = ReplayReport::default();
    put_back(&api, &which, &mut done).await?;
    Ok(go_to(&after_many("replayed", done.replayed)))
}

/// `POST /events/discard`
pub async fn discard(form: Posted, api: web::Data<Api>) -> Result<HttpResponse, Refusal> {
    let done = replay::discard(&api.store, &which(&form, now())?, false, |_| ()).await?;
    Ok(go_to(&after_many("discarded", done.discarded)))
}

/// A set is what its preview showed: without an end in time it would be another one by now.
fn which(form: &Posted, now: Timestamp) -> Result<Selection, Refusal> {
    let ask = Ask::of(form.fields());
    let (filter, _) = ask.events(now)?;
    if filter.until.is_none() {
        return Err(Refusal::Invalid(
            "The form has no end in time. Start from the list of failed events.".into(),
        ));
    }
    Ok(Selection::Matching {
        filter,
        limit: EVENTS_MAX,
        after: None,
    })
}

fn after_many(done: &str, number: u64) -> String {
    Ask::of([
        ("status", "failed"),
        ("done", done),
        ("number", &number.to_string()),
    ])
    .on("/events")
}

/// What was done with a set a moment ago; taken out of what the page was asked for.
pub fn notice_of_many(ask: &mut Ask) -> Option<String> {
    let (done, number) = (ask.take("done"), ask.take("number"));
    let number = format::events(number?.parse().ok()?);
    match done?.as_str() {
        "replayed" => Some(format!(
            "{number} put back onto the queue. What works now leaves this list by itself."
        )),
        "discarded" => Some(format!("{number} discarded.")),
        _ => None,
    }
}

/// `POST /events/{id}/replay`
pub async fn replay_one(
    _: Posted,
    id: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Refusal> {
    let (id, event) = find(&api, &id).await?;
    let mut done = ReplayReport::default();
    if event.status == Status::Failed {
        put_back(&api, &Selection::Ids(vec![id.clone()]), &mut done).await?;
    }
    let word = if done.replayed == 1 {
        "replayed"
    } else {
        "late"
    };
    Ok(go_to(&format!(
        "/events/{id}?done={word}&attempts={}",
        event.attempts
    )))
}

/// `POST /events/{id}/discard`
pub async fn discard_one(
    _: Posted,
    id: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Refusal> {
    let (id, _) = find(&api, &id).await?;
    let done =
        replay::discard(&api.store, &Selection::Ids(vec![id.clone()]), false, |_| ()).await?;
    let word = if done.discarded == 1 {
        "discarded"
    } else {
        "late"
    };
    Ok(go_to(&format!("/events/{id}?done={word}")))
}

async fn put_back(api: &Api, which: &Selection, done: &mut ReplayReport) -> Result<(), Refusal> {
    replay::replay(&api.store, &api.queue, which, replay::RATE, done, |_, _| ())
        .await
        .map_err(|error| match error {
            ReplayError::Store(error) => Refusal::from(error),
            ReplayError::Queue { .. } => Refusal::Unavailable(format!(
                "{} back on the queue; {error}.",
                format::events(done.replayed)
            )),
        })
}

/// What a replay of one event would come to, in words.
pub async fn would_of_one(
    store: &Store,
    id: EventId,
    error_code: &str,
) -> Result<String, StoreError> {
    let would = replay::preview(store, &Selection::Ids(vec![id]))
        .await?
        .would
        .unwrap_or_default();
    let failed = would.fail.keys().next();
    Ok(match (would.apply, would.be_stale, failed) {
        (1.., _, _) => "it would be applied.".into(),
        (_, 1.., _) => "it would change nothing, since a newer version is there.".into(),
        (_, _, Some(code)) if code == error_code => {
            "it would fail again, for the same reason.".into()
        }
        (_, _, Some(code)) => format!(
            "it would fail again, with {code}. {}",
            error_help::of(code).meaning
        ),
        _ => "it is not failed any more.".into(),
    })
}
