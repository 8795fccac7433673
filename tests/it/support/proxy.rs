//! A TCP proxy before a server: the wire can be cut, stalled and restored, and connections can go
//! dead.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub struct Proxy {
    pub address: SocketAddr,
    wire: Wire,
}

/// What happens to the bytes, for every connection.
#[derive(Clone)]
struct Wire {
    state: watch::Sender<State>,
    /// Sends when the connections that there are go dead.
    dead: watch::Sender<()>,
    /// How many answers are still to be cut in the middle.
    cuts: Arc<AtomicUsize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    /// There is no wire.
    Cut,
    /// Connections stay open, and what is sent waits.
    Stalled,
}

impl Proxy {
    /// Passes everything on to `server`.
    pub async fn before(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let wire = Wire {
            state: watch::Sender::new(State::Whole),
            dead: watch::Sender::new(()),
            cuts: Arc::default(),
        };
        let passing = wire.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A connection that is dropped at once is what a client of a server that is away
                // meets.
                if *passing.state.borrow() != State::Cut {
                    tokio::spawn(passing.clone().pass(client, server.clone()));
                }
            }
        });
        Self { address, wire }
    }

    /// Ends every connection, in the middle of whatever it carries, and takes no new one.
    pub fn cut(&self) {
        self.wire.state.send_replace(State::Cut);
    }

    /// What is sent from now on waits, in both directions, on open connections.
    pub fn stall(&self) {
        self.wire.state.send_replace(State::Stalled);
    }

    pub fn restore(&self) {
        self.wire.state.send_replace(State::Whole);
    }

    /// The next pieces that the server sends are cut in the middle, and their connections with
    /// them: the request took effect, and its answer is lost.
    pub fn cut_next_answers(&self, count: usize) {
        self.wire.cuts.store(count, Ordering::SeqCst);
    }

    /// How many answers are still to be cut.
    pub fn cuts_left(&self) -> usize {
        self.wire.cuts.load(Ordering::SeqCst)
    }

    /// Every connection that there is goes dead, as when a machine loses power: it stays open, and
    /// nothing passes any more. New ones work.
    pub fn go_dead(&self) {
        self.wire.dead.send_replace(());
    }
}

impl Wire {
    async fn pass(self, mut client: TcpStream, server: String) {
        let (mut state, mut dead) = (self.state.subscribe(), self.dead.subscribe());
        let Ok(mut server) = TcpStream::connect(server).await else {
            return;
        };
        // Small pieces must not wait for each other.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let died = tokio::select! {
            () = self.carry(&mut from_client, &mut to_server, None) => false,
            () = self.carry(&mut from_server, &mut to_client, Some(&self.cuts)) => false,
            _ = state.wait_for(|state| *state == State::Cut) => false,
            Ok(()) = dead.changed() => true,
        };
        if died {
            // Both ends stay open, and are not read.
            std::future::pending::<()>().await;
        }
    }

    /// Carries bytes one way until an end closes, or a piece is cut.
    async fn carry(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        cuts: Option<&AtomicUsize>,
    ) {
        let mut state = self.state.subscribe();
        let mut piece = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            if state
                .wait_for(|state| *state != State::Stalled)
                .await
                .is_err()
            {
                return;
            }
            let cut = cuts.is_some_and(|cuts| {
                cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    left.checked_sub(1)
                })
                .is_ok()
            });
            let passed = if cut { length / 2 } else { length };
            if to.write_all(&piece[..passed]).await.is_err() || cut {
                return;
            }
        }
    }
}
