//! The connection that is kept: made again when it ends, and with a new certificate before the old one ends.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tresor_channel::{Connection, Notice, codes};
use tresor_host_link::wire::problem_of;
use tresor_identity::{HostIdentity, PendingHost, SystemClock, client_config};
use tresor_problem::{Kind, Problem};

use super::{Address, dial};
use crate::wire;

/// How often the connection and the certificate are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// For the answer to a renewal, and before the next try of one.
const RENEWAL: Duration = Duration::from_secs(60);
/// A connection that lived as long was a good one: the next one is tried at once.
const GOOD: Duration = Duration::from_secs(60);

/// How long a host waits before it dials again: longer from time to time.
#[derive(Debug, Clone, Copy)]
pub struct Pause {
    /// At first.
    pub first: Duration,
    /// At most.
    pub longest: Duration,
}

impl Default for Pause {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(30),
        }
    }
}

/// Keeps a host's connection.
pub struct Uplink {
    address: Address,
    identity: Arc<HostIdentity>,
    pause: Pause,
    sender: watch::Sender<Option<Connection>>,
}

/// Why a connection is not the one any more.
enum Left {
    /// It ended, or the service said goodbye: why, if it is for whoever runs the host.
    Ended(Option<Problem>),
    /// There is a new certificate: the next connection shows it.
    Renewed,
    Stopped,
}

impl Uplink {
    /// An uplink that has not begun.
    #[must_use]
    pub fn new(address: Address, identity: Arc<HostIdentity>, pause: Pause) -> Self {
        let sender = watch::Sender::new(None);
        Self {
            address,
            identity,
            pause,
            sender,
        }
    }

    /// The connection as it is at any time.
    #[must_use]
    pub fn connections(&self) -> watch::Receiver<Option<Connection>> {
        self.sender.subscribe()
    }

    /// Keeps the connection until it is told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut pause = self.pause.first;
        let mut told = String::new();
        while !stop.is_cancelled() {
            let begun = tokio::time::Instant::now();
            let problem = match self.one(&stop, &mut told).await {
                Ok(Left::Stopped) => return,
                Ok(Left::Renewed) => continue,
                Ok(Left::Ended(problem)) => problem,
                Err(problem) => Some(problem),
            };
            if let Some(problem) = problem {
                // Said once, not every half minute of a night.
                if told != problem.cause {
                    tracing::warn!(%problem, "there is no connection to the service");
                    told = problem.cause;
                }
            }
            pause = match begun.elapsed() > GOOD {
                true => self.pause.first,
                false => pause,
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(pause) => {}
            }
            pause = (pause * 2).min(self.pause.longest);
        }
    }

    /// One connection, from its beginning to its end. The one before may still be there, for what was under
    /// way on it.
    async fn one(&self, stop: &CancellationToken, told: &mut String) -> Result<Left, Problem> {
        let config = client_config(Arc::clone(&self.identity), Arc::new(SystemClock));
        let config = config.map_err(|error| Problem::from(&error))?;
        let dialed = dial::dial(&self.address, config, Some(self.identity.id()));
        let connection = tokio::select! {
            dialed = dialed => dialed?,
            () = stop.cancelled() => return Ok(Left::Stopped),
        };
        let left = match self.turned_away(&connection) {
            Some(problem) => Left::Ended(Some(problem)),
            None => {
                tracing::info!(server = %self.address, "connected to the service");
                told.clear();
                self.sender.send_replace(Some(connection.clone()));
                self.stay(&connection, stop).await
            }
        };
        match left {
            // Who calls goes on with it until the next one is there.
            Left::Renewed => leave(connection, "with a new certificate"),
            Left::Ended(_) => {
                self.sender.send_replace(None);
                leave(connection, "as asked");
            }
            Left::Stopped => {
                self.sender.send_replace(None);
                let notice = Notice::new(codes::SHUTDOWN, "the host's Tresor ends");
                connection.close(notice).await.ok();
            }
        }
        Ok(left)
    }

    async fn stay(&self, connection: &Connection, stop: &CancellationToken) -> Left {
        let mut renew_at = self.identity.renew_at();
        loop {
            tokio::select! {
                error = connection.ended() => {
                    tracing::info!(%error, "the connection to the service has ended");
                    return Left::Ended(self.turned_away(connection));
                }
                () = stop.cancelled() => return Left::Stopped,
                () = sleep(LOOK_EVERY) => {}
            }
            if connection.farewell().is_some() {
                return Left::Ended(self.turned_away(connection));
            }
            if Timestamp::now() < renew_at {
                continue;
            }
            match self.renew(connection).await {
                Ok(()) => return Left::Renewed,
                Err(problem) => {
                    tracing::warn!(%problem, "the host's certificate could not be renewed yet");
                    renew_at = later(Timestamp::now(), RENEWAL);
                }
            }
        }
    }

    async fn renew(&self, connection: &Connection) -> Result<(), Problem> {
        let pending = PendingHost::generate().map_err(|error| Problem::from(&error))?;
        let asked = wire::Renew {
            request: wire::encode(pending.request()),
        };
        let answered = connection.call_json::<_, wire::Renewed>(wire::RENEW, &asked);
        let answered = timeout(RENEWAL, answered).await.map_err(|_| {
            let (server, reason) = (self.address.to_string(), "it does not answer".to_owned());
            Problem::from(Kind::ServiceUnreachable { server, reason })
        })?;
        let renewed = answered.map_err(|error| match error.failure() {
            Some(failure) => problem_of(failure),
            None => dial::unreachable_because(&self.address, &error),
        })?;
        let kept = self
            .identity
            .renewed(&pending, renewed.certificates.as_bytes());
        kept.map_err(|error| Problem::from(&error))?;
        tracing::info!(until = %self.identity.until(), "the host's certificate was renewed");
        Ok(())
    }

    /// Whether the service wants to have nothing to do with this host.
    fn turned_away(&self, connection: &Connection) -> Option<Problem> {
        let notice = connection.farewell()?;
        (notice.code == codes::DISMISSED).then(|| {
            let (host, reason) = (self.identity.id().to_string(), notice.text);
            Kind::HostNotEnrolled { host, reason }.into()
        })
    }
}

/// Lets what is under way end, without anybody waiting for it.
fn leave(connection: Connection, why: &'static str) {
    tokio::spawn(async move {
        let notice = Notice::new(codes::REPLACED, why);
        connection.close(notice).await.ok();
    });
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}
