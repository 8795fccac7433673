//! Clerk's user object, as the columns of the users table.
//!
//! Sources: Clerk's webhook schema of 2025-04-15 and received bodies. The two differ, so every field may be missing,
//! null or of another shape; its column is null then, and `data` keeps what came.

use serde_json::value::RawValue;

use super::id::Timestamp;
use super::json;

/// The text of a valid JSON value, exactly as Clerk sent it: numbers no double can hold stay whole.
pub type Json = Box<str>;

/// The columns that a profile fills. Addresses and numbers are the primary ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UserProfile {
    pub email: Option<String>,
    pub email_verified: Option<bool>,
    pub phone: Option<String>,
    pub phone_verified: Option<bool>,
    pub username: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub image_url: Option<String>,
    pub external_id: Option<String>,
    pub locale: Option<String>,
    pub banned: Option<bool>,
    pub locked: Option<bool>,
    pub two_factor_enabled: Option<bool>,
    pub password_enabled: Option<bool>,
    pub public_metadata: Option<Json>,
    pub private_metadata: Option<Json>,
    pub unsafe_metadata: Option<Json>,
    pub last_sign_in_at: Option<Timestamp>,
    pub last_active_at: Option<Timestamp>,
    pub legal_accepted_at: Option<Timestamp>,
    pub created_at: Option<Timestamp>,
    /// The whole object.
    pub data: Json,
}

/// Longest text, in bytes, in a column with an index: PostgreSQL refuses index keys over 2,704 bytes (error 54000), and
/// lower() can make a text longer. Clerk's own limits are far below.
const INDEXED_TEXT_MAX: usize = 1000;

/// Clerk's user object, read in one pass: the fields that matter here, as they came.
#[derive(Default)]
pub(super) struct UserObject<'a> {
    pub id: Option<&'a RawValue>,
    pub updated_at: Option<&'a RawValue>,
    email_addresses: Option<&'a RawValue>,
    primary_email_address_id: Option<&'a RawValue>,
    phone_numbers: Option<&'a RawValue>,
    primary_phone_number_id: Option<&'a RawValue>,
    username: Option<&'a RawValue>,
    first_name: Option<&'a RawValue>,
    last_name: Option<&'a RawValue>,
    image_url: Option<&'a RawValue>,
    external_id: Option<&'a RawValue>,
    locale: Option<&'a RawValue>,
    banned: Option<&'a RawValue>,
    locked: Option<&'a RawValue>,
    two_factor_enabled: Option<&'a RawValue>,
    password_enabled: Option<&'a RawValue>,
    public_metadata: Option<&'a RawValue>,
    private_metadata: Option<&'a RawValue>,
    unsafe_metadata: Option<&'a RawValue>,
    last_sign_in_at: Option<&'a RawValue>,
    last_active_at: Option<&'a RawValue>,
    legal_accepted_at: Option<&'a RawValue>,
    created_at: Option<&'a RawValue>,
}

impl<'a> UserObject<'a> {
    /// Fails when `data` is no object.
    pub(super) fn read(data: &'a RawValue) -> Result<Self, serde_json::Error> {
        let mut object = Self::default();
        json::for_each_field(data.get(), |name, value| {
            let field = match name {
                "id" => &mut object.id,
                "updated_at" => &mut object.updated_at,
                "email_addresses" => &mut object.email_addresses,
                "primary_email_address_id" => &mut object.primary_email_address_id,
                "phone_numbers" => &mut object.phone_numbers,
                "primary_phone_number_id" => &mut object.primary_phone_number_id,
                "username" => &mut object.username,
                "first_name" => &mut object.first_name,
                "last_name" => &mut object.last_name,
                "image_url" => &mut object.image_url,
                "external_id" => &mut object.external_id,
                "locale" => &mut object.locale,
                "banned" => &mut object.banned,
                "locked" => &mut object.locked,
                "two_factor_enabled" => &mut object.two_factor_enabled,
                "password_enabled" => &mut object.password_enabled,
                "public_metadata" => &mut object.public_metadata,
                "private_metadata" => &mut object.private_metadata,
                "unsafe_metadata" => &mut object.unsafe_metadata,
                "last_sign_in_at" => &mut object.last_sign_in_at,
                "last_active_at" => &mut object.last_active_at,
                "legal_accepted_at" => &mut object.legal_accepted_at,
                "created_at" => &mut object.created_at,
                _ => return,
            };
            *field = Some(value);
        })?;
        Ok(object)
    }

