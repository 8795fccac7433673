//! Clerk's user object, as the columns of the users table.
//!
//! Sources: Clerk's webhook schema of 2025-04-15 and received bodies. The two differ, so every field may be missing,
//! null or of another shape; its column is null then, and `data` keeps what came.

use serde_json::value::RawValue;

use super::event::Timestamp;
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

impl UserProfile {
    /// Reads the user object `data`, which is known to be an object.
    pub(super) fn read(data: &RawValue) -> Self {
        let mut profile = Self { data: data.get().into(), ..Self::default() };
        let (mut emails, mut phones) = (Contacts::new("email_address"), Contacts::new("phone_number"));
        let object = json::for_each_field(data.get(), |name, value| match name {
            "email_addresses" => emails.list = Some(value),
            "primary_email_address_id" => emails.primary = json::text(value),
            "phone_numbers" => phones.list = Some(value),
            "primary_phone_number_id" => phones.primary = json::text(value),
            "username" => profile.username = indexed_text(value),
            "first_name" => profile.first_name = json::text(value),
            "last_name" => profile.last_name = json::text(value),
            "image_url" => profile.image_url = json::text(value),
            "external_id" => profile.external_id = indexed_text(value),
            "locale" => profile.locale = json::text(value),
            "banned" => profile.banned = json::truth(value),
            "locked" => profile.locked = json::truth(value),
            "two_factor_enabled" => profile.two_factor_enabled = json::truth(value),
            "password_enabled" => profile.password_enabled = json::truth(value),
            "public_metadata" => profile.public_metadata = json::object(value).map(Json::from),
            "private_metadata" => profile.private_metadata = json::object(value).map(Json::from),
            "unsafe_metadata" => profile.unsafe_metadata = json::object(value).map(Json::from),
            "last_sign_in_at" => profile.last_sign_in_at = time(value),
            "last_active_at" => profile.last_active_at = time(value),
            "legal_accepted_at" => profile.legal_accepted_at = time(value),
            "created_at" => profile.created_at = time(value),
            _ => {}
        });
        debug_assert!(object.is_ok(), "the caller has read data as an object");
        (profile.email, profile.email_verified) = emails.primary_contact();
        (profile.phone, profile.phone_verified) = phones.primary_contact();
        profile
    }
}

fn time(value: &RawValue) -> Option<Timestamp> {
    json::integer(value).and_then(Timestamp::from_ms)
}

fn indexed_text(value: &RawValue) -> Option<String> {
    json::text(value).filter(|text| text.len() <= INDEXED_TEXT_MAX)
}

/// A user's e-mail addresses or phone numbers, and the ID of the primary one.
struct Contacts<'a> {
    /// The field that holds the address or the number.
    field: &'static str,
    list: Option<&'a RawValue>,
    primary: Option<String>,
}

impl<'a> Contacts<'a> {
    fn new(field: &'static str) -> Self {
        Self { field, list: None, primary: None }
    }

    /// The primary entry and whether it is verified; nothing where the primary ID names no entry of the list, as in
    /// Clerk's own published example.
    fn primary_contact(self) -> (Option<String>, Option<bool>) {
        let (Some(list), Some(primary)) = (self.list, self.primary) else {
            return (None, None);
        };
        let mut found = (None, None);
        json::for_each_element(list, |entry| {
            if let Some((contact, verified)) = read_contact(entry, self.field, &primary) {
                found = (Some(contact), Some(verified));
            }
        });
        found
    }
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
    contact.filter(|_| is_primary).map(|contact| (contact, verified))
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
