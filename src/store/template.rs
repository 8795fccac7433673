//! Statements that say the same of every column of a profile, put together once from a template.
//!
//! In a template, what stands between `{{` and `}}` is said once for each column, with `column` for its name; `<newer>` and
//! `<gone>` stand for a condition. Nothing else is replaced, and never by a value: those are bound.

/// Every column of `users` that a profile fills: all but the ID and our own.
pub const PROFILE_COLUMNS: [&str; 25] = [
    "email",
    "email_verified",
    "phone",
    "phone_verified",
    "username",
    "first_name",
    "last_name",
    "image_url",
    "external_id",
    "locale",
    "banned",
    "locked",
    "two_factor_enabled",
    "password_enabled",
    "public_metadata",
    "private_metadata",
    "unsafe_metadata",
    "last_sign_in_at",
    "last_active_at",
    "legal_accepted_at",
    "created_at",
    "updated_at",
    "data",
    "event_id",
    "occurred_at",
];

/// The template, with its columns and conditions.
pub fn assemble(template: &str, conditions: &[(&str, &str)]) -> String {
    let mut statement = String::with_capacity(template.len() * 4);
    let mut rest = template;
    while let Some((before, pattern, after)) = rest.split_once("{{").and_then(|(before, tail)| {
        tail.split_once("}}")
            .map(|(pattern, after)| (before, pattern, after))
    }) {
        let each: Vec<_> = PROFILE_COLUMNS
            .iter()
            .map(|column| pattern.trim().replace("column", column))
            .collect();
        statement += before;
        statement += &each.join(",\n        ");
        rest = after;
    }
    statement += rest;
    conditions
        .iter()
        .fold(statement, |statement, (name, condition)| {
            statement.replace(name, condition)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_says_it_once_a_column() {
        let statement = assemble(
            "set {{ column = case when <c> then row.column end }}, x = 1",
            &[("<c>", "(true)")],
        );
        assert!(
            statement.starts_with("set email = case when (true) then row.email end,\n"),
            "{statement}"
        );
        assert!(
            statement.ends_with("occurred_at = case when (true) then row.occurred_at end, x = 1"),
            "{statement}"
        );
        assert_eq!(statement.matches("case").count(), PROFILE_COLUMNS.len());
    }
}
