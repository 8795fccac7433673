//! `dev --demo`: a history as Clerk delivers it, with an event that comes twice, two that come late
//! and one that the database refuses; of users and of an organization.
//!
//! Each event is made when it is shown and sent at once; only the late one waits for two others. So
//! all times are real.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};

use crate::backoff::Backoff;
use crate::clerk::tables::{organization_memberships, organizations};
use crate::clerk::{ClerkId, EventType, SyncedTables};
use crate::clock::now;
use crate::commands::output::{self, Cell, of_rows, or_dash};
use crate::commands::send::Sender;
use crate::sample::{Member, Organization, Person, SampleEvent, SampleType};
use crate::store::{EventRow, Status, Store, TableRow};

/// How long an event may take to be recorded: far above what a loaded machine needs.
const DEADLINE: Duration = Duration::from_secs(60);

/// Between an event and its delivery. Clerk gives an event a time up to 58 ms after that of the
/// change, and it must not be ahead of the delivery.
const DELIVERY_DELAY: Duration = Duration::from_millis(60);

/// What `dev` points at afterwards.
pub struct Demo {
    /// The event that failed; `None` if the settings leave out what it fails for.
    pub failed: Option<EventRow>,
    /// The user that the late event is about.
    pub late_user: ClerkId,
    /// The organization; `None` if it was not shown.
    pub organization: Option<ClerkId>,
}

/// Sends the history, with an organization if its tables are synced. Prints it, the rows and what the
/// deliveries did. `base` is the dashboard's URL.
pub async fn run(
    sender: &Sender,
    store: &Store,
    base: &str,
    synced: &SyncedTables,
) -> anyhow::Result<Demo> {
    let mut people = Vec::new();
    while people.len() < 4 {
        let person = Person::generate(rand::random(), now());
        // Names that a reader can tell apart, in letters that every terminal aligns.
        let is_new = |known: &Person| known.name() != person.name();
        let organization = Organization::founded_by(person.clone()).name;
        let is_ascii = person.name().is_ascii() && organization.is_ascii();
        if person.has_name() && is_ascii && people.iter().all(is_new) {
            people.push(person);
        }
    }
    let [first, second, late, leaver] = &people[..] else {
        unreachable!("there are four")
    };
    output::print("\nSending signed events to the webhook, as Clerk does:\n")?;
    let mut history = History {
        sender,
        store,
        sent: Vec::new(),
    };
    for person in &people {
        let event = person.created(now());
        history.send(&event, &person.name(), "").await?;
    }
    let event = first.updated(now(), 1);
    history.send(&event, &first.name(), "").await?;
    let event = second.updated(now(), 1);
    history.send(&event, &second.name(), "").await?;
    let note = ", the same event again";
    history.send(&event, &second.name(), note).await?;

    let held_back = late.updated(now(), 1);
    sleep(DELIVERY_DELAY).await;
    let event = late.updated(now(), 2);
    history.send(&event, &late.name(), "").await?;
    let event = late.deleted(now());
    history.send(&event, &late.name(), "").await?;
    let note = ", late: from before the two above";
    history.send(&held_back, &late.name(), note).await?;

    let event = leaver.deleted(now());
    history.send(&event, &leaver.name(), "").await?;
    let again = leaver.with_new_account(rand::random(), now());
    let event = again.created(now());
    if let Store::Sqlite(file) = store {
        file.set_demo_rule(Some(&again.id)).await;
    }
    let note = ", a new account with the old address";
    let sent = history.send(&event, &again.name(), note).await;
    if let Store::Sqlite(file) = store {
        file.set_demo_rule(None).await;
    }
    sent?;
    let shows_members =
        synced.has(&organizations::TABLE) && synced.has(&organization_memberships::TABLE);
    let organization = match shows_members {
        true => Some(history.send_members(first, second).await?),
        false => None,
    };

    let mut rows = Vec::new();
    for person in people.iter().chain([&again]) {
        rows.extend(store.user(&person.id).await?);
    }
    output::print(&format!("\nThe users table now:\n{}", of_users(&rows)))?;
    if let Some(organization) = &organization {
        let members = members(store, organization, &people).await?;
        let name = organization.name;
        output::print(&format!("\nThe members of {name} now:\n{members}"))?;
    }
    let events = history.outcomes().await?;
    output::print(&format!("\n{}", summary(&events, base)))?;
    Ok(Demo {
        failed: events.into_iter().find(is_failed),
        late_user: late.id.clone(),
        organization: organization.map(|organization| organization.id),
    })
}

fn is_failed(event: &EventRow) -> bool {
    event.status == Status::Failed
}

/// The events that were sent.
struct History<'a> {
    sender: &'a Sender,
    store: &'a Store,
    sent: Vec<SampleEvent>,
}

