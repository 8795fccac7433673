//! The JSON of a sample event, byte for byte as Clerk writes it: compact, keys in alphabetical
//! order.
//!
//! `bodies.json` has a template for each object; a text that starts with `$` in it stands for the
//! value of that name. Sources: received bodies and Clerk's webhook schema of 2025-04-15.

use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::{Value, json};

use super::person::{INSTANCE_ID, Person, SignUp};
use super::random::Seeded;
use super::sample_type::SampleType;
use crate::clerk::Timestamp;

static TEMPLATES: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("bodies.json")).expect("the templates are JSON")
});

/// How Clerk names the client of an event that comes from its Backend API.
const BACKEND_AGENT: &str = "clerk/clerk-sdk-go@v2.0.0";

const BROWSERS: [&str; 4] = [
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
];

const PLANS: [(&str, &[&str]); 4] = [
    ("free", &["viewer"]),
    ("starter", &["editor"]),
    ("pro", &["editor", "billing"]),
    ("business", &["admin", "editor", "billing"]),
];

/// How long a code or an unfinished sign-in is valid, in milliseconds.
const CODE_LIFETIME_MS: i64 = 600_000;

const DAY_MS: i64 = 86_400_000;

/// The whole body of the event of type `kind` at `at`. `n` counts updates.
pub fn body(
    person: &Person,
    kind: SampleType,
    at: Timestamp,
    n: u64,
    random: &mut Seeded,
) -> Bytes {
    // Received events were made 4 to 58 ms after `updated_at`.
    let lag = 4 + random.below(55) as i64;
    let is_delete = kind == SampleType::UserDeleted;
    let is_import = person.sign_up == SignUp::Import && kind == SampleType::UserCreated;
    let (client_ip, user_agent) = if is_delete || is_import {
        ("", BACKEND_AGENT)
    } else {
        (&*person.ip, BROWSERS[person.user_agent % BROWSERS.len()])
    };
    let data = match kind {
        SampleType::UserCreated => user(person, at, None),
        SampleType::UserUpdated => user(person, at, Some(n)),
        SampleType::UserDeleted => filled("deleted_user", &json!({ "id": person.id.as_str() })),
        SampleType::SessionCreated => session(person, at, random),
        SampleType::EmailCreated => email(person, at, random),
        SampleType::OrganizationCreated => organization(person, at.ms()),
        SampleType::OrganizationMembershipCreated => membership(person, at, random),
    };
    let event = filled(
        "event",
        &json!({
            "data": data,
            "client_ip": client_ip,
            "user_agent": user_agent,
            "instance_id": INSTANCE_ID,
            // A delete has no version, so its own time is `at`.
            "timestamp": at.ms() + if is_delete { 0 } else { lag },
            "type": kind.as_str(),
        }),
    );
    event.to_string().into()
}

/// The template of this name with these values.
fn filled(template: &str, values: &Value) -> Value {
    fill(&TEMPLATES[template], values)
}

fn fill(template: &Value, values: &Value) -> Value {
    match template {
        Value::String(text) => match text.strip_prefix('$') {
            Some(name) => values[name].clone(),
            None => template.clone(),
        },
        Value::Object(fields) => {
            let fields = fields.iter();
            fields
                .map(|(name, field)| (name.clone(), fill(field, values)))
                .collect()
        }
        other => other.clone(),
    }
}

