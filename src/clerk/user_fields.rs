//! The fields of Clerk's user object, and which of them a misspelled name means.
//!
//! Sources: Clerk's webhook schema of 2025-04-15, its Backend API of 2026-05-12, and older bodies that were received.

/// Every field. Of two that are as near to a name, the first is meant.
const USER_FIELDS: [&str; 50] = [
    "private_metadata",
    "public_metadata",
    "unsafe_metadata",
    "email_addresses",
    "phone_numbers",
    "first_name",
    "last_name",
    "username",
    "image_url",
    "external_id",
    "external_accounts",
    "enterprise_accounts",
    "saml_accounts",
    "web3_wallets",
    "passkeys",
    "organization_memberships",
    "locale",
    "primary_email_address_id",
    "primary_phone_number_id",
    "primary_web3_wallet_id",
    "profile_image_url",
    "has_image",
    "birthday",
    "gender",
    "timezone",
    "last_sign_in_at",
    "last_active_at",
    "legal_accepted_at",
    "created_at",
    "updated_at",
    "password_enabled",
    "password_last_updated_at",
    "requires_password_reset",
    "two_factor_enabled",
    "totp_enabled",
    "backup_code_enabled",
    "mfa_enabled_at",
    "mfa_disabled_at",
    "banned",
    "locked",
    "lockout_expires_in_seconds",
    "verification_attempts_remaining",
    "bypass_client_trust",
    "delete_self_enabled",
    "create_organization_enabled",
    "create_organizations_limit",
    "deprovisioned",
    "scim",
    "object",
    "id",
];

/// Words for a field that are nothing like its name.
const SYNONYMS: [(&str, &str); 4] = [
    ("avatar", "image_url"),
    ("picture", "image_url"),
    ("photo", "image_url"),
    ("wallet", "web3_wallets"),
];

/// Longest part of a name that is compared, in characters: longer than any field.
const COMPARED_MAX: usize = 64;

/// Whether Clerk's user object has a field of exactly this name.
pub fn is_known(name: &str) -> bool {
    USER_FIELDS.contains(&name)
}

/// The field that a wrong name most likely means. Returns `None` if it is like none.
pub fn nearest(name: &str) -> Option<&'static str> {
    let words = words(name);
    let whole = words.concat();
    let whole: String = whole.chars().take(COMPARED_MAX).collect();
    if whole.is_empty() {
        return None;
    }
    if let Some((_, field)) = SYNONYMS
        .iter()
        .find(|(word, _)| words.iter().any(|own| own.starts_with(word)))
    {
        return Some(field);
    }
    let limit = (whole.len() / 3).clamp(1, 4);
    let by_whole = USER_FIELDS
        .iter()
        .map(|field| (score(&whole, field), *field))
        .min_by_key(|(score, _)| *score);
    // A column or a path such as `email_verified` and `data.private_metadata`: a word that a field begins with.
    let by_word = || {
        let long = words.iter().filter(|word| word.len() >= 4);
        long.flat_map(|word| {
            USER_FIELDS
                .iter()
                .filter(|field| field.starts_with(&**word))
        })
        .next()
        .copied()
    };
    by_whole
        .filter(|(score, _)| *score <= limit)
        .map(|(_, field)| field)
        .or_else(by_word)
}

/// `privateMetadata`, `PRIVATE-METADATA` and `private_metadata` are the same two words.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_small = false;
    for c in name.chars() {
        let is_new = !c.is_alphanumeric() || c.is_uppercase() && after_small;
        if is_new && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        after_small = c.is_lowercase() || c.is_numeric();
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// How far the name is from the field: from all of it, or, which counts for one more, from its beginning or its end.
fn score(name: &str, field: &str) -> usize {
    let (name, field): (Vec<char>, Vec<char>) = (
        name.chars().collect(),
        field.chars().filter(|c| c.is_alphanumeric()).collect(),
    );
    let length = name.len().min(field.len());
    let parts = [&field[..length], &field[field.len() - length..]];
    // Of a short name too little would be left to compare.
    let of_parts = parts
        .iter()
        .filter(|_| length >= 4)
        .map(|part| distance(&name, part) + 1);
    of_parts
        .chain([distance(&name, &field)])
        .min()
        .unwrap_or(usize::MAX)
}

/// The fewest characters that are put in, left out, changed, or changed over with the next one.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let changed = rows[i][j] + usize::from(x != y);
            let mut least = changed.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_means_the_nearest_field() {
        for (wrong, right) in [
            ("privateMetadata", "private_metadata"),
            ("PrivateMetadata", "private_metadata"),
            ("PRIVATE_METADATA", "private_metadata"),
            ("private-metadata", "private_metadata"),
            ("privatemetadata", "private_metadata"),
            ("pirvate_metadata", "private_metadata"),
            ("private_metdata", "private_metadata"),
            ("private_metadata;unsafe_metadata", "private_metadata"),
            ("data.private_metadata", "private_metadata"),
            ("public_metadata.plan", "public_metadata"),
            ("\"unsafe_metadata\"", "unsafe_metadata"),
            ("metadata", "private_metadata"),
            ("email", "email_addresses"),
            ("emails", "email_addresses"),
            ("emailAddress", "email_addresses"),
            ("email_verified", "email_addresses"),
            ("primaryEmailAddressId", "primary_email_address_id"),
            ("phone", "phone_numbers"),
            ("phone_number", "phone_numbers"),
            ("phone_verified", "phone_numbers"),
            ("fisrt_name", "first_name"),
            ("firstname", "first_name"),
            ("lastName", "last_name"),
            ("name", "first_name"),
            ("user_name", "username"),
            ("imageUrl", "image_url"),
            ("avatar", "image_url"),
            ("profilePicture", "image_url"),
            ("web3Wallets", "web3_wallets"),
            ("externalId", "external_id"),
            ("updatedAt", "updated_at"),
        ] {
            assert_eq!(nearest(wrong), Some(right), "{wrong}");
            assert!(!is_known(wrong) && is_known(right), "{wrong}");
        }
        for like_none in ["", "---", "xyzzy", "öäü", &"q".repeat(10_000)] {
            assert_eq!(nearest(like_none), None, "{like_none}");
        }
    }

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
                assert!(is_known(field), "{name}: {field}");
                seen += 1;
            }
        }
        assert!(seen > 500, "{seen} fields were seen");
    }
}
