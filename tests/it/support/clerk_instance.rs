//! An instance of Clerk's with users in it, behind its Backend API on loopback: the list with its
//! cursor, one user, the count. It can be held up, break off, refuse and change in the middle of a
//! walk.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::history::EPOCH_MS;

/// The key of every instance here, unless it has got another.
pub const KEY: &str = "sk_live_abcdefghijklmnopqrstuvwxyz0123456789";

/// The response to the next request for a page, instead of the page.
#[derive(Debug, Clone, Copy)]
pub enum Trouble {
    Status(u16),
    RetryAfter(u16, u64),
    /// A date, two seconds after that of a server whose clock is decades slow.
    RetryAfterDate,
    /// The page breaks off in the middle.
    Cut,
}

/// Goes with the value.
pub struct ClerkInstance {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    page_users: usize,
    state: Mutex<State>,
    /// How many pages may be given.
    allowed: watch::Sender<usize>,
}

type Event = Box<dyn FnOnce(&mut Accounts) + Send>;

#[derive(Default)]
struct State {
    accounts: Accounts,
    key: String,
    troubles: VecDeque<Trouble>,
    /// What happens at Clerk before the page of this number is given, the first one being 0.
    events: Vec<(usize, Event)>,
    pages: usize,
    /// Targets of the requests, without the base.
    targets: Vec<String>,
    ignores_cursors: bool,
    has_strange_404: bool,
}

/// The users, in the order of their creation.
#[derive(Default)]
pub struct Accounts(Vec<Account>);

struct Account {
    id: String,
    created_ms: i64,
    text: String,
    is_listed: bool,
}

impl Accounts {
    /// A user who was created at this time and has not changed since.
    pub fn sign_up(&mut self, id: &str, created_ms: i64) {
        let (at, address) = (EPOCH_MS + created_ms, format!("{id}_mail"));
        let user = json!({
            "id": id, "object": "user", "first_name": format!("listed_{created_ms}"), "created_at": at, "updated_at": at,
            "email_addresses": [{"id": address, "email_address": format!("{id}@example.com"), "verification": {"status": "verified"}}],
            "primary_email_address_id": address, "banned": false, "locked": false, "private_metadata": {"note": "classified"},
        });
        self.put(id, created_ms, &user.to_string());
    }

    /// Any text in the place of a user object.
    pub fn put(&mut self, id: &str, created_ms: i64, text: &str) {
        self.delete(id);
        let account = Account {
            id: id.into(),
            created_ms,
            text: text.into(),
            is_listed: true,
        };
        let place = self
            .0
            .partition_point(|other| (other.created_ms, &*other.id) < (created_ms, id));
        self.0.insert(place, account);
    }

    /// Changes fields of a user, as of this time.
    pub fn update(&mut self, id: &str, updated_ms: i64, fields: &Value) {
        let account = self.0.iter_mut().find(|account| account.id == id).unwrap();
        let mut user: Value = serde_json::from_str(&account.text).unwrap();
        user["updated_at"] = (EPOCH_MS + updated_ms).into();
        user.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        account.text = user.to_string();
    }

    pub fn delete(&mut self, id: &str) {
        self.0.retain(|account| account.id != id);
    }

    /// Whom the list does not show yet.
    pub fn hide_from_list(&mut self, id: &str) {
        self.0
            .iter_mut()
            .filter(|account| account.id == id)
            .for_each(|account| account.is_listed = false);
    }
}

