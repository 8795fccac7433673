//! Clerk's user object. See `body` for the order of the fields.

use serde::Serialize;

use super::super::{Person, SampleType, SignUp};
use super::Null;
use crate::clerk::Timestamp;

/// Ten minutes in milliseconds: how long a code or a sign-in that was begun stays good.
const CODE_LIFETIME_MS: i64 = 600_000;

const PLANS: [&str; 4] = ["free", "starter", "pro", "business"];
const ROLES: [&[&str]; 4] = [
    &["viewer"],
    &["editor"],
    &["editor", "billing"],
    &["admin", "editor", "billing"],
];
const THEMES: [&str; 2] = ["light", "dark"];

pub(super) fn is_import(person: &Person, kind: SampleType) -> bool {
    person.sign_up == SignUp::Import && kind == SampleType::UserCreated
}

#[derive(Serialize)]
pub(super) struct User<'a> {
    backup_code_enabled: bool,
    banned: bool,
    bypass_client_trust: bool,
    create_organization_enabled: bool,
    create_organizations_limit: Null,
    created_at: i64,
    delete_self_enabled: bool,
    deprovisioned: bool,
    email_addresses: Vec<EmailAddress<'a>>,
    enterprise_accounts: [(); 0],
    external_accounts: Option1<ExternalAccount<'a>>,
    external_id: Option<&'a str>,
    first_name: Option<&'a str>,
    has_image: bool,
    id: &'a str,
    image_url: &'a str,
    last_active_at: Option<i64>,
    last_name: Option<&'a str>,
    last_sign_in_at: Option<i64>,
    legal_accepted_at: Option<i64>,
    locale: Option<&'a str>,
    locked: bool,
    lockout_expires_in_seconds: Null,
    mfa_disabled_at: Null,
    mfa_enabled_at: Option<i64>,
    object: &'a str,
    passkeys: Option1<Passkey<'a>>,
    password_enabled: bool,
    password_last_updated_at: Option<i64>,
    phone_numbers: Option1<PhoneNumber<'a>>,
    primary_email_address_id: Option<&'a str>,
    primary_phone_number_id: Option<&'a str>,
    primary_web3_wallet_id: Null,
    private_metadata: PrivateMetadata<'a>,
    profile_image_url: &'a str,
    public_metadata: PublicMetadata<'a>,
    saml_accounts: [(); 0],
    totp_enabled: bool,
    two_factor_enabled: bool,
    unsafe_metadata: UnsafeMetadata<'a>,
    updated_at: i64,
    username: Option<&'a str>,
    verification_attempts_remaining: u32,
    web3_wallets: [(); 0],
}

impl<'a> User<'a> {
    /// The user as created, or after `update`.
    pub(super) fn of(person: &'a Person, at: Timestamp, update: Option<u64>) -> Self {
        let n = update.unwrap_or(0);
        let signed_up_at = person.signed_up_at.ms();
        let has_password = matches!(
            person.sign_up,
            SignUp::Password | SignUp::UsernameOnly | SignUp::Import
        );
        // On for eight updates, off for eight: only who has a password or a passkey has a second factor.
        let two_factor = n % 16 >= 8 && (has_password || person.sign_up == SignUp::Passkey);
        // A sign-in raised `updated_at` 34 ms later in a received body.
        let signed_in_at = update.map(|_| at.ms() - 34);
        let active_at = (update.is_some() || person.sign_up != SignUp::Import).then(|| at.ms() - 1);
        Self {
            backup_code_enabled: two_factor,
            banned: n % 64 == 63,
            bypass_client_trust: false,
            create_organization_enabled: true,
            create_organizations_limit: None,
            created_at: signed_up_at,
            delete_self_enabled: true,
            deprovisioned: false,
            email_addresses: email_addresses(person),
            enterprise_accounts: [],
            external_accounts: Option1(external_account(person)),
            external_id: person.external_id.as_deref(),
            first_name: person.first_name,
            has_image: matches!(person.sign_up, SignUp::Google | SignUp::GitHub),
            id: person.id.as_str(),
            image_url: &person.image_url,
            last_active_at: active_at,
            last_name: person.last_name_in(n),
            last_sign_in_at: signed_in_at,
            legal_accepted_at: person.legal_accepted.then_some(signed_up_at),
            locale: person.locale,
            locked: false,
            lockout_expires_in_seconds: None,
            mfa_disabled_at: None,
            mfa_enabled_at: two_factor.then_some(at.ms() - 12),
            object: "user",
            passkeys: Option1(passkey(person)),
            password_enabled: has_password,
            password_last_updated_at: has_password.then_some(signed_up_at),
            phone_numbers: Option1(phone_number(person)),
            primary_email_address_id: person.email.is_some().then_some(&*person.email_id),
            primary_phone_number_id: person.phone.is_some().then_some(&*person.phone_id),
            primary_web3_wallet_id: None,
            private_metadata: PrivateMetadata::of(person),
            profile_image_url: "https://www.gravatar.com/avatar?d=mp",
            public_metadata: PublicMetadata::of(person, n),
            saml_accounts: [],
            totp_enabled: two_factor,
            two_factor_enabled: two_factor,
            unsafe_metadata: UnsafeMetadata::of(person, n),
            updated_at: at.ms(),
            username: person.username.as_deref(),
            verification_attempts_remaining: 10,
            web3_wallets: [],
        }
    }
}

