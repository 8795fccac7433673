//! An instance of Clerk's, behind its Backend API on loopback: the lists, by cursor and by offset,
//! one object, the count. It can be held up, break off, refuse and change in the middle of a run.
//! Requests without the version of the API are refused.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use super::clerk_lists::Accounts;
use super::clerk_lists::{LISTS, error};

/// The key of every instance here, unless it has got another.
pub const KEY: &str = "sk_live_abcdefghijklmnopqrstuvwxyz0123456789";

/// The response to the next request for a page or for one object, instead of it.
#[derive(Debug, Clone, Copy)]
pub enum Trouble {
    Status(u16),
    RetryAfter(u16, u64),
    /// A date, two seconds after that of a server whose clock is decades slow.
    RetryAfterDate,
    /// The page breaks off in the middle.
    Cut,
    /// A 200 with this body.
    Body(&'static str),
    /// Another status with this body.
    StatusBody(u16, &'static str),
    /// No answer, ever.
    Silence,
}

/// Goes with the value.
pub struct ClerkInstance {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    page_max: usize,
    state: Mutex<State>,
    /// How many pages may be given.
    allowed: watch::Sender<usize>,
    /// Whether who asks for one object is held up.
    holds_objects: watch::Sender<bool>,
}

type Event = Box<dyn FnOnce(&mut Accounts) + Send>;

#[derive(Default)]
struct State {
    accounts: Accounts,
    key: String,
    troubles: VecDeque<Trouble>,
    object_troubles: VecDeque<Trouble>,
    /// What happens at Clerk before the page of this number is given, the first one being 0.
    events: Vec<(usize, Event)>,
    pages: usize,
    /// Targets of the requests, without the base.
    targets: Vec<String>,
    ignores_place: bool,
    has_strange_404: bool,
}

impl ClerkInstance {
    /// Starts it empty, and with at most so many objects on a page.
    pub async fn start(page_max: usize) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let state = State {
            key: KEY.into(),
            ..State::default()
        };
        let shared = Arc::new(Shared {
            page_max,
            state: Mutex::new(state),
            allowed: watch::Sender::new(usize::MAX),
            holds_objects: watch::Sender::new(false),
        });
        let (address, serving) = (listener.local_addr().unwrap(), Arc::clone(&shared));
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, Arc::clone(&serving)));
            }
        });
        Self {
            address,
            shared,
            accepting,
        }
    }

    /// With users `user_00`, `user_01` …, one created every 10 ms.
    pub async fn with_users(page_max: usize, users: usize) -> Self {
        let instance = Self::start(page_max).await;
        instance.change(|accounts| {
            for number in 0..users {
                accounts.sign_up(
                    &format!("user_{number:02}"),
                    i64::try_from(number).unwrap() * 10,
                );
            }
        });
        instance
    }

    /// What makes the program ask this instance.
    pub fn variables(&self) -> [(&'static str, String); 2] {
        [
            ("CLERK_SECRET_KEY", KEY.into()),
            ("CLERK_API_URL", format!("http://{}/v1", self.address)),
        ]
    }

    pub fn change(&self, change: impl FnOnce(&mut Accounts)) {
        change(&mut self.shared.state.lock().unwrap().accounts);
    }

    /// Happens at Clerk just before this page is given, counted from the start of the instance.
    pub fn before_page(&self, page: usize, event: impl FnOnce(&mut Accounts) + Send + 'static) {
        self.shared
            .state
            .lock()
            .unwrap()
            .events
            .push((page, Box::new(event)));
    }

    pub fn then(&self, troubles: &[Trouble]) {
        self.shared.state.lock().unwrap().troubles.extend(troubles);
    }

    /// The same for requests for one object.
    pub fn then_for_objects(&self, troubles: &[Trouble]) {
        let mut state = self.shared.state.lock().unwrap();
        state.object_troubles.extend(troubles);
    }

    /// Holds up who asks for one object, until `release`.
    pub fn hold_objects(&self) {
        self.shared.holds_objects.send_replace(true);
    }

    /// How many requests there were since `take_targets`.
    pub fn requests(&self) -> usize {
        self.shared.state.lock().unwrap().targets.len()
    }

    /// Takes another key from now on.
    pub fn set_key(&self, key: &str) {
        self.shared.state.lock().unwrap().key = key.into();
    }

    /// Every page is the first one from now on.
    pub fn ignore_place(&self) {
        self.shared.state.lock().unwrap().ignores_place = true;
    }

    /// Like a proxy that knows no such path.
    pub fn answer_404_strangely(&self) {
        self.shared.state.lock().unwrap().has_strange_404 = true;
    }

    /// Gives so many pages more, and holds up who asks for another.
    pub fn hold_after(&self, pages: usize) {
        let given = self.shared.state.lock().unwrap().pages;
        self.shared.allowed.send_replace(given + pages);
    }

    /// Pages given so far.
    pub fn pages(&self) -> usize {
        self.shared.state.lock().unwrap().pages
    }

    /// Pages that are given before somebody is held up.
    pub fn pages_left(&self) -> usize {
        self.shared.allowed.borrow().saturating_sub(self.pages())
    }

    pub fn release(&self) {
        self.shared.allowed.send_replace(usize::MAX);
        self.shared.holds_objects.send_replace(false);
    }

    /// What was asked for since the last time.
    pub fn take_targets(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.state.lock().unwrap().targets)
    }
}

