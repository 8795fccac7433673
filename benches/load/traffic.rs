//! The load: HTTP over connections that stay open, as fast as it is answered or at a fixed rate.
//!
//! At a fixed rate the load is open: each delivery is due at a time that no slow answer moves, and
//! everything counts from then, so a server that stands still for a second is charged for all that
//! came due in it (Tene's "coordinated omission"). The client is written by hand on TCP, since it
//! shares the processor with what it measures. It has a thread of its own, and the same one is used
//! for every server.

use std::cell::{Cell, RefCell};
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::LocalSet;

use crate::crowd::{Crowd, Next};

/// What to send where.
#[derive(Clone)]
pub struct Load {
    pub crowd: Arc<Crowd>,
    pub address: SocketAddr,
    pub path: &'static str,
    pub connections: usize,
    pub pace: Pace,
    pub keep: Keep,
}

#[derive(Clone, Copy)]
pub enum Pace {
    /// One delivery after the other on each connection.
    Closed { lasts: Duration },
    /// So many per second, with any status.
    Open { rate: f64, lasts: Duration },
}

/// Which deliveries are noted one by one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Nothing,
    Events,
    /// One in so many is about a user of its own, whose row no other event touches; those.
    Markers(u64),
}

/// A delivery that was taken.
pub struct Sent {
    /// The event, or the user of a marker.
    pub id: String,
    pub due: Instant,
}

/// The result of a load.
pub struct Tally {
    /// From due to answered, in microseconds.
    pub answers: Histogram<u64>,
    pub accepted: u64,
    /// Answered otherwise, or not at all.
    pub refused: u64,
    pub sent: Vec<Sent>,
    pub took: Duration,
}

impl Tally {
    pub fn rate(&self) -> f64 {
        self.accepted as f64 / self.took.as_secs_f64()
    }

    pub fn answer_ms(&self, percentile: f64) -> f64 {
        self.answers.value_at_quantile(percentile / 100.0) as f64 / 1000.0
    }
}

/// For times in microseconds, up to ten minutes: what takes longer counts as that.
pub fn micros() -> Histogram<u64> {
    Histogram::new_with_max(600_000_000, 3)
        .expect("three digits and ten minutes are within its bounds")
}

/// Longest wait for what is still unanswered at the end.
const ANSWERS_TIMEOUT: Duration = Duration::from_secs(30);

/// Shortest nap of the clock that says what is due: at high rates several deliveries are due at
/// once, which is cheaper to say and still counted from the exact time.
const NAP_MIN: Duration = Duration::from_micros(150);

impl Load {
    /// Sends, on a thread of its own, until the time is over and everything is answered.
    pub async fn run(self) -> anyhow::Result<Tally> {
        let (sender, tally) = oneshot::channel();
        std::thread::Builder::new()
            .name("load".into())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                let tally = runtime
                    .context("no runtime for the load")
                    .and_then(|runtime| {
                        let local = LocalSet::new();
                        local.block_on(&runtime, async {
                            Box::pin(self.send())
                                .await
                                .context("the load cannot be sent")
                        })
                    });
                drop(sender.send(tally));
            })?;
        tally.await.context("the load ended early")?
    }

    async fn send(self) -> std::io::Result<Tally> {
        let mut connections = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            connections.push(Connection::to(self.address).await?);
        }
        let tally = Rc::new(RefCell::new(Tally {
            answers: micros(),
            accepted: 0,
            refused: 0,
            sent: Vec::new(),
            took: Duration::ZERO,
        }));
        let start = Instant::now();
        let turns = Rc::new(Turns::of(self.pace, start));
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\nuser-agent: Svix-Webhooks/1.80\r\n",
            self.path, self.address
        );
        let sender = Rc::new(Sender {
            crowd: self.crowd,
            address: self.address,
            keep: self.keep,
            head,
            turns,
            begun: Cell::new(0),
            tally: tally.clone(),
        });
        let mut tasks = tokio::task::JoinSet::new();
        for connection in connections {
            tasks.spawn_local(Rc::clone(&sender).send_in_turn(connection));
        }
        let lasts = match self.pace {
            Pace::Closed { lasts } | Pace::Open { lasts, .. } => lasts,
        };
        let answered = tokio::time::timeout(lasts + ANSWERS_TIMEOUT, async {
            while tasks.join_next().await.is_some() {}
        });
        let in_time = answered.await.is_ok();
        drop((tasks, sender));
        let mut tally = Rc::into_inner(tally)
            .ok_or_else(|| Error::other("a delivery is not answered"))?
            .into_inner();
        tally.took = start.elapsed();
        tally.refused += u64::from(!in_time);
        Ok(tally)
    }
}

