//! The host's end: a job log, a queue and a registry that are at the service.
//!
//! # Retries
//! A call whose connection is lost, or whose answer does not come, is made again, until
//! [`Options::silence`] has passed since the call began. Every call can be repeated: what the first try
//! has done is told from what somebody else has done by the owner, or by the bytes.
//!
//! # Waiting
//! Without a connection a call waits for one as long. Signs of life and progress do not: they have one
//! try and a short limit ([`Options::brief`]), and the next one makes up for them.

mod log;
mod once;
mod registry;
mod reports;

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tresor_channel::{Connection, ErrorKind as LinkKind};

pub use log::RemoteLog;
pub use registry::{RemoteRegistry, Vaults};
pub use reports::Reports;

use crate::wire::PLACE;
use once::{Answered, Asked, Trouble};

/// The connection to the service as it is now; `None` while there is none. Whoever keeps it sends the
/// next one when one has ended.
pub type Connections = watch::Receiver<Option<Connection>>;

/// How long the host waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// From the beginning of a call to its success, whatever happens to connections. As long as an owner
    /// may be silent before it counts as dead (`tresor_jobs::Owner::liveness`).
    pub silence: Duration,
    /// For an answer, with its body.
    pub answer: Duration,
    /// For the answer to a sign of life.
    pub brief: Duration,
    /// Before a call that was not answered is made again on the same connection.
    pub pause: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(300),
            answer: Duration::from_secs(30),
            brief: Duration::from_secs(5),
            pause: Duration::from_millis(200),
        }
    }
}

/// Makes calls. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    connections: Connections,
    options: Options,
}

/// An answer, and whether the call was made before: then an earlier try may have done it.
pub(crate) struct Reached {
    pub(crate) answered: Answered,
    pub(crate) again: bool,
}

impl Caller {
    pub(crate) const fn new(connections: Connections, options: Options) -> Self {
        Self {
            connections,
            options,
        }
    }

    /// Calls until there is an answer, or the time is over.
    pub(crate) async fn call(&self, asked: &Asked) -> Result<Reached, Trouble> {
        let limit = Instant::now() + self.options.silence;
        let mut connections = self.connections.clone();
        let mut trouble = Trouble::Away;
        let mut again = false;
        loop {
            let Some(connection) = next(&mut connections, limit).await else {
                return Err(trouble);
            };
            let answer = Instant::now() + self.options.answer;
            trouble = match asked.once(&connection, answer.min(limit)).await {
                Ok(answered) => return Ok(Reached { answered, again }),
                Err(Trouble::Answer(why)) => return Err(Trouble::Answer(why)),
                Err(trouble) => trouble,
            };
            again = true;
            let changed = async {
                match &trouble {
                    Trouble::Link(error) if error.kind() != LinkKind::Cancelled => {
                        connections.changed().await.is_ok()
                    }
                    _ => {
                        sleep(self.options.pause).await;
                        true
                    }
                }
            };
            if !matches!(timeout_at(limit, changed).await, Ok(true)) {
                return Err(trouble);
            }
        }
    }

    /// Calls once, on the connection that there is, and does not wait for long.
    pub(crate) async fn call_briefly(&self, asked: &Asked) -> Result<Answered, Trouble> {
        let connection = self.connections.borrow().clone();
        let connection = connection.ok_or(Trouble::Away)?;
        let limit = Instant::now() + self.options.brief;
        asked.once(&connection, limit).await
    }
}

/// A connection; none when the time is over, or nobody will connect any more.
async fn next(connections: &mut Connections, limit: Instant) -> Option<Connection> {
    let found = timeout_at(limit, connections.wait_for(Option::is_some)).await;
    found.ok()?.ok()?.clone()
}
