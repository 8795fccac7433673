//! The query of a page's address: its filter, read by the rules of `/api`.

use actix_web::web::Query;
use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat};

use super::encode::encode;
use super::field_faults::FieldFaults;
use super::page::DashboardError;
use crate::clerk::{Table, Timestamp};
use crate::http::api::{read_events_query, read_table_query, read_users_query, with_plus};
use crate::http::problem::Problem;
use crate::store::{EventFilter, Page, TableFilter, UserFilter};

/// The fields of a filter as they were typed, without the empty ones.
#[derive(Debug, Clone, Default)]
pub struct PageQuery(Vec<(String, String)>);

impl PageQuery {
    /// Reads a query string. The form has no field for an address or number alone, so a `+` there
    /// was typed; in the search it is what the browser makes of a space.
    ///
    /// # Errors
    ///
    /// If it cannot be decoded.
    pub fn read(query: &str) -> Result<Self, DashboardError> {
        let query = with_plus(query, &["email", "phone"]);
        let fields = Query::<Vec<(String, String)>>::from_query(&query)
            .map_err(|_| DashboardError::invalid("the address cannot be read"))?;
        let fields = fields.iter().map(|(name, value)| (&**name, &**value));
        Ok(Self::of(fields))
    }

    /// The query with these fields, as `/api` reads them: a time of a form is in UTC, and selected
    /// IDs, of which a form sends each on its own, are one list.
    pub fn of<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut query = Self::default();
        for (name, value) in fields {
            let value = value.trim();
            if value.is_empty() {
                continue;
            }
            let value = match name {
                "since" | "until" => in_utc(value).unwrap_or_else(|| value.to_owned()),
                _ => value.to_owned(),
            };
            let before = query.0.iter_mut().find(|(before, _)| before == name);
            match before.filter(|_| name == IDS) {
                Some((_, ids)) => *ids = format!("{ids},{value}"),
                None => query.0.push((name.to_owned(), value)),
            }
        }
        query
    }

    /// The value of a field; empty if it is absent.
    pub fn get(&self, name: &str) -> &str {
        let field = self.0.iter().find(|(field, _)| field == name);
        field.map_or("", |(_, value)| value)
    }

    /// Returns whether a field has this value.
    pub fn is(&self, name: &str, value: &str) -> bool {
        self.get(name) == value
    }

    /// The value of a field for a time, as `datetime-local` has it; `None` if it is no point in
    /// time to the second.
    pub fn local_time(&self, name: &str) -> Option<String> {
        let value = self.get(name);
        let time = DateTime::parse_from_rfc3339(value).map(|time| time.naive_utc());
        let date = || value.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0);
        let time = time.ok().or_else(date)?;
        let is_whole = time.and_utc().timestamp_subsec_nanos() == 0;
        is_whole.then(|| time.format("%Y-%m-%dT%H:%M:%S").to_string())
    }

    /// Returns whether it filters.
    pub fn is_narrow(&self) -> bool {
        let mut names = self.0.iter().map(|(name, _)| name);
        names.any(|name| name != "cursor" && name != "limit")
    }

    /// The name of a listing with what it is filtered by, for the tab of a browser.
    pub fn title(&self, listing: &str) -> String {
        let fields = self.0.iter();
        let fields = fields.filter(|(name, _)| !matches!(&**name, "cursor" | "limit"));
        let mut values: Vec<_> = fields.map(|(_, value)| value.as_str()).collect();
        if !self.get("cursor").is_empty() {
            values.push("older");
        }
        if values.is_empty() {
            return listing.to_owned();
        }
        format!("{listing}: {}", values.join(", "))
    }

    /// The same with another value of a field; without the field if the value is empty.
    pub fn with(&self, name: &str, value: &str) -> Self {
        let fields = self.0.iter().map(|(name, value)| (&**name, &**value));
        let others = fields.filter(|(field, _)| *field != name);
        Self::of(others.chain([(name, value)]))
    }

    /// The same without some fields.
    pub fn without(&self, names: &[&str]) -> Self {
        let mut query = self.clone();
        query.0.retain(|(name, _)| !names.contains(&&**name));
        query
    }

    /// The fields in their order.
    pub fn fields(&self) -> &[(String, String)] {
        &self.0
    }

    /// The query string.
    pub fn encoded(&self) -> String {
        let pair = |(name, value): &(String, String)| format!("{}={}", encode(name), encode(value));
        self.0.iter().map(pair).collect::<Vec<_>>().join("&")
    }

    /// The path with the query.
    pub fn on(&self, path: &str) -> String {
        if self.0.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{}", self.encoded())
        }
    }

    /// What is wrong with each field, by a reader of queries.
    fn faults<T>(&self, read: impl Fn(&str) -> Result<T, Problem>) -> FieldFaults {
        let alone = self.0.iter().filter_map(|(name, value)| {
            let query = Self::of([(&**name, &**value)]);
            Some((name.clone(), read(&query.encoded()).err()?))
        });
        FieldFaults::of(alone)
    }

    /// What is wrong with each field of a listing of events.
    pub fn faults_of_events(&self, now: Timestamp) -> FieldFaults {
        self.faults(|query| read_events_query(query, now))
    }

    /// What is wrong with each field of a listing of users.
    pub fn faults_of_users(&self) -> FieldFaults {
        self.faults(read_users_query)
    }

    /// What is wrong with each field of a listing of rows of a table.
    pub fn faults_of_rows(&self, table: &'static Table) -> FieldFaults {
        self.faults(|query| read_table_query(table, None, query))
    }

    /// The filter and the page of a listing of rows of a table.
    ///
    /// # Errors
    ///
    /// If a field is wrong.
    pub fn rows(&self, table: &'static Table) -> Result<(TableFilter, Page), DashboardError> {
        let (filter, page, _) = read_table_query(table, None, &self.encoded())?;
        Ok((filter, page))
    }

    /// The filter and the page of a listing of events.
    ///
    /// # Errors
    ///
    /// If a field is wrong.
    pub fn events(&self, now: Timestamp) -> Result<(EventFilter, Page), DashboardError> {
        Ok(read_events_query(&self.encoded(), now)?)
    }

    /// The filter and the page of a listing of users.
    ///
    /// # Errors
    ///
    /// If a field is wrong.
    pub fn users(&self) -> Result<(UserFilter, Page), DashboardError> {
        Ok(read_users_query(&self.encoded())?)
    }
}