/// A list of one or none.
struct Option1<T>(Option<T>);

impl<T: Serialize> Serialize for Option1<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_slice().serialize(serializer)
    }
}

#[derive(Serialize)]
struct Verification<'a> {
    attempts: Option<u32>,
    expire_at: Option<i64>,
    object: &'a str,
    status: &'a str,
    strategy: &'a str,
}

#[derive(Serialize)]
struct EmailAddress<'a> {
    created_at: i64,
    email_address: &'a str,
    id: &'a str,
    linked_to: Option1<Link<'a>>,
    matches_sso_connection: bool,
    object: &'a str,
    reserved: bool,
    updated_at: i64,
    verification: Option<Verification<'a>>,
}

#[derive(Serialize)]
struct Link<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
}

fn email_addresses(person: &Person) -> Vec<EmailAddress<'_>> {
    let signed_up_at = person.signed_up_at.ms();
    // An address is there before its user: 21 s in a received body.
    let begun_at = signed_up_at - 21_253;
    let address = |id, email_address, linked_to, verification| EmailAddress {
        created_at: begun_at,
        email_address,
        id,
        linked_to: Option1(linked_to),
        matches_sso_connection: false,
        object: "email_address",
        reserved: false,
        updated_at: signed_up_at + 4,
        verification,
    };
    let (attempts, expire_at, object, strategy) = match person.sign_up {
        SignUp::Google => (None, None, "verification_from_oauth", "from_oauth_google"),
        SignUp::GitHub => (None, None, "verification_from_oauth", "from_oauth_github"),
        SignUp::Import => (None, None, "verification_admin", "admin"),
        _ => (
            Some(1),
            Some(begun_at + CODE_LIFETIME_MS),
            "verification_otp",
            "email_code",
        ),
    };
    let verified = Verification {
        attempts,
        expire_at,
        object,
        status: "verified",
        strategy,
    };
    let link = oauth(person).map(|provider| Link {
        id: &person.login_id,
        kind: provider,
    });
    let second = person
        .second_email
        .iter()
        .map(|email| address(&*person.second_email_id, &**email, None, None));
    let first = person
        .email
        .as_ref()
        .map(|email| address(&*person.email_id, &**email, link, Some(verified)));
    // The primary one is not always the first, as in received bodies.
    second.chain(first).collect()
}

fn oauth(person: &Person) -> Option<&'static str> {
    match person.sign_up {
        SignUp::Google => Some("oauth_google"),
        SignUp::GitHub => Some("oauth_github"),
        _ => None,
    }
}

#[derive(Serialize)]
struct ExternalAccount<'a> {
    approved_scopes: &'a str,
    avatar_url: &'a str,
    created_at: i64,
    email_address: Option<&'a str>,
    email_address_verified: bool,
    first_name: Option<&'a str>,
    id: ExternalAccountId<'a>,
    identification_id: &'a str,
    image_url: &'a str,
    label: Null,
    last_name: Option<&'a str>,
    object: &'a str,
    phone_number: Null,
    provider: &'a str,
    provider_user_id: &'a str,
    public_metadata: Empty,
    updated_at: i64,
    username: Null,
    verification: Verification<'a>,
}

/// `eac_` before the characters of the identification's ID.
struct ExternalAccountId<'a>(&'a str);

impl Serialize for ExternalAccountId<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("eac_{}", self.0.trim_start_matches("idn_")))
    }
}

#[derive(Serialize)]
pub(super) struct Empty {}

fn external_account(person: &Person) -> Option<ExternalAccount<'_>> {
    let provider = oauth(person)?;
    let at = person.signed_up_at.ms() - 1200;
    let google = provider == "oauth_google";
    Some(ExternalAccount {
        approved_scopes: if google {
            "email https://www.googleapis.com/auth/userinfo.email https://www.googleapis.com/auth/userinfo.profile openid profile"
        } else {
            "read:user user:email"
        },
        avatar_url: "https://images.example.com/avatar=s1000-c",
        created_at: at,
        email_address: person.email.as_deref(),
        email_address_verified: true,
        first_name: person.first_name,
        id: ExternalAccountId(&person.login_id),
        identification_id: &person.login_id,
        image_url: "https://img.clerk.com/EXAMPLE",
        label: None,
        last_name: person.last_name,
        object: "external_account",
        phone_number: None,
        provider,
        provider_user_id: &person.customer_id["cus_".len()..],
        public_metadata: Empty {},
        updated_at: at,
        username: None,
        verification: Verification {
            attempts: None,
            expire_at: Some(at + CODE_LIFETIME_MS),
            object: "verification_oauth",
            status: "verified",
            strategy: provider,
        },
    })
}

