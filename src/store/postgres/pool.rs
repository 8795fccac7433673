//! Connections that are kept open between questions.
//!
//! sqlx's own pool asks a connection whether it lives each time it is taken and each time it is handed back: two more round
//! trips for every write, which is one. Here a connection is asked when it has been idle for a while; one that broke since is
//! found by the write itself, which is made again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{Connection, Error, PgConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::connection::{ACQUIRE_TIMEOUT, Server};
use super::session::{Begun, Settings};
use super::statements::Statements;

/// Idle for longer, a connection is asked whether it lives before it is lent: a firewall or a proxy may have dropped it.
const ASK_AFTER: Duration = Duration::from_secs(1);

/// How long it may take to say so.
const LIVES_WITHIN: Duration = Duration::from_secs(1);

/// Idle for longer, or older than this, it is closed: nothing that a session gathers is kept for ever, and a name that leads
/// to another server is looked up again.
const IDLE_MAX: Duration = Duration::from_secs(10 * 60);
const AGE_MAX: Duration = Duration::from_secs(30 * 60);

/// At most so many connections to one server. Clones share them.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    server: Server,
    /// What a new session begins with.
    settings: Settings,
    statements: Arc<Statements>,
    room: Arc<Semaphore>,
    /// The one used last is at the end, and is lent first: the others grow old.
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    session: Session,
    since: Instant,
}

struct Session {
    begun: Begun,
    made: Instant,
}

/// A connection on loan: thrown away unless it is handed back in order.
pub struct Lent {
    session: Session,
    shared: Arc<Shared>,
    _room: OwnedSemaphorePermit,
}

impl Pool {
    /// Connects to nothing yet.
    pub fn new(server: Server, settings: Settings, statements: Arc<Statements>, size: u32) -> Self {
        let room = Arc::new(Semaphore::new(
            usize::try_from(size).unwrap_or(Semaphore::MAX_PERMITS),
        ));
        Self(Arc::new(Shared {
            server,
            settings,
            statements,
            room,
            idle: Mutex::default(),
        }))
    }

    /// The statements for its connections.
    pub fn sql(&self) -> &Statements {
        &self.0.statements
    }

    /// One that is open, or a new one. Takes 5 s at most, as long as all are lent or the server does not answer.
    pub async fn lend(&self) -> Result<Lent, Error> {
        let lend = async {
            let room = Arc::clone(&self.0.room)
                .acquire_owned()
                .await
                .map_err(|_| Error::PoolClosed)?;
            let session = match self.open().await {
                Some(session) => session,
                None => self.connect().await?,
            };
            Ok(Lent {
                session,
                shared: Arc::clone(&self.0),
                _room: room,
            })
        };
        timeout(ACQUIRE_TIMEOUT, lend)
            .await
            .unwrap_or(Err(Error::PoolTimedOut))
    }

    /// One that is open and lives.
    async fn open(&self) -> Option<Session> {
        loop {
            let Idle { mut session, since } = self.0.idle().pop()?;
            let idle = since.elapsed();
            if idle > IDLE_MAX || session.made.elapsed() > AGE_MAX {
                continue;
            }
            if idle <= ASK_AFTER {
                return Some(session);
            }
            match timeout(LIVES_WITHIN, session.begun.is_as_begun()).await {
                Ok(Ok(true)) => return Some(session),
                Ok(Ok(false)) => {
                    self.0.server.suspect_pooler();
                    self.forget();
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }

    async fn connect(&self) -> Result<Session, Error> {
        let begun = self.0.server.connect(self.0.settings).await?;
        Ok(Session {
            begun,
            made: Instant::now(),
        })
    }

    /// Throws away all that are open and not lent: what broke one has broken them too.
    pub fn forget(&self) {
        self.0.idle().clear();
    }

    /// The same, and what is known of the way to the server: a pooler has shown itself.
    pub fn forget_server(&self) {
        self.forget();
        self.0.server.forget_pooling();
    }

    /// Closes all that are not lent, in good order; none is lent after it.
    pub async fn close(&self) {
        self.0.room.close();
        let idle = std::mem::take(&mut *self.0.idle());
        for Idle { session, .. } in idle {
            // One that is already gone changes nothing.
            drop(timeout(LIVES_WITHIN, session.begun.connection.close()).await);
        }
    }
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        // No code that holds the lock can leave the list half changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent {
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.session.begun.connection
    }

    /// The question was answered in full.
    pub fn hand_back(self) {
        if !self.shared.room.is_closed() {
            self.shared.idle().push(Idle {
                session: self.session,
                since: Instant::now(),
            });
        }
    }
}