/// The field of selected events.
pub const IDS: &str = "ids";

/// A time as `datetime-local` sends it, which names no zone: the form says that it is UTC.
fn in_utc(value: &str) -> Option<String> {
    let read = |form| NaiveDateTime::parse_from_str(value, form);
    let time = read("%Y-%m-%dT%H:%M").or_else(|_| read("%Y-%m-%dT%H:%M:%S%.f"));
    let time = time.ok()?.and_utc();
    Some(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_field_does_not_filter() {
        let query = "status=failed&event_type=&clerk_id=+user_1+&since=&done=replayed";
        let query = PageQuery::read(query).unwrap();
        assert_eq!(query.get("done"), "replayed");
        let query = query.without(&["done"]);
        assert_eq!(query.encoded(), "status=failed&clerk_id=user_1");
        assert_eq!(
            query.with("status", "stale").on("/events"),
            "/events?clerk_id=user_1&status=stale"
        );
        assert!(query.is_narrow());
        let cursor = PageQuery::read("cursor=e.1.msg_1").unwrap();
        assert!(!cursor.is_narrow());
        assert_eq!(PageQuery::read("").unwrap().on("/events"), "/events");
    }

    #[test]
    fn a_title_says_what_is_listed() {
        let title = |query: &str| PageQuery::read(query).unwrap().title("Events");
        assert_eq!(title(""), "Events");
        assert_eq!(
            title("status=failed&error_code=not_json&limit=5"),
            "Events: failed, not_json"
        );
        assert_eq!(title("cursor=e.1.msg_1"), "Events: older");
    }

    #[test]
    fn a_space_of_the_form_and_a_plus_of_an_address_reach_the_filter() {
        let filter = |query: &str| PageQuery::read(query).unwrap().users().unwrap().0;
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
    fn a_time_of_the_form_is_in_utc_and_comes_back_as_it_was() {
        for (sent, read, shown) in [
            (
                "2026-11-23T16:00",
                "2026-11-23T16:00:00Z",
                Some("2026-11-23T16:00:00"),
            ),
            (
                "2026-11-23T16:00:05",
                "2026-11-23T16:00:05Z",
                Some("2026-11-23T16:00:05"),
            ),
            (
                "2026-11-23T17:00:00+01:00",
                "2026-11-23T17:00:00+01:00",
                Some("2026-11-23T16:00:00"),
            ),
            ("2026-11-23", "2026-11-23", Some("2026-11-23T00:00:00")),
            ("2026-11-23T16:00:00.5Z", "2026-11-23T16:00:00.5Z", None),
            ("2h", "2h", None),
            ("soon", "soon", None),
            ("", "", None),
        ] {
            let query = PageQuery::of([("since", sent)]);
            assert_eq!(query.get("since"), read);
            assert_eq!(query.local_time("since").as_deref(), shown, "{sent}");
        }
    }

    #[test]
    fn selected_events_are_one_list() {
        let query = PageQuery::read("ids=msg_1&ids=msg_2&ids=&status=failed").unwrap();
        assert_eq!(query.get("ids"), "msg_1,msg_2");
        let now = Timestamp::from_ms(1_795_400_000_000).unwrap();
        let (filter, _) = query.events(now).unwrap();
        assert_eq!(filter.ids.unwrap().len(), 2);
    }

    #[test]
    fn each_field_has_its_own_fault() {
        let now = Timestamp::from_ms(1_795_400_000_000).unwrap();
        let query = PageQuery::read("status=lost&since=soon&event_type=user.created").unwrap();
        let faults = query.faults_of_events(now);
        let status = "Give applied, stale, failed or discarded.";
        assert_eq!(faults.text("status"), Some(status));
        assert!(faults.text("since").unwrap().starts_with("Give a date"));
        assert_eq!(faults.text("event_type"), None);
        assert!(faults.others(&["status", "since"]).is_empty());
        let unknown = PageQuery::read("kind=x&limit=501").unwrap();
        let faults = unknown.faults_of_events(now);
        assert_eq!(faults.others(&["status"]).len(), 2);
        assert!(PageQuery::default().faults_of_users().is_empty());
    }

    #[test]
    fn a_value_survives_its_query_string() {
        let value = "a&b=c é\"<script>/?#%";
        let query = PageQuery::of([("q", value)]);
        assert_eq!(PageQuery::read(&query.encoded()).unwrap().get("q"), value);
    }
}