/// Says who sends when.
enum Turns {
    Until(Instant),
    Due(Mutex<mpsc::UnboundedReceiver<Instant>>),
}

impl Turns {
    fn of(pace: Pace, start: Instant) -> Self {
        match pace {
            Pace::Closed { lasts } => Self::Until(start + lasts),
            Pace::Open { rate, lasts } => {
                let (say, due) = mpsc::unbounded_channel();
                std::thread::spawn(move || keep_pace(rate, lasts, start, &say));
                Self::Due(Mutex::new(due))
            }
        }
    }

    /// The time from which the next delivery counts; nothing when there is none.
    async fn next(&self) -> Option<Instant> {
        match self {
            Self::Until(end) => Some(Instant::now()).filter(|now| now < end),
            Self::Due(due) => due.lock().await.recv().await,
        }
    }
}

fn keep_pace(rate: f64, lasts: Duration, start: Instant, say: &mpsc::UnboundedSender<Instant>) {
    let count = (rate * lasts.as_secs_f64()) as u64;
    for number in 0..count {
        let due = start + Duration::from_secs_f64(number as f64 / rate);
        let early = due.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            std::thread::sleep(early.max(NAP_MIN));
        }
        if say.send(due).is_err() {
            return;
        }
    }
}

struct Sender {
    crowd: Arc<Crowd>,
    address: SocketAddr,
    keep: Keep,
    head: String,
    turns: Rc<Turns>,
    /// Deliveries that were begun, over all connections.
    begun: Cell<u64>,
    tally: Rc<RefCell<Tally>>,
}

impl Sender {
    async fn send_in_turn(self: Rc<Self>, mut connection: Connection) {
        let (mut body, mut request) = (Vec::new(), Vec::new());
        while let Some(due) = self.turns.next().await {
            let number = self.begun.get() + 1;
            self.begun.set(number);
            let alone = matches!(self.keep, Keep::Markers(every) if number.is_multiple_of(every));
            let next = self
                .crowd
                .deliver(alone, &self.head, &mut body, &mut request);
            let status = connection.exchange(&request).await;
            self.note(&status, due, alone, next);
            if status.is_err() {
                let Ok(another) = Connection::to(self.address).await else {
                    return;
                };
                connection = another;
            }
        }
    }

    fn note(&self, status: &std::io::Result<u16>, due: Instant, alone: bool, next: Next) {
        let mut tally = self.tally.borrow_mut();
        tally
            .answers
            .saturating_record(u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX));
        if !matches!(status, Ok(200)) {
            tally.refused += 1;
            return;
        }
        tally.accepted += 1;
        if self.keep == Keep::Events {
            tally.sent.push(Sent {
                id: next.id.as_str().into(),
                due,
            });
        } else if alone {
            tally.sent.push(Sent { id: next.user, due });
        }
    }
}

/// One connection that stays open.
struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    async fn to(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            answer: Vec::with_capacity(4096),
        })
    }

    /// The status of the answer, which is read to its end.
    async fn exchange(&mut self, request: &[u8]) -> std::io::Result<u16> {
        self.stream.write_all(request).await?;
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if let Some(status) = whole(&self.answer)? {
                return Ok(status);
            }
        }
    }
}

/// The status, once the answer is there with all of its body.
fn whole(answer: &[u8]) -> std::io::Result<Option<u16>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let invalid = || Error::from(ErrorKind::InvalidData);
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| invalid())?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok())
        .ok_or_else(invalid)?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length
        .and_then(|(_, value)| value.trim().parse().ok())
        .ok_or_else(invalid)?;
    Ok((answer.len() >= end + 4 + length).then_some(status))
}

/// The status of a GET, where there is an answer.
pub async fn get(address: SocketAddr, path: &str) -> Option<u16> {
    let mut connection = Connection::to(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    connection.exchange(request.as_bytes()).await.ok()
}