/// The user as created, or after `update`.
fn user(person: &Person, at: Timestamp, update: Option<u64>) -> Value {
    let n = update.unwrap_or(0);
    let signed_up_at = person.signed_up_at.ms();
    let has_password = matches!(
        person.sign_up,
        SignUp::Password | SignUp::UsernameOnly | SignUp::Import
    );
    // On for eight updates, off for eight: a second factor needs a password or a passkey.
    let two_factor = n % 16 >= 8 && (has_password || person.sign_up == SignUp::Passkey);
    // Another plan after every second update.
    let (plan, roles) = PLANS[(person.plan + (n / 2 % 4) as usize) % PLANS.len()];
    let theme = ["light", "dark"][person.plan / 4 % 2];
    filled(
        "user",
        &json!({
            "two_factor": two_factor,
            "banned": n % 64 == 63,
            "signed_up_at": signed_up_at,
            "email_addresses": email_addresses(person),
            "external_accounts": external_accounts(person),
            "external_id": person.external_id,
            "first_name": person.first_name,
            "has_image": person.oauth().is_some(),
            "id": person.id.as_str(),
            "image_url": person.image_url,
            "active_at": (update.is_some() || person.sign_up != SignUp::Import).then(|| at.ms() - 1),
            "last_name": person.last_name_in(n),
            // A sign-in raised `updated_at` 34 ms later in a received body.
            "signed_in_at": update.map(|_| at.ms() - 34),
            "legal_accepted_at": person.legal_accepted.then_some(signed_up_at),
            "locale": person.locale,
            "mfa_enabled_at": two_factor.then_some(at.ms() - 12),
            "passkeys": passkeys(person),
            "has_password": has_password,
            "password_updated_at": has_password.then_some(signed_up_at),
            "phone_numbers": phone_numbers(person),
            "email_id": person.email.as_ref().map(|_| &person.email_id),
            "phone_id": person.phone.as_ref().map(|_| &person.phone_id),
            "customer_id": person.customer_id,
            "risk_score": person.plan % 100,
            "onboarded": n > 0,
            "plan": plan,
            "roles": roles,
            "visits": n,
            "newsletter": person.legal_accepted,
            "theme": theme,
            "toured": n > 1,
            "updated_at": at.ms(),
            "username": person.username,
        }),
    )
}

fn verification(
    object: &str,
    strategy: &str,
    attempts: Option<u32>,
    expire_at: Option<i64>,
) -> Value {
    filled(
        "verification",
        &json!({
            "attempts": attempts,
            "expire_at": expire_at,
            "object": object,
            "strategy": strategy,
        }),
    )
}

fn email_addresses(person: &Person) -> Value {
    // An address is created before its user: 21 s in a received body.
    let created_at = person.signed_up_at.ms() - 21_253;
    let address = |id: &str, email: &str, linked_to: Value, verification: Value| {
        filled(
            "email_address",
            &json!({
                "created_at": created_at,
                "email": email,
                "id": id,
                "linked_to": linked_to,
                "updated_at": person.signed_up_at.ms() + 4,
                "verification": verification,
            }),
        )
    };
    let verified = match person.sign_up {
        SignUp::Google => verification("verification_from_oauth", "from_oauth_google", None, None),
        SignUp::GitHub => verification("verification_from_oauth", "from_oauth_github", None, None),
        SignUp::Import => verification("verification_admin", "admin", None, None),
        _ => {
            let expire_at = created_at + CODE_LIFETIME_MS;
            verification("verification_otp", "email_code", Some(1), Some(expire_at))
        }
    };
    let link = person
        .oauth()
        .map(|provider| json!({ "id": person.login_id, "type": provider }));
    let second = person.second_email.iter();
    let second =
        second.map(|email| address(&person.second_email_id, email, json!([]), Value::Null));
    let first = person.email.iter();
    let first = first.map(|email| {
        let linked_to = Value::from_iter(link.clone());
        address(&person.email_id, email, linked_to, verified.clone())
    });
    // The primary one is not always the first, as in received bodies.
    second.chain(first).collect()
}

