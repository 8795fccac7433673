//! A TCP proxy before a server: the wire can be cut and restored.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub struct Proxy {
    pub address: SocketAddr,
    /// Whether the wire is whole.
    whole: watch::Sender<bool>,
}

impl Proxy {
    /// Passes everything on to `server`.
    pub async fn before(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let whole = watch::Sender::new(true);
        let state = whole.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A connection that is dropped at once is what a client of a server that is away meets.
                if *state.borrow() {
                    tokio::spawn(pass(client, server.clone(), state.clone()));
                }
            }
        });
        Self { address, whole }
    }

    /// Ends every connection, in the middle of whatever it carries, and takes no new one.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub fn restore(&self) {
        self.whole.send_replace(true);
    }
}

async fn pass(mut client: TcpStream, server: String, mut whole: watch::Receiver<bool>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        _ = whole.wait_for(|whole| !whole) => {}
    }
}