#[derive(Serialize)]
struct Passkey<'a> {
    id: &'a str,
    last_used_at: i64,
    name: &'a str,
    object: &'a str,
    verification: PasskeyVerification<'a>,
}

#[derive(Serialize)]
struct PasskeyVerification<'a> {
    attempts: Null,
    expire_at: i64,
    message: Null,
    nonce: &'a str,
    object: &'a str,
    status: &'a str,
    strategy: &'a str,
}

fn passkey(person: &Person) -> Option<Passkey<'_>> {
    let at = person.signed_up_at.ms() - 90;
    (person.sign_up == SignUp::Passkey).then(|| Passkey {
        id: &person.login_id,
        last_used_at: at,
        name: "Chrome on macOS",
        object: "passkey",
        verification: PasskeyVerification {
            attempts: None,
            expire_at: at + CODE_LIFETIME_MS,
            message: None,
            nonce: "nonce",
            object: "verification_passkey",
            status: "verified",
            strategy: "passkey",
        },
    })
}

#[derive(Serialize)]
struct PhoneNumber<'a> {
    backup_codes: Null,
    created_at: i64,
    default_second_factor: bool,
    id: &'a str,
    linked_to: [(); 0],
    object: &'a str,
    phone_number: &'a str,
    reserved: bool,
    reserved_for_second_factor: bool,
    updated_at: i64,
    verification: Verification<'a>,
}

fn phone_number(person: &Person) -> Option<PhoneNumber<'_>> {
    let begun_at = person.signed_up_at.ms() - 9_000;
    Some(PhoneNumber {
        backup_codes: None,
        created_at: begun_at,
        default_second_factor: false,
        id: &person.phone_id,
        linked_to: [],
        object: "phone_number",
        phone_number: person.phone.as_deref()?,
        reserved: false,
        reserved_for_second_factor: false,
        updated_at: begun_at + 9_005,
        verification: Verification {
            attempts: Some(1),
            expire_at: Some(begun_at + CODE_LIFETIME_MS),
            object: "verification_otp",
            status: "verified",
            strategy: "phone_code",
        },
    })
}

/// What an application keeps for its backend alone.
#[derive(Serialize)]
struct PrivateMetadata<'a> {
    billing: Billing<'a>,
    risk: Risk<'a>,
}

#[derive(Serialize)]
struct Billing<'a> {
    collection: &'a str,
    currency: &'a str,
    customer_id: &'a str,
    tax_exempt: bool,
}

#[derive(Serialize)]
struct Risk<'a> {
    reviewed_by: &'a str,
    score: usize,
}

impl<'a> PrivateMetadata<'a> {
    fn of(person: &'a Person) -> Self {
        let billing = Billing {
            collection: "charge_automatically",
            currency: "eur",
            customer_id: &person.customer_id,
            tax_exempt: false,
        };
        Self {
            billing,
            risk: Risk {
                reviewed_by: "automatic",
                score: person.plan % 100,
            },
        }
    }
}

/// What an application shows: another plan after every second update, and a number that every update raises.
#[derive(Serialize)]
struct PublicMetadata<'a> {
    onboarded: bool,
    plan: &'a str,
    roles: &'a [&'a str],
    visits: u64,
}

impl PublicMetadata<'_> {
    fn of(person: &Person, n: u64) -> Self {
        let turn = usize::try_from(n / 2 % 4).unwrap_or(0);
        let plan = (person.plan % PLANS.len() + turn) % PLANS.len();
        Self {
            onboarded: n > 0,
            plan: PLANS[plan],
            roles: ROLES[plan],
            visits: n,
        }
    }
}

/// What the users set themselves.
#[derive(Serialize)]
struct UnsafeMetadata<'a> {
    newsletter: bool,
    referrer: &'a str,
    theme: &'a str,
    timezone: &'a str,
    tour: Tour,
}

#[derive(Serialize)]
struct Tour {
    completed: bool,
    steps: [&'static str; 3],
}

impl UnsafeMetadata<'_> {
    fn of(person: &Person, n: u64) -> Self {
        let theme = THEMES[(person.plan / 4) % THEMES.len()];
        let tour = Tour {
            completed: n > 1,
            steps: ["welcome", "invite-a-colleague", "first-project"],
        };
        Self {
            newsletter: person.legal_accepted,
            referrer: "https://www.example.com/pricing?utm=spring",
            theme,
            timezone: "Europe/Lisbon",
            tour,
        }
    }
}

/// All that Clerk says of a user who is gone.
#[derive(Serialize)]
pub(super) struct DeletedUser<'a> {
    deleted: bool,
    id: &'a str,
    object: &'a str,
}

impl<'a> DeletedUser<'a> {
    pub(super) fn of(person: &'a Person) -> Self {
        Self {
            deleted: true,
            id: person.id.as_str(),
            object: "user",
        }
    }
}
