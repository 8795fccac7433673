//! The requests to Clerk's Backend API, and what the status of an answer means: pure.

use std::time::Duration;

use reqwest::Url;
use serde_json::Value as Json;

use crate::clerk::{ClerkId, One, Paging, Table, Value};

/// Objects per page: the most that Clerk allows.
const PAGE_OBJECTS: &str = "500";

/// The only order (with its reverse) in which Clerk takes a cursor. Neither the time of creation
/// nor the ID ever changes, so no object moves. Ascending, so that new objects come at the end; in
/// Clerk's default order they would come before the first page.
pub const ORDER: &str = "+created_at";

/// The version of the Backend API that every request asks for: what an answer looks like depends on
/// it.
pub const API_VERSION: (&str, &str) = ("Clerk-API-Version", "2025-11-10");

pub(super) const SET_THE_URL: &str = "set CLERK_API_URL to https://api.clerk.com/v1";

/// Part of the code of Clerk's error where an instance does not have such objects, as in
/// `organization_not_enabled_in_instance`.
const NOT_ENABLED: &str = "not_enabled";

/// Path below the base URL, and parameters.
type Target = (Vec<String>, Vec<(&'static str, String)>);

/// A list: that of all objects of a table, or one with few of them.
#[derive(Debug, Clone)]
pub(super) struct Listing {
    pub table: &'static Table,
    pub paging: Paging,
    target: Target,
    /// Whether a 404 for its first page means that it is empty: the organization may be gone.
    may_be_gone: bool,
}

/// Where a page starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From<'a> {
    Start,
    After(&'a ClerkId),
    Offset(u64),
}

/// A request for a page, for one object, or for the number of objects.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub table: &'static Table,
    target: Target,
    /// Whether 404 says that there is no such object.
    may_be_gone: bool,
    /// Whether 400 and 422 say that Clerk does not know the cursor.
    has_cursor: bool,
}

impl Listing {
    /// Returns the list of all objects of a table.
    pub fn whole(table: &'static Table) -> Self {
        Self {
            table,
            paging: table.list.paging,
            target: (parts(table.list.path), owned(table.list.parameters)),
            may_be_gone: false,
        }
    }

    /// Returns the request for the page from there.
    pub fn page(&self, from: From<'_>) -> Request {
        let (parts, mut parameters) = self.target.clone();
        parameters.push(("limit", PAGE_OBJECTS.into()));
        parameters.push(("order_by", ORDER.into()));
        match from {
            From::Start => {}
            From::After(id) => parameters.push(("starting_after", id.to_string())),
            From::Offset(offset) => parameters.push(("offset", offset.to_string())),
        }
        let has_cursor = matches!(from, From::After(_));
        Request {
            table: self.table,
            target: (parts, parameters),
            may_be_gone: self.may_be_gone || has_cursor,
            has_cursor,
        }
    }
}

/// How Clerk is asked for the object of one row.
#[derive(Debug, Clone)]
pub(super) enum Question {
    /// 404 if there is no such object.
    Object(Request),
    /// The object is on it, or there is none.
    Listed(Listing),
}

impl Question {
    /// Returns the question for the object of a row with these compared values, or `None` if the
    /// row lacks what the question needs.
    pub fn of(table: &'static Table, id: &ClerkId, compared: &[Value]) -> Option<Self> {
        let target = table.list.one.resolve(|column| {
            if column == "clerk_id" {
                return Some(id.to_string());
            }
            let place = table.compared().position(|known| known.name == column)?;
            compared.get(place)?.as_text().map(String::from)
        })?;
        Some(match table.list.one {
            One::Object(_) => Self::Object(Request {
                table,
                target,
                may_be_gone: true,
                has_cursor: false,
            }),
            One::Listed(..) => Self::Listed(Listing {
                table,
                paging: Paging::Offset,
                target,
                may_be_gone: true,
            }),
        })
    }
}

impl Request {
    /// Returns the request for the number of objects of a table.
    pub fn count(table: &'static Table) -> Self {
        let mut parts = parts(table.list.path);
        let mut parameters = owned(table.list.parameters);
        match table.list.paging {
            Paging::Cursor => parts.push("count".into()),
            Paging::Offset => parameters.push(("limit", "1".into())),
        }
        Self {
            table,
            target: (parts, parameters),
            may_be_gone: false,
            has_cursor: false,
        }
    }

    /// Returns its URL.
    pub fn url(&self, base: &Url) -> Url {
        let (mut url, (parts, parameters)) = (base.clone(), &self.target);
        // An http(s) URL always has a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(parts);
        }
        // This encodes the plus sign: a bare one means a space.
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        url
    }
}