impl Drop for ClerkInstance {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut client: TcpStream, shared: Arc<Shared>) {
    while let Some(head) = read_head(&mut client).await {
        let target = head
            .split(' ')
            .nth(1)
            .unwrap()
            .strip_prefix("/v1")
            .unwrap()
            .to_owned();
        let path = target.split('?').next().unwrap();
        let is_count = target.contains("limit=1&") || target.ends_with("limit=1");
        let is_page = LISTS.contains(&&path[1..]) && !is_count;
        let is_object = matches!(path[1..].split_once('/'), Some((list, id)) if LISTS.contains(&list) && id != "count");
        let head = head.to_lowercase();
        let has_version = head.contains("\r\nclerk-api-version: 2025-11-10\r\n");
        let is_known = {
            let mut state = shared.state.lock().unwrap();
            state.targets.push(target.clone());
            head.contains(&format!(
                "authorization: bearer {}\r\n",
                state.key.to_lowercase()
            ))
        };
        if is_page && is_known {
            let mut allowed = shared.allowed.subscribe();
            let given = || shared.state.lock().unwrap().pages;
            allowed
                .wait_for(|allowed| given() < *allowed)
                .await
                .unwrap();
        }
        if is_object && is_known {
            let mut held = shared.holds_objects.subscribe();
            held.wait_for(|held| !held).await.unwrap();
        }
        let (status, headers, body) = if !has_version {
            let body = error("api_version_missing", "which version of the API?");
            (400, String::new(), body)
        } else if !is_known {
            let body = error("secret_key_invalid", "invalid key");
            (401, String::new(), body)
        } else {
            let mut state = shared.state.lock().unwrap();
            state.answer(&target, is_page, shared.page_max)
        };
        if status == SILENCE {
            std::future::pending::<()>().await;
        }
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} -\r\ncontent-length: {length}\r\ncontent-type: application/json\r\n{headers}\r\n"
        );
        let is_cut = status == 200 && headers.contains("x-cut");
        let body = if is_cut { &body[..length / 2] } else { &body };
        if client
            .write_all(format!("{head}{body}").as_bytes())
            .await
            .is_err()
            || is_cut
        {
            return;
        }
    }
}

