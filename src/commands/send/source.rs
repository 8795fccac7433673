//! Where the events of `send` come from: sample users and organizations, or a file.

use std::io::Read;
use std::path::Path;

use anyhow::Context;
use bytes::Bytes;

use crate::clerk::{ClerkId, Timestamp};
use crate::commands::exit::WrongUsage;
use crate::sample::{Member, Object, Organization, Person, SampleType, Seeded};

/// Sample users that events are spread over by default.
const USERS_DEFAULT: u32 = 1000;

/// 2025-01-01. The sample users signed up in the year after it, each at a time of their own that
/// stays the same from run to run: a `user.updated` must not change when its user was created.
const SIGN_UPS_FROM_MS: i64 = 1_735_689_600_000;
const YEAR_MS: usize = 365 * 86_400_000;

/// How many sample users an organization has.
const MEMBERS: u64 = 10;

/// Where the events come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// Events of `kind`, spread evenly over `users` sample users, or over as many organizations,
    /// memberships or whatever else they are about.
    People {
        kind: SampleType,
        users: u32,
        ids: Ids,
    },
    /// These bytes, under a new ID for each event.
    Body(Bytes),
}

impl Source {
    /// Events about what the IDs leave open: as many objects as `users` says, or one for each of
    /// `count` events.
    ///
    /// # Errors
    /// If the IDs are not of what the events are about.
    pub fn of(
        kind: SampleType,
        ids: Ids,
        users: Option<u32>,
        count: u32,
    ) -> Result<Self, WrongUsage> {
        let object = kind.object();
        if ids.organization.is_some() && object == Object::User {
            return Err(WrongUsage("--organization is for events of organizations"));
        }
        if ids.object.is_some() && !matches!(object, Object::Other(_)) {
            return Err(WrongUsage(
                "--id is for what is no user and no organization: give --user or --organization",
            ));
        }
        let users = match ids.name_one(kind) {
            true => 1,
            false => users.unwrap_or(USERS_DEFAULT).min(count),
        };
        Ok(Self::People { kind, users, ids })
    }

    /// The bytes of a file, or of standard input for `-`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of_file(path: &Path) -> anyhow::Result<Self> {
        read_body(path).map(|body| Self::Body(body.into()))
    }
}

/// What the events are about, as far as a person has said it.
#[derive(Debug, Clone, Default)]
pub struct Ids {
    /// The user, or the member, the founder or who is invited.
    pub user: Option<ClerkId>,
    /// The organization.
    pub organization: Option<ClerkId>,
    /// The object itself, if it is none of the two.
    pub object: Option<ClerkId>,
}

impl Ids {
    /// Whether they leave one object that events of this type can be about.
    pub fn name_one(&self, kind: SampleType) -> bool {
        let is_organization = kind.object() == Object::Organization;
        self.user.is_some()
            || self.object.is_some()
            || is_organization && self.organization.is_some()
    }

    /// The user and the organization of this number under a seed: those of `user.*` and of
    /// `organization.*` with the same seed.
    pub fn member(&self, kind: SampleType, seed: u64, number: u64) -> Member {
        let team = match kind.object() {
            Object::Organization => number,
            _ => number / MEMBERS,
        };
        let user = match (&self.user, kind.object()) {
            (Some(id), _) => person_of(id),
            (None, Object::Organization) => person(seed, team * MEMBERS),
            (None, _) => person(seed, number),
        };
        let organization = match (&self.organization, &self.user) {
            (Some(id), _) if kind.object() == Object::Organization => {
                Organization::with_id(id.clone(), user.clone())
            }
            (Some(id), _) => {
                let founder = Seeded::of_text(id.as_str()).number();
                Organization::with_id(id.clone(), person(founder, 0))
            }
            (None, Some(_)) => Organization::founded_by(user.clone()),
            (None, None) => Organization::founded_by(person(seed, team * MEMBERS)),
        };
        let mut member = Member::new(user, organization);
        member.id.clone_from(&self.object);
        member
    }
}

fn read_body(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path != Path::new("-") {
        return std::fs::read(path)
            .with_context(|| format!("cannot read --file {}", path.display()));
    }
    let mut body = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut body);
    read.context("cannot read the body from standard input")?;
    Ok(body)
}

/// The sample user of a number under a seed.
pub fn person(seed: u64, number: u64) -> Person {
    let mut random = Seeded::of(&[seed, number]);
    Person::generate(random.number(), sign_up_time(&mut random))
}

/// The sample user of an ID: the same under every seed.
pub fn person_of(id: &ClerkId) -> Person {
    let signed_up_at = sign_up_time(&mut Seeded::of_text(id.as_str()));
    Person::with_id(id.clone(), signed_up_at)
}

fn sign_up_time(random: &mut Seeded) -> Timestamp {
    Timestamp::from_ms(SIGN_UPS_FROM_MS + random.below(YEAR_MS) as i64)
        .expect("the year 2025 is a valid time")
}
