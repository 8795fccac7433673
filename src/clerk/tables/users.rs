//! The table `users`: every column, and where it is in Clerk's user object. A new column is a line
//! here.
//!
//! Sources: Clerk's webhook schema of 2025-04-15, its Backend API of 2026-05-12, and older bodies
//! that were received. They differ, so every field may be missing, null or of another shape.

use serde_json::value::RawValue;

use crate::clerk::json::{self, Object};
use crate::clerk::list::{List, One, Paging};
use crate::clerk::table::{EventKind, Table, Value, View, boolean, json, text, time};

/// Clerk's users.
#[rustfmt::skip]
pub static TABLE: Table = Table {
    name: "users",
    singular: "user",
    plural: "users",
    id_prefix: "user",
    events: &[
        EventKind::profile("user.created"),
        EventKind::profile("user.updated"),
        EventKind::delete("user.deleted"),
    ],
    columns: &[
        text("email", "Primary e-mail address. Not unique over time.").derived(primary_email).indexed().folded().compared(),
        boolean("email_verified", "Whether the primary e-mail address is verified.").with_previous().compared(),
        text("phone", "Primary phone number, as +12025550123.").derived(primary_phone).indexed().compared(),
        boolean("phone_verified", "Whether the primary phone number is verified.").with_previous().compared(),
        text("username", "User name.").indexed().compared(),
        text("first_name", "First name.").folded().compared(),
        text("last_name", "Last name.").folded().compared(),
        text("image_url", "Picture."),
        text("external_id", "Your own ID of the user, as set at Clerk.").indexed().compared(),
        text("locale", "Language, as BCP 47 tag."),
        boolean("banned", "Whether the user is banned.").compared(),
        boolean("locked", "Whether the user is locked after failed sign-ins.").compared(),
        boolean("two_factor_enabled", "Whether a second factor is set up.").compared(),
        boolean("password_enabled", "Whether the user has a password.").compared(),
        json("public_metadata", "Metadata that the front end can read."),
        json("private_metadata", "Metadata for back ends alone."),
        json("unsafe_metadata", "Metadata that the user can write."),
        time("last_sign_in_at", "Last sign-in, as of the newest event."),
        time("last_active_at", "Last activity, as of the newest event."),
        time("legal_accepted_at", "When the legal terms were accepted."),
        time("created_at", "When the user was created at Clerk."),
    ],
    fields: &[
        "private_metadata", "public_metadata", "unsafe_metadata", "email_addresses", "phone_numbers",
        "first_name", "last_name", "username", "image_url", "external_id", "external_accounts",
        "enterprise_accounts", "saml_accounts", "web3_wallets", "passkeys", "organization_memberships",
        "locale", "primary_email_address_id", "primary_phone_number_id", "primary_web3_wallet_id",
        "profile_image_url", "has_image", "birthday", "gender", "timezone", "last_sign_in_at",
        "last_active_at", "legal_accepted_at", "created_at", "updated_at", "password_enabled",
        "password_last_updated_at", "requires_password_reset", "two_factor_enabled", "totp_enabled",
        "backup_code_enabled", "mfa_enabled_at", "mfa_disabled_at", "banned", "locked",
        "lockout_expires_in_seconds", "verification_attempts_remaining", "bypass_client_trust",
        "delete_self_enabled", "create_organization_enabled", "create_organizations_limit", "deprovisioned",
        "scim", "object", "id",
    ],
    synonyms: &[
        ("avatar", "image_url"),
        ("picture", "image_url"),
        ("photo", "image_url"),
        ("wallet", "web3_wallets"),
    ],
    never_stored: &[],
    erased_with: &[],
    sample: include_str!("users.json"),
    views: &[View {
        name: "active_users",
        shows: "Users who are not deleted.",
    }],
    list: List {
        path: "users",
        parameters: &[],
        paging: Paging::Cursor,
        one: One::Object("users/{clerk_id}"),
        is_whole: true,
    },
};

fn primary_email(user: &Object<'_>) -> (Value, Value) {
    primary_contact(
        user,
        "email_addresses",
        "primary_email_address_id",
        "email_address",
    )
}

fn primary_phone(user: &Object<'_>) -> (Value, Value) {
    primary_contact(
        user,
        "phone_numbers",
        "primary_phone_number_id",
        "phone_number",
    )
}

/// The primary one of a user's e-mail addresses or phone numbers, and whether it is verified. Both
/// are null if the primary ID names no entry of the list, as in Clerk's own published example.
/// `field` holds the address or the number.
fn primary_contact(user: &Object<'_>, list: &str, id: &str, field: &str) -> (Value, Value) {
    let mut found = (Value::Null, Value::Null);
    // A `String`: a text with escapes cannot be borrowed.
    let primary: Option<String> = user.get(id).and_then(json::read);
    if let (Some(list), Some(primary)) = (user.get(list), primary) {
        json::for_each_element(list, |entry| {
            if let Some((contact, is_verified)) = read_contact(entry, field, &primary) {
                found = (Value::Text(contact), Value::Boolean(is_verified));
            }
        });
    }
    found
}

/// The contact in `entry` and whether it is verified. Returns `None` unless its ID is `primary`.
fn read_contact(entry: &RawValue, field: &str, primary: &str) -> Option<(Box<str>, bool)> {
    let entry = Object::read(entry.get()).ok()?;
    let id: String = json::read(entry.get("id")?)?;
    let contact = json::read(entry.get(field)?)?;
    // `verification` is null for an address that was never verified.
    let verification = entry
        .get("verification")
        .and_then(|value| Object::read(value.get()).ok());
    let status = verification.and_then(|object| json::read::<String>(object.get("status")?));
    (id == primary).then_some((contact, status.as_deref() == Some("verified")))
}

/// The user's e-mail addresses, of which one is the primary one. `data` is the user object.
pub fn addresses(data: &str) -> Vec<String> {
    let mut addresses = Vec::new();
    let user = Object::read(data).ok();
    if let Some(list) = user.and_then(|user| user.get("email_addresses")) {
        json::for_each_element(list, |entry| {
            let entry = Object::read(entry.get()).ok();
            let address = entry.and_then(|entry| json::read(entry.get("email_address")?));
            addresses.extend(address.filter(|address: &String| !address.is_empty()));
        });
    }
    addresses
}

/// A copy of the table of users with one more column.
#[cfg(test)]
pub(crate) fn users_with(column: crate::clerk::table::Column) -> &'static Table {
    let users = &TABLE;
    let columns = [users.columns, &[column]].concat();
    Box::leak(Box::new(Table {
        columns: columns.leak(),
        ..*users
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_samples_is_known() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !name.starts_with("user.created") && !name.starts_with("user.updated") {
                continue;
            }
            let body: serde_json::Value =
                serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            for field in body["data"]
                .as_object()
                .unwrap()
                .keys()
                .filter(|field| !field.starts_with("future_"))
            {
                assert!(TABLE.fields.contains(&&**field), "{name}: {field}");
                seen += 1;
            }
        }
        assert!(seen > 500, "{seen} fields were seen");
    }

    #[test]
    fn an_id_is_the_same_however_it_is_escaped() {
        let data = r#"{"primary_email_address_id":"idn_\u0031",
            "email_addresses":[{"id":"idn_1","email_address":"a@example.com","verification":null}]}"#;
        let profile = TABLE.profile(&Object::read(data).unwrap(), data.into());
        let email = &profile.values[TABLE.place("email").unwrap()];
        assert_eq!(email.as_text(), Some("a@example.com"));
    }
}