impl ClerkInstance {
    /// Starts it without users, and with at most so many users on a page.
    pub async fn start(page_users: usize) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let state = State {
            key: KEY.into(),
            ..State::default()
        };
        let shared = Arc::new(Shared {
            page_users,
            state: Mutex::new(state),
            allowed: watch::Sender::new(usize::MAX),
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
    pub async fn with_users(page_users: usize, users: usize) -> Self {
        let instance = Self::start(page_users).await;
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

    /// Takes another key from now on.
    pub fn set_key(&self, key: &str) {
        self.shared.state.lock().unwrap().key = key.into();
    }

    pub fn ignore_cursors(&self) {
        self.shared.state.lock().unwrap().ignores_cursors = true;
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
        let is_page = target.split('?').next() == Some("/users");
        let is_known = {
            let mut state = shared.state.lock().unwrap();
            state.targets.push(target.clone());
            head.to_lowercase()
                .contains(&format!("authorization: bearer {}\r\n", state.key))
        };
        if is_page && is_known {
            let mut allowed = shared.allowed.subscribe();
            let given = || shared.state.lock().unwrap().pages;
            allowed
                .wait_for(|allowed| given() < *allowed)
                .await
                .unwrap();
        }
        let (status, headers, body) =
            shared
                .state
                .lock()
                .unwrap()
                .answer(&target, is_known, shared.page_users);
        let length = body.len();
        let head = format!("HTTP/1.1 {status} -\r\ncontent-length: {length}\r\n{headers}\r\n");
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

const NO_SUCH_USER: &str =
    r#"{"errors":[{"message":"not found","code":"resource_not_found"}],"clerk_trace_id":"x"}"#;

impl State {
    /// Status, headers and body.
    fn answer(&mut self, target: &str, is_known: bool, page_users: usize) -> (u16, String, String) {
        if !is_known {
            return (
                401,
                String::new(),
                r#"{"errors":[{"code":"secret_key_invalid"}]}"#.into(),
            );
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        match path {
            "/users" => self.page(query, page_users),
            "/users/count" => (
                200,
                String::new(),
                json!({"total_count": self.accounts.0.len()}).to_string(),
            ),
            _ => {
                let id = path.strip_prefix("/users/").unwrap();
                match self.accounts.0.iter().find(|account| account.id == id) {
                    Some(account) => (200, String::new(), account.text.clone()),
                    None if self.has_strange_404 => {
                        (404, String::new(), "<html>Not Found</html>".into())
                    }
                    None => (404, String::new(), NO_SUCH_USER.into()),
                }
            }
        }
    }

    fn page(&mut self, query: &str, page_users: usize) -> (u16, String, String) {
        let parameter = |name: &str| {
            let mut all = query.split('&').filter_map(|pair| pair.split_once('='));
            all.find(|(found, _)| *found == name)
                .map(|(_, value)| value.to_owned())
        };
        let mut headers = String::new();
        match self.troubles.pop_front() {
            Some(Trouble::Status(status)) => return (status, headers, "no page".into()),
            Some(Trouble::RetryAfter(status, seconds)) => {
                return (status, format!("retry-after: {seconds}\r\n"), "{}".into());
            }
            Some(Trouble::RetryAfterDate) => {
                let (date, later) = (
                    "Sun, 06 Nov 1994 08:49:37 GMT",
                    "Sun, 06 Nov 1994 08:49:39 GMT",
                );
                return (
                    429,
                    format!("date: {date}\r\nretry-after: {later}\r\n"),
                    "{}".into(),
                );
            }
            Some(Trouble::Cut) => headers = "x-cut: yes\r\n".into(),
            None => {}
        }
        // As Clerk's documents say: a cursor in this order alone, and 500 users at most.
        assert_eq!(
            parameter("order_by").as_deref(),
            Some("%2Bcreated_at"),
            "{query}"
        );
        assert!(parameter("offset").is_none(), "{query}");
        let limit: usize = parameter("limit").unwrap().parse().unwrap();
        assert!((1..=500).contains(&limit), "{query}");
        let page = self.pages;
        self.pages += usize::from(headers.is_empty());
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.events)
            .into_iter()
            .partition(|(at, _)| *at <= page);
        self.events = later;
        due.into_iter()
            .for_each(|(_, event)| event(&mut self.accounts));
        let accounts = &self.accounts.0;
        let after = match parameter("starting_after").filter(|_| !self.ignores_cursors) {
            None => 0,
            Some(id) => match accounts.iter().position(|account| account.id == id) {
                Some(place) => place + 1,
                None => return (404, headers, NO_SUCH_USER.into()),
            },
        };
        let listed = accounts[after..].iter().filter(|account| account.is_listed);
        let texts: Vec<_> = listed
            .take(limit.min(page_users))
            .map(|account| account.text.as_str())
            .collect();
        (200, headers, format!("[{}]", texts.join(",")))
    }
}
