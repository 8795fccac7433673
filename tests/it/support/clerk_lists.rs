//! What is in an instance of Clerk's: users, organizations, memberships, invitations, domains, each
//! in the order of their creation; and what the Backend API answers about them.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::clerk_objects as objects;
use super::history::EPOCH_MS;

/// Paths of the lists, without the slash.
pub const LISTS: [&str; 5] = [
    "users",
    "organizations",
    "organization_memberships",
    "organization_invitations",
    "organization_domains",
];

/// The objects of an instance.
#[derive(Default)]
pub struct Accounts {
    lists: HashMap<&'static str, Vec<Object>>,
    /// Whether organizations are turned off.
    pub is_without_organizations: bool,
}

struct Object {
    id: String,
    created_ms: i64,
    text: String,
    is_listed: bool,
}

impl Object {
    fn value(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// The organization that it belongs to.
    fn organization(&self) -> Value {
        let value = self.value();
        match &value["organization_id"] {
            Value::Null => value["organization"]["id"].clone(),
            id => id.clone(),
        }
    }
}

impl Accounts {
    /// A user who was created at this time and has not changed since.
    pub fn sign_up(&mut self, id: &str, created_ms: i64) {
        self.put(id, created_ms, &objects::user(id, created_ms).to_string());
    }

    /// Any text in the place of a user object.
    pub fn put(&mut self, id: &str, created_ms: i64, text: &str) {
        self.insert("users", id, created_ms, text.into());
    }

    /// Any text in the place of an object of this list.
    pub fn insert(&mut self, list: &'static str, id: &str, created_ms: i64, text: String) {
        let objects = self.lists.entry(list).or_default();
        objects.retain(|other| other.id != id);
        let place =
            objects.partition_point(|other| (other.created_ms, &*other.id) < (created_ms, id));
        let object = Object {
            id: id.into(),
            created_ms,
            text,
            is_listed: true,
        };
        objects.insert(place, object);
    }

    /// An organization.
    pub fn found(&mut self, id: &str, created_ms: i64) {
        let organization = objects::organization(id, created_ms);
        self.insert("organizations", id, created_ms, organization.to_string());
    }

    /// A membership of this ID.
    pub fn join(&mut self, id: &str, organization: &str, user: &str, created_ms: i64) {
        let organization = self.find("organizations", organization).unwrap().value();
        let membership = objects::membership(id, &organization, user, created_ms);
        self.insert(
            "organization_memberships",
            id,
            created_ms,
            membership.to_string(),
        );
    }

    /// An invitation of this ID.
    pub fn invite(&mut self, id: &str, organization: &str, created_ms: i64) {
        let organization = self.find("organizations", organization).unwrap().value();
        let invitation = objects::invitation(id, &organization, created_ms);
        self.insert(
            "organization_invitations",
            id,
            created_ms,
            invitation.to_string(),
        );
    }

    /// A domain of this ID.
    pub fn add_domain(&mut self, id: &str, organization: &str, created_ms: i64) {
        let organization = self.find("organizations", organization).unwrap().value();
        let domain = objects::domain(id, &organization, created_ms);
        self.insert("organization_domains", id, created_ms, domain.to_string());
    }

    /// Changes fields of an object, as of this time.
    pub fn update(&mut self, id: &str, updated_ms: i64, fields: &Value) {
        let object = self.all().find(|object| object.id == id).unwrap();
        let mut value = object.value();
        value["updated_at"] = (EPOCH_MS + updated_ms).into();
        let members = value.as_object_mut().unwrap();
        members.extend(fields.as_object().unwrap().clone());
        object.text = value.to_string();
    }

    /// Deletes an object, and with an organization what belongs to it.
    pub fn delete(&mut self, id: &str) {
        for objects in self.lists.values_mut() {
            objects.retain(|object| object.id != id && object.organization() != *id);
        }
    }

    /// What the list does not show: not yet, or never.
    pub fn hide_from_list(&mut self, id: &str) {
        self.all()
            .filter(|object| object.id == id)
            .for_each(|object| object.is_listed = false);
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Object> {
        self.lists.values_mut().flatten()
    }

    fn of(&self, list: &str) -> &[Object] {
        self.lists.get(list).map_or(&[], Vec::as_slice)
    }

    fn find(&self, list: &str, id: &str) -> Option<&Object> {
        self.of(list).iter().find(|object| object.id == id)
    }

    /// The whole object of this path, `list/id`.
    pub fn object(&self, list: &str, id: &str) -> Option<&str> {
        self.find(list, id).map(|object| object.text.as_str())
    }

    pub fn users(&self) -> usize {
        self.of("users").len()
    }

    /// The page of users after this one. Returns `None` if there is no such user.
    pub fn users_after(&self, cursor: Option<&str>, limit: usize) -> Option<String> {
        let users = self.of("users");
        let start = match cursor {
            None => 0,
            Some(id) => 1 + users.iter().position(|user| user.id == id)?,
        };
        let listed = users[start..].iter().filter(|user| user.is_listed);
        let texts: Vec<_> = listed.take(limit).map(|user| user.text.as_str()).collect();
        Some(format!("[{}]", texts.join(",")))
    }

    /// The page of a list from this place on, and how many objects it has: of one organization and
    /// of one user if they are given.
    pub fn page(
        &self,
        list: &str,
        organization: Option<&str>,
        user: Option<&str>,
        (offset, limit): (usize, usize),
    ) -> String {
        let is_meant = |object: &&Object| {
            // What is hidden is missing on the list of all alone.
            (object.is_listed || organization.is_some())
                && organization.is_none_or(|id| object.organization() == *id)
                && user.is_none_or(|id| object.value()["public_user_data"]["user_id"] == *id)
        };
        let objects: Vec<_> = self.of(list).iter().filter(is_meant).collect();
        let page = objects.iter().skip(offset).take(limit);
        let texts: Vec<_> = page.map(|object| object.text.as_str()).collect();
        let total = objects.len();
        format!(r#"{{"data":[{}],"total_count":{total}}}"#, texts.join(","))
    }

    /// An invitation by its ID, within its organization.
    pub fn invitation(&self, organization: &str, id: &str) -> Option<String> {
        let invitation = self.find("organization_invitations", id)?;
        let mut value = invitation.value();
        // Only the list of all has this copy.
        value.as_object_mut()?.remove("public_organization_data");
        (invitation.organization() == *organization).then(|| value.to_string())
    }
}

/// Clerk's form of an error.
pub fn error(code: &str, message: &str) -> String {
    let error = json!({"code": code, "message": message, "long_message": message});
    json!({"errors": [error], "clerk_trace_id": "x"}).to_string()
}
