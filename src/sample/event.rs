//! Sample events: of a person, or of any bytes; `organization.rs` has those of organizations. Not signed yet.

use bytes::Bytes;
use serde_json::{Value, json};

use super::person::{INSTANCE_ID, PEOPLE, Person};
use super::random::Seeded;
use super::sample_type::{Object, SampleType};
use super::template::named;
use crate::clerk::{EventId, Timestamp, tables};

/// How Clerk names the client of an event that comes from its Backend API.
const BACKEND_AGENT: &str = "clerk/clerk-sdk-go@v2.0.0";

/// An event before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleEvent {
    /// As Svix makes it.
    pub id: EventId,
    /// As Clerk writes it.
    pub body: Bytes,
}

impl SampleEvent {
    /// Any bytes, under an ID as Svix makes them.
    pub fn of_body(body: Bytes, at: Timestamp, random: &mut Seeded) -> Self {
        let id = EventId::new(&random.ksuid("msg_", at))
            .expect("the prefix and base 62 are of the characters of an event ID");
        Self { id, body }
    }
}

/// What an event has beside its object.
pub(super) struct Envelope {
    id: EventId,
    /// Received events were made 4 to 58 ms after `updated_at`.
    lag_ms: i64,
}

impl Envelope {
    pub(super) fn draw(at: Timestamp, random: &mut Seeded) -> Self {
        Self {
            id: SampleEvent::of_body(Bytes::new(), at, random).id,
            lag_ms: 4 + random.below(55) as i64,
        }
    }

    /// The event whose templates have these values.
    pub(super) fn event(self, kind: SampleType, at: Timestamp, mut values: Value) -> SampleEvent {
        // A delete has no version, so its own time is `at`.
        let is_delete = kind.deletes();
        values["timestamp"] = (at.ms() + if is_delete { 0 } else { self.lag_ms }).into();
        if is_delete {
            values["ip"] = "".into();
            values["user_agent"] = BACKEND_AGENT.into();
        }
        values["data"] = named(kind.as_str(), &values);
        SampleEvent {
            id: self.id,
            body: named("event", &values).to_string().into(),
        }
    }
}

impl Person {
    /// The `user.created` of this person. `updated_at` is `at`.
    pub fn created(&self, at: Timestamp) -> SampleEvent {
        self.of_user(0, at, 0)
    }

    /// The `n`th `user.updated`, from 1. `updated_at` is `at`; the time of the last sign-in, the
    /// metadata and, by turns, the last name and the second factor depend on `n`.
    pub fn updated(&self, at: Timestamp, n: u64) -> SampleEvent {
        self.of_user(1, at, n)
    }

    /// The `user.deleted` of this person. It holds no version: only the event's own time, `at`.
    pub fn deleted(&self, at: Timestamp) -> SampleEvent {
        self.of_user(2, at, 0)
    }

    fn of_user(&self, place: usize, at: Timestamp, n: u64) -> SampleEvent {
        let kind = SampleType::named(tables::users::TABLE.events[place].name);
        self.event(kind.expect("every event of a table has a sample"), at, n)
    }

    /// An event of a type that is about a user; `Member` has those of all types. `n` counts updates
    /// and has no effect on other types.
    pub fn event(&self, kind: SampleType, at: Timestamp, n: u64) -> SampleEvent {
        debug_assert_eq!(kind.object(), Object::User, "{}", kind.as_str());
        // Seen from 1970 on, a time is positive.
        let mut random = Seeded::of(&[self.seed, kind.number(), at.ms().unsigned_abs(), n]);
        let envelope = Envelope::draw(at, &mut random);
        let mut values = self.values(kind, at, n);
        match kind.as_str() {
            "session.created" => {
                values["client_id"] = random.ksuid("client_", at).into();
                values["session_id"] = random.ksuid("sess_", at).into();
                values["activity_id"] = random.ksuid("sess_activity_", at).into();
            }
            // A verification code: Clerk sends it before there is a user.
            "email.created" => {
                let code = format!("{:06}", random.below(1_000_000));
                values["html"] = format!(
                    "<!DOCTYPE html>\n<html><body>\
                     <p>{code} is your Acme verification code</p></body></html>"
                )
                .into();
                values["text"] = format!(
                    "{code} is your verification code for Acme.\n\n\
                     Do not share this with anyone.\n"
                )
                .into();
                values["subject"] = format!("{code} is your verification code").into();
                values["code"] = code.into();
                values["message_id"] = random.ksuid("ema_", at).into();
                values["to"] = json!(self.email.as_deref().unwrap_or("somebody@example.com"));
            }
            _ => {}
        }
        if self.sign_up.is_import && kind.creates() {
            values["ip"] = "".into();
            values["user_agent"] = BACKEND_AGENT.into();
        }
        envelope.event(kind, at, values)
    }

