//! Two applications that follow the change feed through everything that breaks: one over HTTP with
//! a cursor, one with a queue that is bound to the exchange. What they have seen must be what the
//! table of changes holds, and that must be what the model says of each row.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use clerk_sync::clerk::{ChangeKind, SignedEvent};
use clerk_sync::store::{ChangeCursor, ChangePage, ChangeRow, Store};
use lapin::options::{BasicAckOptions, BasicGetOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{interval, timeout};

use crate::flood::Expected;
use crate::support::app::until;

/// The token of the reader over HTTP.
pub const TOKEN: &str = "a-token-of-the-fault-suite";

/// The queue of the application that listens to the exchange.
const QUEUE: &str = "application";

/// Between two tries at a server that is away, or that has nothing.
const PACE: Duration = Duration::from_millis(20);

/// Longest wait for an answer: a stalled wire never brings it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the API is; none while no worker runs.
pub type Apis = watch::Sender<Vec<String>>;

/// The two applications. They stop when it is dropped.
pub struct Feed {
    seen: Arc<Seen>,
    tasks: Vec<AbortHandle>,
}

#[derive(Default)]
struct Seen {
    /// What the reader over HTTP has got, in its order.
    read: Mutex<Vec<Value>>,
    /// Why its place was refused.
    refused: Mutex<Vec<String>>,
    /// What the listener has got, repetitions included.
    heard: Mutex<Vec<(String, Value)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

impl Feed {
    /// Follows from the oldest change on. The queue is bound before this returns.
    pub async fn follow(apis: &Apis, broker: String, namespace: &str) -> Self {
        let seen = Arc::<Seen>::default();
        let exchange = format!("{namespace}.changes");
        until("the queue is bound to the exchange", async || {
            bind(&broker, &exchange).await.is_ok()
        })
        .await;
        let reader = tokio::spawn(read(Arc::clone(&seen), apis.subscribe()));
        let listener = tokio::spawn(listen(Arc::clone(&seen), broker));
        Self {
            seen,
            tasks: vec![reader.abort_handle(), listener.abort_handle()],
        }
    }

    /// Waits until both have all that the table holds and every change is published, then compares
    /// them with it, and it with the model.
    pub async fn check(&self, store: &Store, expected: &Expected) -> Vec<String> {
        until("every change is published", async || {
            let state = store.change_feed_state().await;
            state.is_ok_and(|state| state.oldest_unpublished_at.is_none())
        })
        .await;
        let table = recorded(store).await;
        let all: HashSet<_> = table.iter().map(message_id).collect();
        until("the reader has read to the end", async || {
            lock(&self.seen.read).len() >= table.len() || !lock(&self.seen.refused).is_empty()
        })
        .await;
        until("the listener has heard everything", async || {
            let heard = lock(&self.seen.heard);
            let heard: HashSet<_> = heard.iter().map(|(id, _)| id.as_str()).collect();
            all.iter().all(|id| heard.contains(id.as_str()))
        })
        .await;
        let mut words = lock(&self.seen.refused).clone();
        words.extend(compare_read(&table, &lock(&self.seen.read)));
        words.extend(compare_heard(&table, &lock(&self.seen.heard)));
        words.extend(compare_with_model(store, &table, expected).await);
        words
    }

    /// How many messages came more than once.
    pub fn repeated(&self) -> usize {
        let heard = lock(&self.seen.heard);
        let once: HashSet<_> = heard.iter().map(|(id, _)| id.as_str()).collect();
        heard.len() - once.len()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Compares the table of changes with the model, once nothing is written any more.
pub async fn check_table(store: &Store, expected: &Expected) -> Vec<String> {
    compare_with_model(store, &recorded(store).await, expected).await
}

fn message_id(change: &ChangeRow) -> String {
    format!("{}-{}", change.table_name, change.id)
}

/// The whole table, as it is once no transaction runs.
async fn recorded(store: &Store) -> Vec<ChangeRow> {
    let limit = NonZeroU32::new(1000).unwrap();
    let (mut table, mut after): (Vec<ChangeRow>, Option<ChangeCursor>) = (Vec::new(), None);
    loop {
        match store.changes(after, None, limit).await.unwrap() {
            ChangePage::Changes { changes, next, .. } if changes.is_empty() => {
                assert!(after.is_none_or(|after| after.to_string() == next.to_string()));
                return table;
            }
            ChangePage::Changes { changes, next, .. } => {
                table.extend(changes);
                after = Some(next);
            }
            ChangePage::Expired => panic!("changes are missing"),
        }
    }
}

/// The reader has every change once, in the order of the table.
fn compare_read(table: &[ChangeRow], read: &[Value]) -> Vec<String> {
    let expected = table
        .iter()
        .map(|change| serde_json::to_value(change).unwrap());
    let mut words = Vec::new();
    for (place, expected) in expected.enumerate() {
        if read.get(place) != Some(&expected) {
            words.push(format!(
                "the reader's change {place} is {:?}, must be {expected}",
                read.get(place)
            ));
            break;
        }
    }
    if read.len() > table.len() {
        words.push(format!(
            "the reader has {} changes too many",
            read.len() - table.len()
        ));
    }
    words
}

/// The listener has every change, as it is in the table, and for the first time after the earlier
/// ones of its row.
fn compare_heard(table: &[ChangeRow], heard: &[(String, Value)]) -> Vec<String> {
    let mut words = Vec::new();
    let known: HashMap<_, _> = table
        .iter()
        .map(|change| (message_id(change), serde_json::to_value(change).unwrap()))
        .collect();
    let (mut seen, mut last) = (HashSet::new(), HashMap::new());
    for (id, body) in heard {
        if known.get(id) != Some(body) {
            words.push(format!("the listener heard {id} as {body}"));
        }
        if !seen.insert(id) {
            continue;
        }
        let row = (body["table_name"].to_string(), body["clerk_id"].to_string());
        let number = body["id"].as_i64().unwrap();
        if let Some(before) = last.insert(row, number).filter(|before| *before > number) {
            words.push(format!("the listener heard {id} after {before}"));
        }
    }
    for id in known.keys().filter(|id| !seen.contains(id)) {
        words.push(format!("the listener never heard {id}"));
    }
    words
}

/// Each row of the flood has changes, and its last one names the event that altered it last.
async fn compare_with_model(
    store: &Store,
    table: &[ChangeRow],
    expected: &Expected,
) -> Vec<String> {
    let events: HashMap<&str, &SignedEvent> = expected
        .events
        .iter()
        .map(|event| (event.id().as_str(), event))
        .collect();
    let mut of_row: BTreeMap<&str, Vec<&ChangeRow>> = BTreeMap::new();
    for change in table {
        of_row.entry(&change.clerk_id).or_default().push(change);
    }
    let mut words = Vec::new();
    for (id, model) in &expected.rows {
        let row = store.row(model.table, id).await.unwrap();
        let changes = of_row.remove(id.as_str()).unwrap_or_default();
        let ([first, ..], [.., last], Some(row)) = (&*changes, &*changes, row) else {
            words.push(format!("{id} has no row or no change"));
            continue;
        };
        if first.change == ChangeKind::Updated {
            words.push(format!("the first change of {id} is {first:?}"));
        }
        if changes[1..]
            .iter()
            .any(|change| change.change == ChangeKind::Created)
        {
            words.push(format!("{id} was created twice: {changes:?}"));
        }
        let event = last.event_id.as_deref();
        let is_last = match last.change {
            ChangeKind::Deleted => event
                .and_then(|event| events.get(event))
                .and_then(|event| event.parse().unwrap().change.deleted_at)
                .is_some_and(|deleted_at| model.deleted_at == Some(deleted_at)),
            _ => event == row.event_id.as_deref(),
        };
        if !is_last {
            words.push(format!(
                "the last change of {id} is {last:?}, its row is of {:?}, deleted at {:?}",
                row.event_id, model.deleted_at
            ));
        }
        let deletes = changes
            .iter()
            .any(|change| change.change == ChangeKind::Deleted);
        if deletes != model.deleted_at.is_some() {
            words.push(format!(
                "{id} is deleted at {:?}: {changes:?}",
                model.deleted_at
            ));
        }
    }
    words
}

/// Follows the API with a cursor that it keeps once it has the answer.
async fn read(seen: Arc<Seen>, apis: watch::Receiver<Vec<String>>) {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(ANSWER_TIMEOUT)
        .build()
        .unwrap();
    let (mut after, mut turn, mut pace) = (None::<String>, 0, interval(PACE));
    loop {
        let url = {
            let apis = apis.borrow();
            turn += 1;
            apis.get(turn % apis.len().max(1)).cloned()
        };
        let Some(url) = url else {
            pace.tick().await;
            continue;
        };
        let place = after
            .as_ref()
            .map_or(String::new(), |after| format!("&after={after}"));
        let url = format!("{url}/api/changes?wait=1&limit=100{place}");
        let answer = client.get(url).bearer_auth(TOKEN).send().await;
        let Ok(answer) = answer else {
            pace.tick().await;
            continue;
        };
        let status = answer.status();
        if status.is_client_error() && status.as_u16() != 429 {
            let text = answer.text().await.unwrap_or_default();
            lock(&seen.refused).push(format!("the reader was answered {status}: {text}"));
            return;
        }
        match answer.json::<Value>().await {
            Ok(mut page) if status.is_success() => {
                let Value::Array(changes) = page["data"].take() else {
                    panic!("no list of changes: {page}")
                };
                after = Some(page["next"].as_str().unwrap().to_owned());
                lock(&seen.read).extend(changes);
            }
            _ => {
                pace.tick().await;
            }
        }
    }
}

/// Declares the queue, and binds it for every change.
async fn bind(broker: &str, exchange: &str) -> Result<(), lapin::Error> {
    let connection = Connection::connect(broker, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let mut arguments = FieldTable::default();
    let quorum = AMQPValue::LongString("quorum".into());
    arguments.insert("x-queue-type".into(), quorum);
    channel
        .queue_declare(QUEUE.into(), options, arguments)
        .await?;
    let options = QueueBindOptions { nowait: false };
    channel
        .queue_bind(
            QUEUE.into(),
            exchange.into(),
            "#".into(),
            options,
            FieldTable::default(),
        )
        .await?;
    connection.close(200, "bound".into()).await
}

/// Takes what comes, and connects again after every outage.
async fn listen(seen: Arc<Seen>, broker: String) {
    let mut pace = interval(PACE);
    loop {
        // An error is an outage, and so is silence: what was not acknowledged comes again.
        drop(take(&seen, &broker).await);
        pace.tick().await;
    }
}

async fn take(seen: &Seen, broker: &str) -> anyhow::Result<()> {
    let connection = Connection::connect(broker, ConnectionProperties::default());
    let connection = timeout(ANSWER_TIMEOUT, connection).await??;
    let channel = timeout(ANSWER_TIMEOUT, connection.create_channel()).await??;
    let mut pace = interval(PACE);
    loop {
        let get = channel.basic_get(QUEUE.into(), BasicGetOptions { no_ack: false });
        let Some(message) = timeout(ANSWER_TIMEOUT, get).await?? else {
            pace.tick().await;
            continue;
        };
        let id = message.delivery.properties.message_id().as_ref();
        let id = id.expect("it has an ID").to_string();
        let body = serde_json::from_slice(&message.delivery.data).unwrap();
        lock(&seen.heard).push((id, body));
        let ack = BasicAckOptions { multiple: false };
        timeout(ANSWER_TIMEOUT, message.delivery.acker.ack(ack)).await??;
    }
}
