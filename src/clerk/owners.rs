//! Whose data the body of an event holds, of a table whose rows belong to users. The event may be one
//! that cannot be applied.

use serde_json::value::RawValue;

use super::json::Object;
use super::table::{Owner, Table};

/// The users that a body names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// Clerk's IDs.
    pub ids: Vec<String>,
    /// E-mail addresses.
    pub addresses: Vec<String>,
}

/// The users that an object of the table names in `body`; none in what cannot be read.
pub fn named(table: &Table, body: &[u8]) -> Named {
    let mut named = Named::default();
    let read = |data: &RawValue| Some(table.profile(&Object::read(data.get()).ok()?, "".into()));
    let Some(profile) = with_outer(body, |outer| read(outer.get("data")?)) else {
        return named;
    };
    for owner in table.erased_with {
        let (Owner::Id(column) | Owner::Address(column)) = owner;
        let place = table.place(column);
        let value = place.and_then(|place| profile.values[place].as_text());
        let list = match owner {
            Owner::Id(_) => &mut named.ids,
            Owner::Address(_) => &mut named.addresses,
        };
        list.extend(value.map(str::to_owned));
    }
    named
}

/// The body of a delete with nothing but the type, the time and the ID: it can still be replayed, and
/// holds nothing personal. Returns `None` if it cannot be read.
pub fn bare(body: &[u8]) -> Option<String> {
    with_outer(body, |outer| {
        let data = Object::read(outer.get("data")?.get()).ok()?;
        let id = data.get("id")?.get();
        let member = |name: &str| {
            let value = outer.get(name)?.get();
            Some(format!(r#","{name}":{value}"#))
        };
        let rest = [member("timestamp"), member("type")];
        let rest: String = rest.into_iter().flatten().collect();
        Some(format!(r#"{{"data":{{"id":{id}}}{rest}}}"#))
    })
}

fn with_outer<T>(body: &[u8], read: impl FnOnce(&Object<'_>) -> Option<T>) -> Option<T> {
    let text = std::str::from_utf8(body).ok()?;
    read(&Object::read_outer(text).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clerk::tables::{organization_invitations, organization_memberships};

    #[test]
    fn a_body_names_users_however_it_is_written() {
        let body = br#"{"data":{"email_address":"ann\u0040Example.com","user_id":"user_1","inviter_id":"user_2"},"timestamp":"bad"}"#;
        let found = named(&organization_invitations::TABLE, body);
        assert_eq!(found.ids, ["user_1"], "who invites is not whose it is");
        assert_eq!(found.addresses, ["ann@Example.com"]);
        for other in [&b"no JSON"[..], b"{}", br#"{"data":["user_1"]}"#] {
            assert_eq!(
                named(&organization_invitations::TABLE, other),
                Named::default()
            );
        }
        let body = br#"{"data":{"public_user_data":{"user_id":"user_3"}}}"#;
        assert_eq!(
            named(&organization_memberships::TABLE, body).ids,
            ["user_3"]
        );
    }

    #[test]
    fn a_bare_delete_has_its_type_time_and_id_and_nothing_else() {
        let body = br#"{"data":{"id":"orgmem_1","private_metadata":{"a":1}},"x":2,"timestamp":5,"type":"organizationMembership.deleted"}"#;
        assert_eq!(
            bare(body).as_deref(),
            Some(
                r#"{"data":{"id":"orgmem_1"},"timestamp":5,"type":"organizationMembership.deleted"}"#
            )
        );
        assert_eq!(bare(b"{}"), None);
    }
}
