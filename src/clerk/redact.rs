//! `OMIT_FIELDS`: fields of Clerk's objects that are never stored. Parsing removes them from the
//! object and the body.
//!
//! Everything else of the body stays as it came: the values are copied, not serialized again. A
//! body that is no JSON has no fields, and stays whole.

use std::sync::Arc;

use super::json::Object;
use super::nearest_field::nearest;
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

    /// Removes the fields from an object. Returns the text of the rest, or `None` if it has none of
    /// them.
    pub(super) fn remove_from(&self, object: &mut Object<'_>) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let is_omitted = |name: &str| self.0.iter().any(|field| **field == *name);
        object
            .retain(|name| !is_omitted(name))
            .then(|| object.write(|_| None))
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
