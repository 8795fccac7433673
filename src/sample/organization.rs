//! Sample organizations, and the users in them: what events of organizations, memberships,
//! invitations and whatever else belongs to an organization are about.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64_URL;
use serde_json::{Value, json};

use super::event::{Envelope, SampleEvent};
use super::person::{INSTANCE_ID, PEOPLE, Person};
use super::random::Seeded;
use super::sample_type::{Object, SampleType};
use crate::clerk::tables::organization_memberships;
use crate::clerk::{ClerkId, Timestamp};

/// How long after its organization the founder's membership is created: 29 ms in a received body.
const FOUNDER_JOINS_MS: i64 = 29;

/// A sample organization: what stays the same over all of its events.
#[derive(Debug, Clone, PartialEq)]
pub struct Organization {
    /// As Clerk makes it, or one's own.
    pub id: ClerkId,
    /// The name.
    pub name: &'static str,
    /// Who created it, when they signed up.
    pub founder: Person,
    slug: String,
}

impl Organization {
    /// The organization that this person founded: always the same.
    pub fn founded_by(founder: Person) -> Self {
        let id = Seeded::of(&[founder.seed, 1]).ksuid("org_", founder.signed_up_at);
        let id = ClerkId::new(&id);
        let id = id.expect("a prefix and 27 characters are within a Clerk ID's limits");
        Self::with_id(id, founder)
    }

    /// The organization of an ID.
    pub fn with_id(id: ClerkId, founder: Person) -> Self {
        let mut random = Seeded::of_text(id.as_str());
        let (name, slug) = random.pick(&PEOPLE.organizations);
        Self {
            id,
            name,
            founder,
            slug: format!("{slug}-{}", random.below(1_000_000)),
        }
    }

    fn created_at(&self) -> Timestamp {
        self.founder.signed_up_at
    }

    /// Clerk's picture of an organization without one.
    fn image_url(&self) -> String {
        let options = json!({
            "type": "default", "iid": INSTANCE_ID, "rid": self.id.as_str(),
            "initials": self.name.chars().next().map(String::from),
        });
        let mut url = String::from("https://img.clerk.com/");
        BASE64_URL.encode_string(options.to_string(), &mut url);
        url
    }
}

/// A sample user in a sample organization: its founder, a member, or who is invited.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The user.
    pub person: Person,
    /// The organization.
    pub organization: Organization,
    /// ID of the object that the events are about; `None` for the one that is always the same for
    /// these two.
    pub id: Option<ClerkId>,
    joined_at: Timestamp,
}

impl Member {
    /// The user in the organization.
    pub fn new(person: Person, organization: Organization) -> Self {
        let joined_at = organization.created_at().max(person.signed_up_at);
        let joined_at = Timestamp::from_ms(joined_at.ms() + FOUNDER_JOINS_MS);
        Self {
            joined_at: joined_at.unwrap_or(person.signed_up_at),
            person,
            organization,
            id: None,
        }
    }

    /// The user in the organization that they founded.
    pub fn founder(person: Person) -> Self {
        Self::new(person.clone(), Organization::founded_by(person))
    }

    /// The same user in the same organization again, at this time: with a new membership, as of who
    /// has left and joins again.
    #[must_use]
    pub fn again(&self, seed: u64, at: Timestamp) -> Self {
        let prefix = format!("{}_", organization_memberships::TABLE.id_prefix);
        let id = ClerkId::new(&Seeded::of(&[seed]).ksuid(&prefix, at));
        Self {
            id: Some(id.expect("a prefix and 27 characters are within a Clerk ID's limits")),
            joined_at: at,
            ..self.clone()
        }
    }

    /// The ID of what events of this type are about.
    pub fn object_id(&self, kind: SampleType) -> ClerkId {
        let Object::Other(prefix) = kind.object() else {
            let is_user = kind.object() == Object::User;
            return if is_user {
                self.person.id.clone()
            } else {
                self.organization.id.clone()
            };
        };
        self.id.clone().unwrap_or_else(|| {
            let mut random = Seeded::of(&[self.pair(), [number(prefix), 0]].concat());
            let id = random.ksuid(&format!("{prefix}_"), self.organization.created_at());
            let id = ClerkId::new(&id);
            id.expect("a prefix and 27 characters are within a Clerk ID's limits")
        })
    }

    fn pair(&self) -> [u64; 2] {
        [
            number(self.person.id.as_str()),
            number(self.organization.id.as_str()),
        ]
    }

    /// An event of any type. `n` counts updates and has no effect on other types.
    pub fn event(&self, kind: SampleType, at: Timestamp, n: u64) -> SampleEvent {
        if kind.object() == Object::User {
            return self.person.event(kind, at, n);
        }
        let (user, organization) = (&self.person, &self.organization);
        let id = self.object_id(kind);
        let pair = self.pair();
        let own = [
            kind.number(),
            at.ms().unsigned_abs(),
            n,
            number(id.as_str()),
        ];
        let mut random = Seeded::of(&[pair, [own[0], own[1]], [own[2], own[3]]].concat());
        let envelope = Envelope::draw(at, &mut random);
        let n = if kind.creates() { 0 } else { n };
        let mut values = user.values(kind, at, n);
        let mut set = |name: &str, value: Value| values[name] = value;
        set("id", id.as_str().into());
        set("visits", n.into());
        set("created_at", self.joined_at.ms().into());
        set("user_id", user.id.as_str().into());
        set("identifier", json!(user.identifier()));
        let invited = user.email.as_deref().unwrap_or("somebody@example.com");
        set("invited_email", invited.into());
        let team = Seeded::of(&pair).below(PEOPLE.teams.len());
        set("team", json!(PEOPLE.teams[team]));
        // The founder is an admin; another member is one after every second update.
        let is_admin = user.id == organization.founder.id || n % 2 == 1;
        let role = &PEOPLE.member_roles[usize::from(!is_admin)];
        for (name, value) in role {
            set(name, value.clone());
        }
        set("ticket", random.ksuid("ticket_", at).into());

        set("organization_id", organization.id.as_str().into());
        set("organization_name", organization.name.into());
        set("organization_slug", organization.slug.as_str().into());
        set("organization_image_url", organization.image_url().into());
        let created_at = organization.created_at().ms();
        set("organization_created_at", created_at.into());
        set("members_count", (1 + n % 50).into());
        let founder = &organization.founder;
        set("founder_id", founder.id.as_str().into());
        set("founder_first_name", json!(founder.first_name));
        set("founder_last_name", json!(founder.last_name));
        set("founder_image_url", founder.image_url.as_str().into());
        set("founder_identifier", json!(founder.identifier()));
        envelope.event(kind, at, values)
    }
}

/// A number that stands for the text.
fn number(text: &str) -> u64 {
    Seeded::of_text(text).number()
}