    /// The profile that the object says; `data` is its own text.
    pub(super) fn profile(&self, data: &RawValue) -> UserProfile {
        let (email, email_verified) = primary_contact(
            "email_address",
            self.email_addresses,
            self.primary_email_address_id,
        );
        let (phone, phone_verified) = primary_contact(
            "phone_number",
            self.phone_numbers,
            self.primary_phone_number_id,
        );
        let object = |value: Option<&RawValue>| value.and_then(json::object).map(Json::from);
        UserProfile {
            email,
            email_verified,
            phone,
            phone_verified,
            username: self.username.and_then(indexed_text),
            first_name: self.first_name.and_then(json::text),
            last_name: self.last_name.and_then(json::text),
            image_url: self.image_url.and_then(json::text),
            external_id: self.external_id.and_then(indexed_text),
            locale: self.locale.and_then(json::text),
            banned: self.banned.and_then(json::truth),
            locked: self.locked.and_then(json::truth),
            two_factor_enabled: self.two_factor_enabled.and_then(json::truth),
            password_enabled: self.password_enabled.and_then(json::truth),
            public_metadata: object(self.public_metadata),
            private_metadata: object(self.private_metadata),
            unsafe_metadata: object(self.unsafe_metadata),
            last_sign_in_at: self.last_sign_in_at.and_then(time),
            last_active_at: self.last_active_at.and_then(time),
            legal_accepted_at: self.legal_accepted_at.and_then(time),
            created_at: self.created_at.and_then(time),
            data: data.get().into(),
        }
    }
}

fn time(value: &RawValue) -> Option<Timestamp> {
    json::integer(value).and_then(Timestamp::from_ms)
}

fn indexed_text(value: &RawValue) -> Option<String> {
    json::text(value).filter(|text| text.len() <= INDEXED_TEXT_MAX)
}

/// The primary one of a user's e-mail addresses or phone numbers and whether it is verified; nothing where the primary ID names
/// no entry of the list, as in Clerk's own published example. `field` holds the address or the number.
fn primary_contact(
    field: &str,
    list: Option<&RawValue>,
    primary: Option<&RawValue>,
) -> (Option<String>, Option<bool>) {
    let (Some(list), Some(primary)) = (list, primary.and_then(json::text)) else {
        return (None, None);
    };
    let mut found = (None, None);
    json::for_each_element(list, |entry| {
        if let Some((contact, verified)) = read_contact(entry, field, &primary) {
            found = (Some(contact), Some(verified));
        }
    });
    found
}

/// The contact in `entry` and whether it is verified, where its ID is `primary`.
fn read_contact(entry: &RawValue, field: &str, primary: &str) -> Option<(String, bool)> {
    let (mut is_primary, mut contact, mut verified) = (false, None, false);
    json::for_each_field(entry.get(), |name, value| match name {
        "id" => is_primary = json::text(value).is_some_and(|id| id == primary),
        "verification" => verified = is_verified(value),
        _ if name == field => contact = indexed_text(value),
        _ => {}
    })
    .ok()?;
    contact
        .filter(|_| is_primary)
        .map(|contact| (contact, verified))
}

/// `verification` is null for an address that was never verified.
fn is_verified(verification: &RawValue) -> bool {
    let mut verified = false;
    let object = json::for_each_field(verification.get(), |name, value| {
        if name == "status" {
            verified = json::text(value).is_some_and(|status| status == "verified");
        }
    });
    object.is_ok() && verified
}
