//! Stands between a client and the real RabbitMQ, and breaks the wire: cuts it, holds the broker's
//! answers back, raises an alarm, at once or for who publishes. The broker itself is shared with
//! other tests, so none of this can be done there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;

use super::broker;

/// Where the proxy listens, and the switches of every connection through it.
pub struct Proxy {
    address: SocketAddr,
    wire: Wire,
    accepting: JoinHandle<()>,
}

#[derive(Clone)]
struct Wire {
    /// Connections so far.
    connections: Arc<AtomicUsize>,
    held: watch::Sender<bool>,
    /// Frames of ours, to every client.
    alarms: broadcast::Sender<Vec<u8>>,
    cuts: broadcast::Sender<()>,
    /// What the broker never reads, and the reason of the alarm, if there is one.
    deaf: watch::Sender<Option<([u8; 4], Option<&'static str>)>>,
}

impl Proxy {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let wire = Wire {
            connections: Arc::default(),
            held: watch::Sender::new(false),
            alarms: broadcast::Sender::new(16),
            cuts: broadcast::Sender::new(16),
            deaf: watch::Sender::new(None),
        };
        let accepting = tokio::spawn(accept(listener, wire.clone()));
        Self {
            address,
            wire,
            accepting,
        }
    }

    /// The URL of the broker, through the proxy.
    pub fn url(&self) -> String {
        broker::url().replacen(&broker::authority(), &self.address.to_string(), 1)
    }

    pub fn connections(&self) -> usize {
        self.wire.connections.load(Ordering::SeqCst)
    }

    /// From now on the broker hears the client and the client does not hear the broker.
    pub fn hold(&self) {
        self.wire.held.send_replace(true);
    }

    pub fn release(&self) {
        self.wire.held.send_replace(false);
    }

    /// What the broker sends at a memory alarm: `connection.blocked`.
    pub fn block(&self, reason: &str) {
        self.wire.alarms.send(blocked(reason)).unwrap();
    }

    /// Behaves as a broker with an alarm: it accepts every connection, notifies those that publish,
    /// and reads no more from these.
    pub fn alarm_publishers(&self, reason: &'static str) {
        self.wire
            .deaf
            .send_replace(Some((BASIC_PUBLISH, Some(reason))));
    }

    /// As a broker whose queues have no leader: who takes a message gets no answer, and nothing
    /// after it either.
    pub fn have_no_leader(&self) {
        self.wire.deaf.send_replace(Some((BASIC_GET, None)));
    }

    /// `connection.unblocked`.
    pub fn unblock(&self) {
        self.wire.alarms.send(connection_method(61, &[])).unwrap();
    }

    pub fn cut(&self) {
        self.wire.cuts.send(()).unwrap();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn blocked(reason: &str) -> Vec<u8> {
    let mut arguments = vec![u8::try_from(reason.len()).unwrap()];
    arguments.extend(reason.as_bytes());
    connection_method(60, &arguments)
}

/// A frame with a method of AMQP's class `connection`.
fn connection_method(method: u16, arguments: &[u8]) -> Vec<u8> {
    let mut payload = Vec::from(10u16.to_be_bytes());
    payload.extend(method.to_be_bytes());
    payload.extend(arguments);
    let mut frame = vec![1, 0, 0];
    frame.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend(payload);
    frame.push(0xCE);
    frame
}

async fn accept(listener: TcpListener, wire: Wire) {
    while let Ok((client, _)) = listener.accept().await {
        wire.connections.fetch_add(1, Ordering::SeqCst);
        let wire = wire.clone();
        tokio::spawn(async move {
            let mut cuts = wire.cuts.subscribe();
            let broker = TcpStream::connect(broker::authority()).await.unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_broker, to_broker) = broker.into_split();
            tokio::select! {
                _ = cuts.recv() => {}
                () = copy(from_client, to_broker, &wire) => {}
                () = answer(from_broker, to_client, &wire) => {}
            }
        });
    }
}

/// Class and method, as they stand in a frame.
const BASIC_PUBLISH: [u8; 4] = [0, 60, 0, 40];
const BASIC_GET: [u8; 4] = [0, 60, 0, 70];

/// However it ends, the connection ends.
async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, wire: &Wire) {
    let mut protocol = [0; 8];
    if from.read_exact(&mut protocol).await.is_err() || to.write_all(&protocol).await.is_err() {
        return;
    }
    while let Ok(frame) = read_frame(&mut from).await {
        let deaf = *wire.deaf.borrow();
        // A frame of type 1 holds a method.
        if let Some((method, reason)) = deaf
            && frame[0] == 1
            && frame[7..].starts_with(&method)
        {
            if let Some(reason) = reason {
                wire.alarms.send(blocked(reason)).unwrap();
            }
            std::future::pending::<()>().await;
        }
        if to.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// Forwards the broker's frames whole, so that one of ours never comes in the middle of one.
async fn answer(from: OwnedReadHalf, mut to: OwnedWriteHalf, wire: &Wire) {
    let (frames_in, mut frames) = mpsc::unbounded_channel();
    let reading = async move {
        let mut from = from;
        while let Ok(frame) = read_frame(&mut from).await {
            if frames_in.send(frame).is_err() {
                break;
            }
        }
    };
    let mut alarms = wire.alarms.subscribe();
    let mut held = wire.held.subscribe();
    let writing = async move {
        loop {
            let is_held = *held.borrow_and_update();
            let frame = tokio::select! {
                biased;
                Ok(()) = held.changed() => continue,
                Ok(alarm) = alarms.recv() => alarm,
                frame = frames.recv(), if !is_held => match frame {
                    Some(frame) => frame,
                    None => return,
                },
            };
            if to.write_all(&frame).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(reading, writing);
}

async fn read_frame(from: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    let mut frame = vec![0; 7];
    from.read_exact(&mut frame).await?;
    let size = u32::from_be_bytes([frame[3], frame[4], frame[5], frame[6]]);
    // The last byte ends the frame.
    frame.resize(7 + size as usize + 1, 0);
    from.read_exact(&mut frame[7..]).await?;
    Ok(frame)
}