impl History<'_> {
    /// Sends an event, and waits until a worker has recorded this delivery.
    async fn send(&mut self, event: &SampleEvent, whom: &str, note: &str) -> anyhow::Result<()> {
        sleep(DELIVERY_DELAY).await;
        let event_type = EventType::read(&event.body);
        let what = format!("{}  {whom}{note}", event_type.as_str());
        let answer = self.sender.post(event).await?;
        if !answer.is_accepted() {
            let (status, word) = (answer.status, answer.word);
            bail!("the event {what} was answered {status} {word}");
        }
        output::print(&format!("  {what}\n"))?;
        self.sent.push(event.clone());
        let deliveries = self.sent.iter().filter(|sent| sent.id == event.id).count();
        let (mut waiting, deadline) = (Backoff::for_outage(), Instant::now() + DEADLINE);
        loop {
            let row = self.store.event(&event.id).await.ok().flatten();
            if row.is_some_and(|row| row.deliveries >= deliveries as i64) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let seconds = DEADLINE.as_secs();
                bail!(
                    "the event {what} was queued but not applied within {seconds} s; see the log"
                );
            }
            waiting.wait().await;
        }
    }

    /// Sends the events of an organization that `founder` founded. The other member leaves and joins
    /// again, and the event of the leaving comes last: it ends the membership before, not the new
    /// one.
    async fn send_members(
        &mut self,
        founder: &Person,
        other: &Person,
    ) -> anyhow::Result<Organization> {
        let founder = Member::founder(founder.clone());
        let other = Member::new(other.clone(), founder.organization.clone());
        let name = founder.organization.name;
        let event = event_of(&founder, "organization.created");
        self.send(&event, name, "").await?;
        for member in [&founder, &other] {
            let event = event_of(member, JOINED);
            self.send(&event, &member.person.name(), "").await?;
        }
        let left = event_of(&other, "organizationMembership.deleted");
        sleep(DELIVERY_DELAY).await;
        let again = other.again(rand::random(), now());
        let whom = again.person.name();
        let note = ", again: a new membership";
        self.send(&event_of(&again, JOINED), &whom, note).await?;
        let note = ", late: of the old one";
        self.send(&left, &whom, note).await?;
        Ok(founder.organization)
    }

    /// The rows of `events`, each once.
    async fn outcomes(&self) -> anyhow::Result<Vec<EventRow>> {
        let mut ids: Vec<_> = self.sent.iter().map(|event| event.id.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        Ok(self.store.events_by_id(&ids, 0).await?)
    }
}

/// By which a user joins an organization.
const JOINED: &str = "organizationMembership.created";

/// The event of this type, of now.
fn event_of(member: &Member, event_type: &str) -> SampleEvent {
    let kind = SampleType::named(event_type).expect("every type of a table has a sample");
    member.event(kind, now(), 0)
}

/// Who is a member by the view, as narrow as a terminal.
async fn members(
    store: &Store,
    organization: &Organization,
    people: &[Person],
) -> anyhow::Result<String> {
    let (table, id) = (&organization_memberships::TABLE, organization.id.as_str());
    let view = &table.views[0];
    let members = store
        .rows_of_view(table, view, "organization_id", id)
        .await?;
    let rows = members.iter().map(|member| {
        let user = member.text("user_id");
        let person = people
            .iter()
            .find(|person| Some(person.id.as_str()) == user);
        vec![
            Cell::new(person.map(Person::name).unwrap_or_default()),
            Cell::new(or_dash(member.text("role"))),
            Cell::new(or_dash(member.time("created_at").map(output::local))),
        ]
    });
    Ok(of_rows(&["NAME", "ROLE", "JOINED"], rows))
}

/// The rows, as narrow as a terminal.
fn of_users(users: &[TableRow]) -> String {
    let rows = users.iter().map(|user| {
        let names = [user.text("first_name"), user.text("last_name")];
        let names: Vec<_> = names.into_iter().flatten().collect();
        vec![
            Cell::new(names.join(" ")),
            Cell::new(or_dash(user.text("email"))),
            Cell::new(or_dash(user.deleted_at.map(output::local))),
        ]
    });
    of_rows(&["NAME", "E-MAIL", "DELETED"], rows)
}

/// What the deliveries did, and where to look at the one that failed.
fn summary(events: &[EventRow], base: &str) -> String {
    let number = |status| events.iter().filter(|event| event.status == status).count() as u64;
    let repeated: i64 = events.iter().map(|event| event.deliveries - 1).sum();
    let failed = events.iter().find(|event| is_failed(event));
    let page = failed.map(|event| format!("{base}events/{}", event.event_id));
    let page = page.unwrap_or_default();
    let lines = [
        (number(Status::Applied), "changed their row".into()),
        (
            repeated.cast_unsigned(),
            "came a second time: counted once".into(),
        ),
        (
            number(Status::Stale),
            "came late: the row did not change".into(),
        ),
        (number(Status::Failed), format!("failed: open {page}")),
    ];
    let deliveries: u64 = lines.iter().map(|(number, _)| number).sum();
    let mut text = format!("What the {deliveries} deliveries did:\n");
    for (number, what) in lines.into_iter().filter(|(number, _)| *number > 0) {
        text += &format!("  {number} {what}\n");
    }
    if failed.is_some() {
        text += "\nThe one failed because the demo had set a rule for this account: an address is\n\
                 used once. The rule is gone, the event is kept: a replay repairs the row.\n";
    }
    text
}
