//! Fields of Clerk's objects that are never stored: those of `OMIT_FIELDS`, and those that a table
//! names. Parsing removes them from the object and the body.
//!
//! Everything else of the body stays as it came: the values are copied, not serialized again. A
//! body that is no JSON has no fields, and stays whole.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::json::Object;
use super::nearest_field::nearest;
use super::table::{NeverStored, Table};
use super::tables;

/// The names of the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OmittedFields(Arc<[Box<str>]>);

/// The fields that decide which row an event goes to, and which event is the newest.
const NEEDED: [&str; 2] = ["id", "updated_at"];

/// A name that cannot be omitted.
#[derive(Debug, PartialEq, Eq)]
pub enum OmitError {
    /// Without this field no event could be applied.
    Needed(&'static str),
    /// No table has such a field: what was meant to be omitted would be stored.
    Unknown {
        /// The name.
        name: String,
        /// `None` if the name is like no field.
        nearest: Option<&'static str>,
    },
}

impl OmittedFields {
    /// Reads names that are separated by commas or white space.
    ///
    /// # Errors
    /// Returns the first name that cannot be omitted.
    pub fn parse(list: &str) -> Result<Self, OmitError> {
        let names = list
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|name| !name.is_empty());
        let checked: Result<Arc<[_]>, _> = names.map(|name| checked(name).map(Box::from)).collect();
        checked.map(Self)
    }

    /// Any names, to see what is done with them.
    #[cfg(test)]
    pub(super) fn of_any_names(names: &[&str]) -> Self {
        Self(names.iter().map(|name| Box::from(*name)).collect())
    }

    /// Removes the fields from an object of a table; `None` stands for an object of an unknown
    /// type, which loses what any table does not store. Returns the text of the rest, or `None` if
    /// nothing was removed.
    pub(super) fn remove_from(
        &self,
        object: &mut Object<'_>,
        table: Option<&Table>,
    ) -> Option<String> {
        if self.0.is_empty() && table.is_some_and(|table| table.never_stored.is_empty()) {
            return None;
        }
        let never_stored = |name: &str| never_stored(table, name);
        let is_omitted = |name: &str| {
            // Of a field of which only an ID is stored, the ID stays: by it a row is found and erased.
            match never_stored(name) {
                Some(field) => field.except.is_none(),
                None => self.0.iter().any(|field| **field == *name),
            }
        };
        let is_shorter = object.retain(|member| !is_omitted(&member.name));
        let members = object.members().iter();
        let reduced: Vec<Option<String>> = members
            .map(|member| reduced(member.value, never_stored(&member.name)?.except?))
            .collect();
        let is_reduced = reduced.iter().any(Option::is_some);
        (is_shorter || is_reduced).then(|| object.write(|place| reduced[place].as_deref()))
    }
}

/// What is stored in the place of `data` that is no object. Returns `None` if it stays as it is: a
/// table of which nothing is held back, and an unknown type.
pub(super) fn in_place_of_no_object(table: Option<&Table>) -> Option<String> {
    // No event can be applied without an object, so nothing is lost.
    table
        .is_some_and(|table| !table.never_stored.is_empty())
        .then(|| "null".into())
}

fn never_stored(table: Option<&Table>, name: &str) -> Option<&'static NeverStored> {
    let find = |table: &Table| table.never_stored.iter().find(|field| field.field == name);
    match table {
        Some(table) => find(table),
        None => tables::ALL.iter().find_map(|table| find(table)),
    }
}

/// The object with this member alone; of any other value nothing is left. Returns `None` if it
/// stays as it is.
fn reduced(value: &RawValue, except: &str) -> Option<String> {
    match Object::read(value.get()) {
        Ok(mut object) => object
            // What is stored of it is an ID, which is no object.
            .retain(|member| member.name == except && !member.value.get().starts_with(['{', '[']))
            .then(|| object.write(|_| None)),
        Err(_) if value.get() == "null" => None,
        Err(_) => Some("null".into()),
    }
}

