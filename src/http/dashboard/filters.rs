//! What a page was asked for: the filter in its address, read by the rules of `/api`.

use std::fmt::Write;

use actix_web::web::Query;

use super::login::encoded;
use super::page::Refusal;
use crate::clerk::Timestamp;
use crate::http::api::{read_events_query, read_users_query, with_plus};
use crate::store::{EventFilter, Page, UserFilter};

/// Fields of a filter, as they were typed, without those that were left empty.
#[derive(Debug, Clone, Default)]
pub struct Ask(Vec<(String, String)>);

impl Ask {
    /// Of a query string. The form has no field for an address or number alone, so a `+` there was typed; in the search it is
    /// what the browser makes of a space.
    pub fn read(query: &str) -> Result<Self, Refusal> {
        let read =
            Query::<Vec<(String, String)>>::from_query(&with_plus(query, &["email", "phone"]));
        let fields = read
            .map_err(|_| Refusal::Invalid("The address cannot be read.".into()))?
            .into_inner();
        Ok(Self::of(
            fields
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        ))
    }

    pub fn of<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let fields = fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        Self(fields.filter(|(_, value)| !value.is_empty()).collect())
    }

    /// The value of a field; empty where it was not given.
    pub fn get(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(field, _)| field == name)
            .map_or("", |(_, value)| value)
    }

    pub fn is(&self, name: &str, value: &str) -> bool {
        self.get(name) == value
    }

    /// Whether it leaves anything out.
    pub fn is_narrow(&self) -> bool {
        self.0
            .iter()
            .any(|(name, _)| name != "cursor" && name != "limit")
    }

    /// The same with another value of a field; without the field where the value is empty.
    pub fn with(&self, name: &str, value: &str) -> Self {
        let others = self
            .0
            .iter()
            .filter(|(field, _)| field != name)
            .map(|(name, value)| (&**name, &**value));
        Self::of(others.chain([(name, value)]))
    }

    pub fn without(&self, name: &str) -> Self {
        self.with(name, "")
    }

    /// Takes a field out, which is ours and not the filter's.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let value = Some(self.get(name).to_owned()).filter(|value| !value.is_empty());
        *self = self.without(name);
        value
    }

    pub fn fields(&self) -> &[(String, String)] {
        &self.0
    }

    /// As a query string.
    pub fn query(&self) -> String {
        let mut query = String::new();
        for (name, value) in &self.0 {
            let joint = if query.is_empty() { "" } else { "&" };
            let _ = write!(query, "{joint}{}={}", encoded(name), encoded(value));
        }
        query
    }

    /// The path with it.
    pub fn on(&self, path: &str) -> String {
        if self.0.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{}", self.query())
        }
    }

    pub fn events(&self, now: Timestamp) -> Result<(EventFilter, Page), Refusal> {
        Ok(read_events_query(&self.query(), now)?)
    }

    pub fn users(&self) -> Result<(UserFilter, Page), Refusal> {
        Ok(read_users_query(&self.query())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_empty_is_not_asked_for() {
        let mut ask = Ask::read("status=failed&type=&user=+user_1+&since=&done=replayed").unwrap();
        assert_eq!(ask.take("done").as_deref(), Some("replayed"));
        assert_eq!(ask.query(), "status=failed&user=user_1");
        assert_eq!(
            ask.with("status", "stale").on("/events"),
            "/events?user=user_1&status=stale"
        );
        assert!(ask.is_narrow() && !Ask::read("cursor=e.1.msg_1").unwrap().is_narrow());
        assert_eq!(Ask::read("").unwrap().on("/events"), "/events");
    }

    #[test]
    fn a_space_of_the_form_and_a_plus_of_an_address_reach_the_filter() {
        let filter = |query: &str| Ask::read(query).unwrap().users().unwrap().0;
        // As a browser sends what was typed: `ada lovelace`, and `a+b@example.com`.
        assert_eq!(filter("q=ada+lovelace").q.as_deref(), Some("ada lovelace"));
        assert_eq!(
            filter("q=a%2Bb%40example.com").q.as_deref(),
            Some("a+b@example.com")
        );
        assert_eq!(
            filter("email=a+b@example.com").email.as_deref(),
            Some("a+b@example.com")
        );
    }

    #[test]
    fn a_value_survives_its_query_string() {
        let value = "a&b=c é\"<script>/?#%";
        let ask = Ask::of([("q", value)]);
        assert_eq!(Ask::read(&ask.query()).unwrap().get("q"), value);
    }
}
