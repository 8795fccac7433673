//! Connections that are kept open between queries.
//!
//! sqlx's own pool checks a connection each time it is taken and each time it is returned: two more
//! round trips for every write, which is one. Here a connection is checked when it has been idle
//! for a while; the write itself finds one that broke since, and is made again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{Connection, Error, PgConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::session::{Server, Session, SessionSettings};
use super::statements::Statements;

/// Longest wait for a connection. The caller tries again.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Idle for longer, a connection is checked before it is used: a firewall or a proxy may have
/// dropped it.
const CHECK_AFTER: Duration = Duration::from_secs(1);

/// Longest wait for the answer to the check, and for a connection to close.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// Idle for longer, or older than this, it is closed: nothing that a session gathers is kept for
/// ever, and a name that leads to another server is looked up again.
const IDLE_MAX: Duration = Duration::from_secs(10 * 60);
const AGE_MAX: Duration = Duration::from_secs(30 * 60);

/// A limited number of connections to one server. Clones share them.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    server: Server,
    settings: SessionSettings,
    statements: Arc<Statements>,
    permits: Arc<Semaphore>,
    /// The one used last is at the end and is taken first: the others grow old. Each with the time
    /// of its return.
    idle: Mutex<Vec<(Session, Instant)>>,
}

/// A connection in use: dropped unless it is released.
pub struct PooledConnection {
    session: Session,
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    /// Makes a pool. Connects to nothing yet.
    pub fn new(
        server: Server,
        settings: SessionSettings,
        statements: Arc<Statements>,
        size: u32,
    ) -> Self {
        let size = usize::try_from(size).unwrap_or(Semaphore::MAX_PERMITS);
        Self(Arc::new(Shared {
            server,
            settings,
            statements,
            permits: Arc::new(Semaphore::new(size)),
            idle: Mutex::default(),
        }))
    }

    /// The statements for its connections.
    pub fn sql(&self) -> &Statements {
        &self.0.statements
    }

    /// Takes an open connection, or opens a new one.
    ///
    /// # Errors
    /// Fails after 5 s if all are in use or the server does not answer, and if it refuses the
    /// session.
    pub async fn acquire(&self) -> Result<PooledConnection, Error> {
        let acquire = async {
            let permit = Arc::clone(&self.0.permits).acquire_owned().await;
            let permit = permit.map_err(|_| Error::PoolClosed)?;
            let session = match self.take_idle().await {
                Some(session) => session,
                None => self.0.server.connect(self.0.settings).await?,
            };
            Ok(PooledConnection {
                session,
                shared: Arc::clone(&self.0),
                _permit: permit,
            })
        };
        timeout(ACQUIRE_TIMEOUT, acquire)
            .await
            .unwrap_or(Err(Error::PoolTimedOut))
    }

    /// An open connection that works; `None` if there is none.
    async fn take_idle(&self) -> Option<Session> {
        loop {
            let (mut session, since) = self.0.idle().pop()?;
            let idle = since.elapsed();
            if idle > IDLE_MAX || session.opened_at.elapsed() > AGE_MAX {
                continue;
            }
            if idle <= CHECK_AFTER {
                return Some(session);
            }
            match timeout(CHECK_TIMEOUT, session.is_unchanged()).await {
                Ok(Ok(true)) => return Some(session),
                Ok(Ok(false)) => {
                    self.0.server.note_changed_session();
                    self.drop_idle();
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }

    /// Drops all idle connections: the cause that broke one has broken the others too.
    pub fn drop_idle(&self) {
        self.0.idle().clear();
    }

    /// Drops idle connections, and has the next one detect poolers again: an error showed that
    /// there is one.
    pub fn drop_idle_and_pooling(&self) {
        self.drop_idle();
        self.0.server.forget_pooling();
    }

    /// Closes all that are not in use, in good order; none is given after it.
    pub async fn close(&self) {
        self.0.permits.close();
        let idle = std::mem::take(&mut *self.0.idle());
        for (session, _) in idle {
            // One that is already gone changes nothing.
            drop(timeout(CHECK_TIMEOUT, session.connection.close()).await);
        }
    }
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Vec<(Session, Instant)>> {
        // No code that holds the lock can leave the list half changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PooledConnection {
    /// The connection itself.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.session.connection
    }

    /// Returns it to the pool. To be called once the query was answered in full.
    pub fn release(self) {
        if !self.shared.permits.is_closed() {
            self.shared.idle().push((self.session, Instant::now()));
        }
    }
}