fn parts(path: &str) -> Vec<String> {
    path.split('/').map(String::from).collect()
}

fn owned(parameters: &[(&'static str, &'static str)]) -> Vec<(&'static str, String)> {
    let parameters = parameters.iter();
    parameters
        .map(|(name, value)| (*name, (*value).into()))
        .collect()
}

/// Why a request has no answer that can be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RequestError {
    /// Try again; after this time if the server asked for one.
    Away(String, Option<Duration>),
    /// The same, after too many requests.
    TooMany(String, Option<Duration>),
    Refused(String),
}

/// What Clerk answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Found(Vec<u8>),
    /// Clerk does not know the object, or the cursor.
    Unknown,
    /// The instance does not have such objects.
    NotEnabled,
}

/// Returns what an answer other than 200 means. A 404 counts only in Clerk's own form: that of a
/// proxy proves nothing.
pub(super) fn judge(
    url: &str,
    status: u16,
    body: &[u8],
    retry_after: Option<Duration>,
    request: &Request,
) -> Result<Answer, RequestError> {
    let codes = codes(body);
    let is_off = || {
        let mut codes = codes.iter().flatten();
        codes.any(|code| code.contains(NOT_ENABLED))
    };
    let why = match status {
        // Which status it has differs from list to list.
        400 | 403 | 404 | 422 if is_off() => return Ok(Answer::NotEnabled),
        400 | 404 | 422 if request.has_cursor => return Ok(Answer::Unknown),
        404 if request.may_be_gone && codes.is_some() => return Ok(Answer::Unknown),
        404 if request.may_be_gone => format!(
            "answers 404 for one {}, but not in Clerk's form, so it proves nothing: {SET_THE_URL}",
            request.table.singular
        ),
        429 => {
            let what = format!("{url} has had too many requests (429)");
            return Err(RequestError::TooMany(what, retry_after));
        }
        408 | 500..=599 => {
            let what = format!("{url} answers {status}; see status.clerk.com");
            return Err(RequestError::Away(what, retry_after));
        }
        401 | 403 => {
            let verb = match status {
                401 => "does not take the",
                _ => "forbids it to this",
            };
            format!(
                "{verb} secret key ({status}): copy the Secret key (sk_…) of the right instance from Clerk's dashboard, Configure > API keys, into CLERK_SECRET_KEY"
            )
        }
        404 => format!("has no /{} (404): {SET_THE_URL}", request.table.list.path),
        300..=399 => format!("points elsewhere ({status}): {SET_THE_URL}"),
        _ => format!("answers {status}: {SET_THE_URL}, and see status.clerk.com"),
    };
    Err(RequestError::Refused(format!("{url} {why}")))
}

