//! Which field of Clerk's object a misspelled name means, or which other name of a few.

use super::table::Table;

/// Longest part of a name that is compared, in characters: longer than any field.
const COMPARED_MAX: usize = 64;

/// The field that a wrong name most likely means. Returns `None` if it is like none.
pub fn nearest(name: &str, table: &Table) -> Option<&'static str> {
    let words = words(name);
    let whole: String = words.concat().chars().take(COMPARED_MAX).collect();
    if whole.is_empty() {
        return None;
    }
    let is_meant = |word: &str| words.iter().any(|own| own.starts_with(word));
    if let Some((_, field)) = table.synonyms.iter().find(|(word, _)| is_meant(word)) {
        return Some(field);
    }
    if let Some(field) = nearest_of(name, table.fields.iter().copied()) {
        return Some(field);
    }
    // A column or a path such as `email_verified` and `data.private_metadata`: a word that a field
    // begins with.
    let long = words.iter().filter(|word| word.len() >= 4);
    let mut by_word = long.flat_map(|word| {
        let mut fields = table.fields.iter();
        fields.find(|field| field.starts_with(&**word))
    });
    by_word.next().copied()
}

/// Which of these names a wrong one most likely means, letter by letter. Returns `None` if it is
/// like none.
pub(super) fn nearest_of(
    name: &str,
    known: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    let whole: String = words(name).concat().chars().take(COMPARED_MAX).collect();
    let limit = (whole.len() / 3).clamp(1, 4);
    let scores = known.map(|known| (score(&whole, known), known));
    let (least, nearest) = scores.min_by_key(|(score, _)| *score)?;
    (least <= limit).then_some(nearest)
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

/// How far the name is from the field: from all of it, or, which counts for one more, from its
/// beginning or its end.
fn score(name: &str, field: &str) -> usize {
    let (name, field): (Vec<char>, Vec<char>) = (
        name.chars().collect(),
        field.chars().filter(|c| c.is_alphanumeric()).collect(),
    );
    let length = name.len().min(field.len());
    let parts = [&field[..length], &field[field.len() - length..]];
    // With fewer letters the parts are too short to compare.
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
    use crate::clerk::tables::users::TABLE;

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
            assert_eq!(nearest(wrong, &TABLE), Some(right), "{wrong}");
            assert!(
                !TABLE.fields.contains(&wrong) && TABLE.fields.contains(&right),
                "{wrong}"
            );
        }
        for like_none in ["", "---", "xyzzy", "öäü", &"q".repeat(10_000)] {
            assert_eq!(nearest(like_none, &TABLE), None, "{like_none}");
        }
    }
}
