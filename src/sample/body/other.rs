//! Events of other types than the user's own: Clerk sends them to every endpoint that asked for all. See `body` for the
//! order of the fields.

use serde::Serialize;

use super::super::Person;
use super::super::random::Seeded;
use super::user::{Empty, User};
use crate::clerk::Timestamp;

/// How long a session lasts, in milliseconds: 7 days, and 30 until it is given up. Clerk's defaults.
const SESSION_MS: i64 = 7 * 86_400_000;
const SESSION_ABANDON_MS: i64 = 30 * 86_400_000;

/// Carries the whole user.
#[derive(Serialize)]
pub(super) struct Session<'a> {
    abandon_at: i64,
    actor: super::Null,
    client_id: String,
    created_at: i64,
    expire_at: i64,
    id: String,
    last_active_at: i64,
    last_active_organization_id: super::Null,
    latest_activity: Activity<'a>,
    object: &'a str,
    status: &'a str,
    updated_at: i64,
    user: User<'a>,
    user_id: &'a str,
}

#[derive(Serialize)]
struct Activity<'a> {
    browser_name: &'a str,
    browser_version: &'a str,
    city: &'a str,
    country: &'a str,
    device_type: &'a str,
    id: String,
    ip_address: &'a str,
    is_mobile: bool,
    object: &'a str,
}

impl<'a> Session<'a> {
    pub(super) fn of(person: &'a Person, at: Timestamp, random: &mut Seeded) -> Self {
        Self {
            abandon_at: at.ms() + SESSION_ABANDON_MS,
            actor: None,
            client_id: random.ksuid("client_", at),
            created_at: at.ms() - 22,
            expire_at: at.ms() + SESSION_MS,
            id: random.ksuid("sess_", at),
            last_active_at: at.ms() - 22,
            last_active_organization_id: None,
            latest_activity: Activity {
                browser_name: "Chrome",
                browser_version: "142.0.0.0",
                city: "Lisbon",
                country: "PT",
                device_type: "Macintosh",
                id: random.ksuid("sess_activity_", at),
                ip_address: &person.ip,
                is_mobile: false,
                object: "session_activity",
            },
            object: "session",
            status: "active",
            updated_at: at.ms(),
            user: User::of(person, at, Some(1)),
            user_id: person.id.as_str(),
        }
    }
}

/// A verification code on its way: sent before there is a user.
#[derive(Serialize)]
pub(super) struct Email<'a> {
    body: String,
    body_plain: String,
    data: EmailData<'a>,
    delivered_by_clerk: bool,
    email_address_id: &'a str,
    from_email_name: &'a str,
    id: String,
    object: &'a str,
    slug: &'a str,
    status: &'a str,
    subject: String,
    to_email_address: &'a str,
    user_id: super::Null,
}

#[derive(Serialize)]
struct EmailData<'a> {
    app: App<'a>,
    otp_code: String,
    requested_at: i64,
    requested_by: &'a str,
}

#[derive(Serialize)]
struct App<'a> {
    domain_name: &'a str,
    logo_url: super::Null,
    name: &'a str,
    url: &'a str,
}

impl<'a> Email<'a> {
    pub(super) fn of(person: &'a Person, at: Timestamp, random: &mut Seeded) -> Self {
        let code = format!("{:06}", random.below(1_000_000));
        Self {
            body: format!(
                "<!DOCTYPE html>\n<html><body><p>{code} is your Acme verification code</p></body></html>"
            ),
            body_plain: format!(
                "{code} is your verification code for Acme.\n\nDo not share this with anyone.\n"
            ),
            delivered_by_clerk: true,
            email_address_id: &person.email_id,
            from_email_name: "notifications",
            id: random.ksuid("ema_", at),
            object: "email",
            slug: "verification_code",
            status: "queued",
            subject: format!("{code} is your verification code"),
            to_email_address: person.email.as_deref().unwrap_or("somebody@example.com"),
            user_id: None,
            data: EmailData {
                app: App {
                    domain_name: "acme.example.com",
                    logo_url: None,
                    name: "Acme",
                    url: "https://accounts.acme.example.com",
                },
                otp_code: code,
                requested_at: at.ms(),
                requested_by: "Chrome, OS X",
            },
        }
    }
}

#[derive(Serialize)]
struct Organization<'a> {
    admin_delete_enabled: bool,
    created_at: i64,
    created_by: &'a str,
    has_image: bool,
    id: String,
    image_url: &'a str,
    logo_url: super::Null,
    max_allowed_memberships: u32,
    name: &'a str,
    object: &'a str,
    private_metadata: Empty,
    public_metadata: Empty,
    slug: String,
    updated_at: i64,
}

impl<'a> Organization<'a> {
    /// Each person founds one, and always the same.
    fn of(person: &'a Person, created_at: i64) -> Self {
        let id = Seeded::of(&[person.seed, 1]).ksuid("org_", person.signed_up_at);
        Self {
            admin_delete_enabled: true,
            created_at,
            created_by: person.id.as_str(),
            has_image: false,
            image_url: &person.image_url,
            logo_url: None,
            max_allowed_memberships: 5,
            name: "Fern & Co <Labs>",
            object: "organization",
            private_metadata: Empty {},
            public_metadata: Empty {},
            slug: format!("fern-co-labs-{}", person.seed % 1_000_000),
            updated_at: created_at,
            id,
        }
    }
}

#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct CreatedOrganization<'a>(Organization<'a>);

impl<'a> CreatedOrganization<'a> {
    pub(super) fn of(person: &'a Person, at: Timestamp) -> Self {
        Self(Organization::of(person, at.ms()))
    }
}

#[derive(Serialize)]
pub(super) struct Membership<'a> {
    created_at: i64,
    id: String,
    object: &'a str,
    organization: Organization<'a>,
    permissions: [&'a str; 4],
    private_metadata: Empty,
    public_metadata: Empty,
    public_user_data: PublicUserData<'a>,
    role: &'a str,
    role_name: &'a str,
    updated_at: i64,
}

#[derive(Serialize)]
struct PublicUserData<'a> {
    first_name: Option<&'a str>,
    has_image: bool,
    identifier: Option<&'a str>,
    image_url: &'a str,
    last_name: Option<&'a str>,
    profile_image_url: &'a str,
    user_id: &'a str,
}

impl<'a> Membership<'a> {
    pub(super) fn of(person: &'a Person, at: Timestamp, random: &mut Seeded) -> Self {
        Self {
            created_at: at.ms(),
            id: random.ksuid("orgmem_", at),
            object: "organization_membership",
            // 29 ms before the membership of who founded it, in a received body.
            organization: Organization::of(person, at.ms() - 29),
            permissions: [
                "org:sys_profile:manage",
                "org:sys_profile:delete",
                "org:sys_memberships:read",
                "org:sys_memberships:manage",
            ],
            private_metadata: Empty {},
            public_metadata: Empty {},
            public_user_data: PublicUserData {
                first_name: person.first_name,
                has_image: false,
                identifier: person
                    .email
                    .as_deref()
                    .or(person.username.as_deref())
                    .or(person.phone.as_deref()),
                image_url: &person.image_url,
                last_name: person.last_name,
                profile_image_url: "https://www.gravatar.com/avatar?d=mp",
                user_id: person.id.as_str(),
            },
            role: "org:admin",
            role_name: "Admin",
            updated_at: at.ms(),
        }
    }
}
