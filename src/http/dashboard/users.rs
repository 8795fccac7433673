//! `/users`: who is in the table, and one of them with all that is known and its history.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;

use super::filters::Ask;
use super::format::{When, when};
use super::page::{Frame, Refusal, answer};
use super::payload::show_json;
use super::session::Session;
use super::view_models::{Block, EventLine, Person};
use crate::clerk::{ClerkId, Timestamp, api_object};
use crate::clock::now;
use crate::http::Api;
use crate::store::{HistoryRow, Status, TableRow};

#[derive(Template)]
#[template(path = "users.html")]
struct UsersPage {
    frame: Frame,
    ask: Ask,
    users: Vec<Person>,
    is_later: bool,
    first: String,
    next: Option<String>,
}

/// `GET /users`
pub async fn list(
    session: Session,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, Refusal> {
    let now = now();
    let ask = Ask::read(request.query_string())?;
    let (filter, page) = ask.users()?;
    let listing = api.store.users(&filter, &page).await?;
    let frame = Frame::of(&session, "users", "Users");
    answer(&UsersPage {
        frame: if page.after.is_none() {
            frame.live()
        } else {
            frame
        },
        users: listing
            .rows
            .iter()
            .map(|user| Person::of(user, now))
            .collect(),
        is_later: page.after.is_some(),
        first: ask.without("cursor").on("/users"),
        next: listing
            .next
            .map(|cursor| ask.with("cursor", &cursor.to_string()).on("/users")),
        ask,
    })
}

/// An event of a user's, and what it did.
struct Step {
    event: EventLine,
    why: String,
    /// What stands in the reason after the ID that it names.
    why_then: String,
    /// Whether the reason is a sentence, and does not begin with a code.
    is_sentence: bool,
    /// The event whose newer version was there.
    behind: Option<String>,
    changed: Option<Vec<String>>,
}

#[derive(Template)]
#[template(path = "user.html")]
struct UserPage {
    frame: Frame,
    id: String,
    person: Person,
    is_erased: bool,
    profile: Vec<(&'static str, String)>,
    times: Vec<(&'static str, When)>,
    event_id: Option<String>,
    /// Whether the profile came from no event, but from Clerk's list.
    is_reading: bool,
    metadata: Vec<(&'static str, Block)>,
    data: Option<Block>,
    history: Vec<Step>,
    is_later: bool,
    first: String,
    next: Option<String>,
}

/// `GET /users/{id}`
pub async fn show(
    session: Session,
    request: HttpRequest,
    id: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Refusal> {
    const ABSENT: Refusal = Refusal::NotFound(
        "No user has this ID here. An event of this user may be on its way, or may have failed.",
    );
    let now = now();
    let ask = Ask::read(request.query_string())?;
    let (_, page) = ask.events(now)?;
    let id = ClerkId::new(&id).ok_or(ABSENT)?;
    let user = api.store.user(&id).await?.ok_or(ABSENT)?;
    let listing = api.store.history(&id, &page).await?;
    let person = Person::of(&user, now);
    let path = format!("/users/{}", person.path);
    let frame = Frame::of(&session, "users", person.name.clone());
    answer(&UserPage {
        frame: if page.after.is_none() {
            frame.live()
        } else {
            frame
        },
        is_erased: user.erased_at.is_some(),
        profile: profile(&user),
        times: times(&user, now),
        event_id: user
            .event_id
            .clone()
            .filter(|id| !api_object::is_reading(id)),
        is_reading: user.event_id.as_deref().is_some_and(api_object::is_reading),
        metadata: metadata(&user),
        data: user
            .data
            .as_deref()
            .map(|data| show_json(data.get()).into()),
        history: listing.rows.iter().map(|row| step(row, now)).collect(),
        is_later: page.after.is_some(),
        next: listing
            .next
            .map(|cursor| ask.with("cursor", &cursor.to_string()).on(&path)),
        first: path,
        id: user.clerk_id,
        person,
    })
}

fn step(row: &HistoryRow, now: Timestamp) -> Step {
    let behind = row
        .event
        .superseded_by
        .as_deref()
        .filter(|by| *by != row.event.event_id);
    // The ID in the sentence becomes a link.
    let parts = behind.and_then(|by| row.why.split_once(by));
    let (why, why_then) = parts.unwrap_or((&row.why, ""));
    Step {
        event: EventLine::of(&row.event, now),
        why: why.to_owned(),
        why_then: why_then.to_owned(),
        is_sentence: row.event.status != Status::Failed,
        behind: behind.filter(|_| parts.is_some()).map(str::to_owned),
        changed: row.changed.clone(),
    }
}

fn profile(user: &TableRow) -> Vec<(&'static str, String)> {
    let verified = |value, is_verified| {
        let status = match user.boolean(is_verified) {
            Some(true) => " (verified)",
            Some(false) => " (not verified)",
            None => "",
        };
        user.text(value).map(|value| format!("{value}{status}"))
    };
    let text = |column| user.text(column).map(str::to_owned);
    let yes_no = |column| {
        let value = user.boolean(column)?;
        Some(if value { "yes" } else { "no" }.to_owned())
    };
    let fields = [
        ("Clerk ID", Some(user.clerk_id.clone())),
        ("E-mail", verified("email", "email_verified")),
        ("Phone", verified("phone", "phone_verified")),
        ("Username", text("username")),
        ("First name", text("first_name")),
        ("Last name", text("last_name")),
        ("External ID", text("external_id")),
        ("Locale", text("locale")),
        ("Picture", text("image_url")),
        ("Banned", yes_no("banned")),
        ("Locked", yes_no("locked")),
        ("Two factors", yes_no("two_factor_enabled")),
        ("Password", yes_no("password_enabled")),
    ];
    fields
        .into_iter()
        .map(|(name, value)| (name, value.unwrap_or_else(|| "—".into())))
        .collect()
}

fn times(user: &TableRow, now: Timestamp) -> Vec<(&'static str, When)> {
    let times = [
        ("Created", user.time("created_at")),
        ("Updated", user.updated_at),
        ("Deleted", user.deleted_at),
        ("Erased", user.erased_at),
        ("Last sign-in", user.time("last_sign_in_at")),
        ("Last active", user.time("last_active_at")),
        ("Terms accepted", user.time("legal_accepted_at")),
        ("Written here", Some(user.synced_at)),
    ];
    times
        .into_iter()
        .filter_map(|(name, time)| Some((name, when(time?, now))))
        .collect()
}

fn metadata(user: &TableRow) -> Vec<(&'static str, Block)> {
    let all = [
        ("Public metadata", user.json("public_metadata")),
        ("Private metadata", user.json("private_metadata")),
        ("Unsafe metadata", user.json("unsafe_metadata")),
    ];
    let block = |json: &str| (json != "{}").then(|| show_json(json).into());
    all.into_iter()
        .filter_map(|(name, json)| Some((name, block(json?)?)))
        .collect()
}