fn external_accounts(person: &Person) -> Value {
    let at = person.signed_up_at.ms() - 1200;
    let account = person.oauth().map(|provider| {
        let scopes = if provider == "oauth_google" {
            "email https://www.googleapis.com/auth/userinfo.email https://www.googleapis.com/auth/userinfo.profile openid profile"
        } else {
            "read:user user:email"
        };
        filled(
            "external_account",
            &json!({
                "scopes": scopes,
                "at": at,
                "email": person.email,
                "first_name": person.first_name,
                "id": person.login_id.replacen("idn_", "eac_", 1),
                "login_id": person.login_id,
                "last_name": person.last_name,
                "provider": provider,
                "provider_user_id": person.customer_id.trim_start_matches("cus_"),
                "verification": verification("verification_oauth", provider, None, Some(at + CODE_LIFETIME_MS)),
            }),
        )
    });
    account.into_iter().collect()
}

fn passkeys(person: &Person) -> Value {
    let at = person.signed_up_at.ms() - 90;
    let passkey = (person.sign_up == SignUp::Passkey).then(|| {
        filled(
            "passkey",
            &json!({ "id": person.login_id, "at": at, "expire_at": at + CODE_LIFETIME_MS }),
        )
    });
    passkey.into_iter().collect()
}

fn phone_numbers(person: &Person) -> Value {
    let at = person.signed_up_at.ms() - 9_000;
    let number = person.phone.iter().map(|phone| {
        filled(
            "phone_number",
            &json!({
                "created_at": at,
                "id": person.phone_id,
                "phone": phone,
                "updated_at": at + 9_005,
                "verification": verification("verification_otp", "phone_code", Some(1), Some(at + CODE_LIFETIME_MS)),
            }),
        )
    });
    number.collect()
}

fn session(person: &Person, at: Timestamp, random: &mut Seeded) -> Value {
    filled(
        "session",
        &json!({
            // Clerk's defaults: 7 days, and 30 until the session is abandoned.
            "abandon_at": at.ms() + 30 * DAY_MS,
            "expire_at": at.ms() + 7 * DAY_MS,
            "client_id": random.ksuid("client_", at),
            "created_at": at.ms() - 22,
            "id": random.ksuid("sess_", at),
            "activity_id": random.ksuid("sess_activity_", at),
            "ip": person.ip,
            "updated_at": at.ms(),
            "user": user(person, at, Some(1)),
            "user_id": person.id.as_str(),
        }),
    )
}

/// A verification code: Clerk sends it before there is a user.
fn email(person: &Person, at: Timestamp, random: &mut Seeded) -> Value {
    let code = format!("{:06}", random.below(1_000_000));
    filled(
        "email",
        &json!({
            "body": format!("<!DOCTYPE html>\n<html><body><p>{code} is your Acme verification code</p></body></html>"),
            "body_plain": format!("{code} is your verification code for Acme.\n\nDo not share this with anyone.\n"),
            "subject": format!("{code} is your verification code"),
            "code": code,
            "at": at.ms(),
            "email_id": person.email_id,
            "id": random.ksuid("ema_", at),
            "to": person.email.as_deref().unwrap_or("somebody@example.com"),
        }),
    )
}

/// The organization that the person founded: always the same.
fn organization(person: &Person, at_ms: i64) -> Value {
    filled(
        "organization",
        &json!({
            "at": at_ms,
            "user_id": person.id.as_str(),
            "id": Seeded::of(&[person.seed, 1]).ksuid("org_", person.signed_up_at),
            "image_url": person.image_url,
            "slug": format!("fern-co-labs-{}", person.seed % 1_000_000),
        }),
    )
}

fn membership(person: &Person, at: Timestamp, random: &mut Seeded) -> Value {
    let identifier = person
        .email
        .as_ref()
        .or(person.username.as_ref())
        .or(person.phone.as_ref());
    filled(
        "membership",
        &json!({
            "at": at.ms(),
            "id": random.ksuid("orgmem_", at),
            // 29 ms before the founder's membership, in a received body.
            "organization": organization(person, at.ms() - 29),
            "first_name": person.first_name,
            "identifier": identifier,
            "image_url": person.image_url,
            "last_name": person.last_name,
            "user_id": person.id.as_str(),
        }),
    )
}