    /// The values of the templates: what is known of the person, as their event of this type at
    /// `at` shows it.
    pub(super) fn values(&self, kind: SampleType, at: Timestamp, n: u64) -> Value {
        let update = match kind.table() {
            Some(_) if kind.creates() => None,
            Some(_) => Some(n),
            // A session's user signed in once.
            None => Some(1),
        };
        let n = update.unwrap_or(0);
        let sign_up = self.sign_up;
        let signed_up_at = self.signed_up_at.ms();
        // On for eight updates, off for eight: a second factor needs a password or a passkey.
        let second_factor = n % 16 >= 8 && (sign_up.has_password || sign_up.has_passkey);
        // Another plan after every second update.
        let plans = &PEOPLE.plans;
        let (plan, roles) = &plans[(self.variant + (n / 2 % 4) as usize) % plans.len()];

        let mut values = serde_json::to_value(self).expect("a person is JSON");
        let mut set = |name: &str, value: Value| values[name] = value;
        set("id", self.id.as_str().into());
        set("instance_id", INSTANCE_ID.into());
        set("type", kind.as_str().into());
        set("at", at.ms().into());
        set("signed_up_at", signed_up_at.into());
        let has_been_active = update.is_some() || !sign_up.is_import;
        set("active_at", has_been_active.then(|| at.ms() - 1).into());
        // A sign-in raised `updated_at` 34 ms later in a received body.
        set("signed_in_at", update.map(|_| at.ms() - 34).into());
        set("has_second_factor", second_factor.into());
        set("mfa_enabled_at", second_factor.then(|| at.ms() - 12).into());
        // An address is created before its user: 21 s in a received body. A code lives 10 minutes.
        let code_expires_at = sign_up.attempts.map(|_| signed_up_at - 21_253 + 600_000);
        set("code_expires_at", code_expires_at.into());
        let password_updated_at = sign_up.has_password.then_some(signed_up_at);
        set("password_updated_at", password_updated_at.into());
        let legal_accepted_at = self.legal_accepted.then_some(signed_up_at);
        set("legal_accepted_at", legal_accepted_at.into());
        set("last_name_now", self.last_name_in(n).into());
        set("has_image", sign_up.provider.is_some().into());
        let primary_email_id = self.email.as_ref().map(|_| &*self.email_id);
        set("primary_email_id", primary_email_id.into());
        let primary_phone_id = self.phone.as_ref().map(|_| &*self.phone_id);
        set("primary_phone_id", primary_phone_id.into());
        let account_id = self.login_id.replacen("idn_", "eac_", 1);
        set("external_account_id", account_id.into());
        let provider_user_id = self.customer_id.trim_start_matches("cus_");
        set("provider_user_id", provider_user_id.into());
        set("is_banned", (n % 64 == 63).into());
        set("is_onboarded", (n > 0).into());
        set("is_toured", (n > 1).into());
        set("visits", n.into());
        set("plan", json!(plan));
        set("roles", json!(roles));
        set("theme", ["light", "dark"][self.variant / 4 % 2].into());
        set("risk_score", (self.variant % 100).into());
        values
    }
}
