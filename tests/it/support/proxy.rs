//! A TCP proxy before a server: the wire can be cut and restored, and connections can go dead.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub struct Proxy {
    pub address: SocketAddr,
    /// Whether the wire is whole.
    whole: watch::Sender<bool>,
    /// Sends when the connections that there are go dead.
    dead: watch::Sender<()>,
}

impl Proxy {
    /// Passes everything on to `server`.
    pub async fn before(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let whole = watch::Sender::new(true);
        let state = whole.subscribe();
        let dead = watch::Sender::new(());
        let deaths = dead.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A connection that is dropped at once is what a client of a server that is away meets.
                if *state.borrow() {
                    tokio::spawn(pass(client, server.clone(), state.clone(), deaths.subscribe()));
                }
            }
        });
        Self { address, whole, dead }
    }

    /// Ends every connection, in the middle of whatever it carries, and takes no new one.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub fn restore(&self) {
        self.whole.send_replace(true);
    }

    /// Every connection that there is goes dead, as when a machine loses power: it stays open, and nothing passes any
    /// more. New ones work.
    pub fn go_dead(&self) {
        self.dead.send_replace(());
    }
}

async fn pass(mut client: TcpStream, server: String, mut whole: watch::Receiver<bool>, mut dead: watch::Receiver<()>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let died = tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => false,
        _ = whole.wait_for(|whole| !whole) => false,
        Ok(()) = dead.changed() => true,
    };
    if died {
        // Both ends stay open, and nobody reads them.
        std::future::pending::<()>().await;
    }
}