async fn read_head(client: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut all = query.split('&').filter_map(|pair| pair.split_once('='));
    all.find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

fn not_found() -> (u16, String, String) {
    let body = error("resource_not_found", "not found");
    (404, String::new(), body)
}

/// The status in the place of no answer.
const SILENCE: u16 = 0;

impl Trouble {
    /// Status, headers and body.
    fn answer(self) -> (u16, String, String) {
        match self {
            Self::Status(status) => (status, String::new(), "no page".into()),
            Self::RetryAfter(status, seconds) => {
                (status, format!("retry-after: {seconds}\r\n"), "{}".into())
            }
            Self::RetryAfterDate => {
                let (date, later) = (
                    "Sun, 06 Nov 1994 08:49:37 GMT",
                    "Sun, 06 Nov 1994 08:49:39 GMT",
                );
                let headers = format!("date: {date}\r\nretry-after: {later}\r\n");
                (429, headers, "{}".into())
            }
            Self::Cut => (200, "x-cut: yes\r\n".into(), "{}".into()),
            Self::Body(body) => (200, String::new(), body.into()),
            Self::StatusBody(status, body) => (status, String::new(), body.into()),
            Self::Silence => (SILENCE, String::new(), String::new()),
        }
    }
}

impl State {
    /// Status, headers and body.
    fn answer(&mut self, target: &str, is_page: bool, page_max: usize) -> (u16, String, String) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parts: Vec<_> = path[1..].split('/').collect();
        if parts[0] != "users" && self.accounts.is_without_organizations {
            // The statuses that the OpenAPI file has for each list.
            let status = match parts[0] {
                "organization_memberships" => 400,
                "organization_invitations" => 404,
                _ => 403,
            };
            let body = error("organization_not_enabled_in_instance", "turned off");
            return (status, String::new(), body);
        }
        let found = match parts[..] {
            ["users", "count"] => {
                let count = json!({"object": "total_count", "total_count": self.accounts.users()});
                Some(count.to_string())
            }
            [list] if is_page => return self.page(list, query, page_max),
            ["users"] => self.accounts.users_after(None, limit(query)),
            [list] => Some(self.accounts.page(list, None, None, (0, limit(query)))),
            [list, id] => {
                let trouble = self.object_troubles.pop_front();
                match trouble.map(Trouble::answer) {
                    Some(answer) => return answer,
                    None => self.accounts.object(list, id).map(String::from),
                }
            }
            ["organizations", organization, "memberships"] => {
                let is_known = self
                    .accounts
                    .object("organizations", organization)
                    .is_some();
                let (list, user) = ("organization_memberships", parameter(query, "user_id"));
                let place = place(query, page_max);
                let page = self.accounts.page(list, Some(organization), user, place);
                is_known.then_some(page)
            }
            ["organizations", organization, "invitations", id] => {
                self.accounts.invitation(organization, id)
            }
            _ => None,
        };
        match found {
            Some(body) => (200, String::new(), body),
            None if self.has_strange_404 => (404, String::new(), "<html>Not Found</html>".into()),
            None => not_found(),
        }
    }

    fn page(&mut self, list: &str, query: &str, page_max: usize) -> (u16, String, String) {
        let mut headers = String::new();
        match self.troubles.pop_front() {
            Some(Trouble::Cut) => headers = "x-cut: yes\r\n".into(),
            Some(trouble) => return trouble.answer(),
            None => {}
        }
        // The order in which no object moves.
        assert_eq!(
            parameter(query, "order_by"),
            Some("%2Bcreated_at"),
            "{query}"
        );
        let page = self.pages;
        self.pages += usize::from(headers.is_empty());
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.events)
            .into_iter()
            .partition(|(at, _)| *at <= page);
        self.events = later;
        due.into_iter()
            .for_each(|(_, event)| event(&mut self.accounts));
        let (offset, limit) = place(query, page_max);
        if list == "users" {
            // As Clerk's documents say: with a cursor no offset.
            assert!(parameter(query, "offset").is_none(), "{query}");
            let cursor = parameter(query, "starting_after").filter(|_| !self.ignores_place);
            return match self.accounts.users_after(cursor, limit) {
                Some(body) => (200, headers, body),
                None => not_found(),
            };
        }
        assert!(parameter(query, "starting_after").is_none(), "{query}");
        let offset = if self.ignores_place { 0 } else { offset };
        let organization = parameter(query, "organization_id");
        let page = self
            .accounts
            .page(list, organization, None, (offset, limit));
        (200, headers, page)
    }
}

/// At most 500, as Clerk's documents say.
fn limit(query: &str) -> usize {
    let limit = parameter(query, "limit").unwrap().parse().unwrap();
    assert!((1..=500).contains(&limit), "{query}");
    limit
}

fn place(query: &str, page_max: usize) -> (usize, usize) {
    let offset = parameter(query, "offset").map_or(0, |offset| offset.parse().unwrap());
    (offset, limit(query).min(page_max))
}