/// Returns the codes of Clerk's errors: JSON with a list of `errors`. Returns `None` for any other
/// body.
fn codes(body: &[u8]) -> Option<Vec<String>> {
    let body: Json = serde_json::from_slice(body).ok()?;
    let code = |error: &Json| error["code"].as_str().map(String::from);
    Some(body["errors"].as_array()?.iter().filter_map(code).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clerk::tables::{self, organization_memberships, organizations, users};

    const GONE: &[u8] = br#"{"errors":[{"code":"resource_not_found"}],"clerk_trace_id":"x"}"#;

    fn judged(status: u16, body: &[u8], request: &Request) -> Result<Answer, RequestError> {
        judge("https://clerk", status, body, None, request)
    }

    fn one(table: &'static Table, id: &str) -> Request {
        let id = ClerkId::new(id).unwrap();
        match Question::of(table, &id, &[]) {
            Some(Question::Object(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn some_answers_are_transient_and_others_need_an_operator() {
        let user = ClerkId::new("user_1").unwrap();
        let list = Listing::whole(&users::TABLE);
        let (first, later) = (list.page(From::Start), list.page(From::After(&user)));
        for status in [408, 500, 502, 503, 504, 529] {
            assert!(
                matches!(
                    judged(status, b"", &first),
                    Err(RequestError::Away(_, None))
                ),
                "{status}"
            );
        }
        assert!(matches!(
            judged(429, b"", &first),
            Err(RequestError::TooMany(_, None))
        ));
        for status in [301, 400, 401, 402, 403, 404, 410, 422] {
            assert!(
                matches!(judged(status, GONE, &first), Err(RequestError::Refused(_))),
                "{status}"
            );
        }
        for status in [400, 404, 422] {
            assert_eq!(judged(status, b"", &later), Ok(Answer::Unknown));
        }
        // A request that is refused for its form says nothing of the user.
        let one = one(&users::TABLE, "user_1");
        assert!(matches!(
            judged(422, GONE, &one),
            Err(RequestError::Refused(_))
        ));
        assert_eq!(judged(404, GONE, &one), Ok(Answer::Unknown));
    }

    #[test]
    fn only_clerks_own_404_says_that_an_object_is_gone() {
        let one = one(&organizations::TABLE, "org_1");
        for other in [&b"<html>Not Found</html>"[..], b"", b"{}", b"[]"] {
            let refused = judged(404, other, &one).unwrap_err();
            let RequestError::Refused(why) = refused else {
                panic!("{refused:?}")
            };
            assert!(why.contains("404 for one organization"), "{why}");
        }
    }

    #[test]
    fn an_instance_without_organizations_is_no_error() {
        let off = br#"{"errors":[{"code":"organization_not_enabled_in_instance"}]}"#;
        let (page, one) = (
            Listing::whole(&organizations::TABLE).page(From::Offset(0)),
            one(&organizations::TABLE, "org_1"),
        );
        for status in [400, 403, 404, 422] {
            for request in [&page, &one] {
                assert_eq!(judged(status, off, request), Ok(Answer::NotEnabled));
            }
        }
        assert!(judged(403, GONE, &page).is_err());
    }

    #[test]
    fn every_table_can_be_asked_for_one_object_by_what_is_compared() {
        let id = ClerkId::new("id_1").unwrap();
        for table in tables::ALL {
            let text = |name: &str| Value::Text(name.into());
            let values: Vec<_> = table.compared().map(|column| text(column.name)).collect();
            assert!(
                Question::of(table, &id, &values).is_some(),
                "{table:?}: it is asked for with a column that is not compared"
            );
        }
        let table = &organization_memberships::TABLE;
        let nulls = vec![Value::Null; table.compared().count()];
        assert!(Question::of(table, &id, &nulls).is_none());
    }

    #[test]
    fn a_request_has_its_path_and_its_parameters() {
        let base = Url::parse("https://clerk/v1/").unwrap();
        let url = |request: Request| request.url(&base).to_string();
        let list = Listing::whole(&organizations::TABLE);
        assert_eq!(
            url(list.page(From::Offset(499))),
            "https://clerk/v1/organizations?include_members_count=true&limit=500&order_by=%2Bcreated_at&offset=499"
        );
        assert_eq!(
            url(Request::count(&users::TABLE)),
            "https://clerk/v1/users/count"
        );
        assert_eq!(
            url(one(&users::TABLE, "user/1")),
            "https://clerk/v1/users/user%2F1"
        );
        let table = &organization_memberships::TABLE;
        let values: Vec<_> = table
            .compared()
            .map(|column| Value::Text(format!("{}_1", column.name).into()))
            .collect();
        let id = ClerkId::new("orgmem_1").unwrap();
        let Some(Question::Listed(list)) = Question::of(table, &id, &values) else {
            panic!("a membership is searched for in its organization")
        };
        assert_eq!(
            url(list.page(From::Start)),
            "https://clerk/v1/organizations/organization_id_1/memberships?user_id=user_id_1&limit=500&order_by=%2Bcreated_at"
        );
    }
}