fn checked(name: &str) -> Result<&str, OmitError> {
    let is_known = tables::ALL.iter().any(|table| table.fields.contains(&name));
    let nearest = || {
        let mut nearest = tables::ALL.iter().map(|table| nearest(name, table));
        nearest.find_map(|field| field)
    };
    let meant = if is_known { Some(name) } else { nearest() };
    if let Some(needed) = NEEDED.into_iter().find(|needed| meant == Some(*needed)) {
        return Err(OmitError::Needed(needed));
    }
    if is_known {
        return Ok(name);
    }
    Err(OmitError::Unknown {
        name: name.into(),
        nearest: nearest(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clerk::{EventId, EventType, SignedEvent, Timestamp};

    #[test]
    fn what_decides_cannot_be_omitted() {
        assert_eq!(
            OmittedFields::parse("phone_numbers,id"),
            Err(OmitError::Needed("id"))
        );
        for name in ["updated_at", "updatedAt", "update_at"] {
            assert_eq!(
                OmittedFields::parse(name),
                Err(OmitError::Needed("updated_at")),
                "{name}"
            );
        }
    }

    /// The body that is stored of this one, and the text of the object; empty if it was rejected.
    fn stored(body: &str) -> (String, String) {
        let at = Timestamp::from_ms(1_795_186_800_000).unwrap();
        let event_type = EventType::read(body.as_bytes());
        let id = EventId::new("msg_1").unwrap();
        let body = body.to_owned().into();
        let event = SignedEvent::restored(id, event_type, at, at, body);
        let (event, read) = event.parse_without(&OmittedFields::default());
        let data = read.ok().and_then(|event| event.change.profile);
        (
            String::from_utf8(event.body().to_vec()).unwrap(),
            data.map(|(_, profile)| profile.data.into())
                .unwrap_or_default(),
        )
    }

    #[test]
    fn the_url_of_an_invitation_is_in_nothing_that_is_stored() {
        let invitation =
            |data: &str| format!(r#"{{"data":{data},"type":"organizationInvitation.created"}}"#);
        for body in [
            invitation(r#"{"id":"orginv_1","url":"SECRET"}"#),
            invitation(r#"{"id":"orginv_1","\u0075rl":"SECRET","url":{"a":["SECRET"]}}"#),
            invitation(r#"{"id":"","url":"SECRET"}"#),
            invitation(r#"{"id":"orginv_1","updated_at":"soon","url":"SECRET"}"#),
            invitation(r#"{"id":"orginv_1","x":"\u0000","url":"SECRET"}"#),
            invitation(r#"[{"url":"SECRET"}]"#),
            invitation(r#""SECRET""#),
            invitation(r#"{"id":"orginv_1","public_inviter_data":{"identifier":"SECRET"},"public_organization_data":"SECRET"}"#),
            r#"{"data":{"url":"SECRET"},"data":{"id":"orginv_1","url":"SECRET"},"type":"organizationInvitation.revoked"}"#.into(),
            r#"{"data":{"id":"orginv_1","url":"SECRET"}}"#.into(),
            r#"{"data":{"id":"orginv_1","url":"SECRET"},"type":"organizationInvitation.renamed"}"#.into(),
        ] {
            let (stored, data) = stored(&body);
            assert!(!stored.contains("SECRET") && !data.contains("SECRET"), "{body}: {stored} {data}");
        }
    }

    #[test]
    fn of_a_membership_the_ids_of_the_user_and_the_organization_are_stored_and_nothing_else_of_them()
     {
        let membership = |rest: &str| {
            format!(
                r#"{{"data":{{"id":"orgmem_1","role":"org:admin",{rest}}},"type":"organizationMembership.deleted"}}"#
            )
        };
        let (body, data) = stored(&membership(
            r#""public_user_data":{"first_name":"SECRET","user_id":"user_1"},"organization":{"id":"org_1","name":"SECRET"}"#,
        ));
        let expected = r#"{"id":"orgmem_1","role":"org:admin","public_user_data":{"user_id":"user_1"},"organization":{"id":"org_1"}}"#;
        assert_eq!(data, expected);
        assert!(body.contains(expected), "{body}");
        for rest in [
            r#""public_user_data":["SECRET"],"organization":"SECRET""#,
            r#""public_user_data":{"user_id":{"a":"SECRET"},"user_id":"user_1","identifier":"SECRET"}"#,
            r#""public_user_data":null,"organization":{}"#,
        ] {
            let (body, data) = stored(&membership(rest));
            assert!(
                !body.contains("SECRET") && !data.contains("SECRET"),
                "{body}"
            );
            assert!(!data.is_empty(), "{body} can be applied");
        }
    }

    #[test]
    fn only_fields_that_there_are_can_be_omitted() {
        for list in [
            "",
            " , ",
            "private_metadata",
            "private_metadata, unsafe_metadata\n\tphone_numbers\r\n",
        ] {
            assert!(OmittedFields::parse(list).is_ok(), "{list:?}");
        }
        for (list, name, nearest) in [
            (
                "private_metadata,unsafeMetadata",
                "unsafeMetadata",
                Some("unsafe_metadata"),
            ),
            ("email", "email", Some("email_addresses")),
            (
                "private_metadata;unsafe_metadata",
                "private_metadata;unsafe_metadata",
                Some("private_metadata"),
            ),
            ("nonsense", "nonsense", None),
        ] {
            let unknown = OmitError::Unknown {
                name: name.into(),
                nearest,
            };
            assert_eq!(OmittedFields::parse(list), Err(unknown), "{list}");
        }
    }
}
