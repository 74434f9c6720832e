//! The gateway at the host: a backend.
//!
//! # Retries
//! A call whose connection is lost is made again on the next one, which its owner puts in the place of
//! the lost one ([`Connections`]). When none comes in time, the call fails as
//! [`ErrorKind::Unavailable`], as with any store that does not answer.
//!
//! Calls that are made again take turns. On a line that is cut now and then, puts that share it fairly would
//! all be cut before one of them has ended, again and again.

mod calls;
mod once;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tresor_backend::{Error, ErrorKind, Properties};
use tresor_channel::{Connection, ErrorKind as LinkKind};
use tresor_model::VaultId;

use crate::wire;
use once::Trouble;

/// The connection to the service as it is now; `None` while there is none. Whoever keeps it sends the
/// next one when one has ended.
pub type Connections = watch::Receiver<Option<Connection>>;

/// How long the host waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Calls in all, the first included, when connections are lost.
    pub attempts: u32,
    /// For a connection.
    pub connection: Duration,
    /// For an answer, and for each next piece of a body.
    pub answer: Duration,
    /// Before a call that the service dropped is made again on the same connection.
    pub pause: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            attempts: 4,
            connection: Duration::from_secs(30),
            // The first list of a large vault looks into thousands of objects.
            answer: Duration::from_secs(120),
            pause: Duration::from_millis(200),
        }
    }
}

/// A vault behind a gateway. Whatever destroys is refused here already ([`ErrorKind::Refused`]).
#[derive(Debug, Clone)]
pub struct GatewayBackend {
    connections: Connections,
    vault: String,
    id: VaultId,
    properties: Properties,
    largest: u64,
    options: Options,
    /// For calls that are made again.
    turn: Arc<Semaphore>,
}

impl GatewayBackend {
    /// Asks the service for a vault by its name there.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when the host has no such vault; [`ErrorKind::Unfit`] when the service
    /// does not know these calls; [`ErrorKind::Unavailable`].
    pub async fn open(
        connections: Connections,
        vault: &str,
        options: Options,
    ) -> Result<Self, Error> {
        let mut backend = Self {
            connections,
            vault: vault.to_owned(),
            id: VaultId::from_uuid(uuid::Uuid::nil()),
            properties: Properties {
                location: format!("vault {vault} at the service"),
                parallelism: 1,
            },
            largest: wire::OBJECT,
            options,
            turn: Arc::new(Semaphore::new(1)),
        };
        let head = wire::Open {
            vault: vault.to_owned(),
            version: wire::VERSION,
        };
        let opened = backend.ask::<_, wire::Opened>("open", "", &head).await?;
        if opened.version != wire::VERSION {
            return Err(Error::new(ErrorKind::Unfit, "open", vault)
                .because(format!("the service speaks version {}", opened.version)));
        }
        backend.id = opened.id;
        backend.largest = opened.largest;
        backend.properties.parallelism = usize::from(opened.parallelism.clamp(1, 64));
        Ok(backend)
    }

    /// The id of the vault, by the service's word.
    #[must_use]
    pub fn vault_id(&self) -> VaultId {
        self.id
    }

    /// Calls until it succeeds, fails for good, or connections were lost often enough.
    async fn call<T, C>(
        &self,
        operation: &'static str,
        object: &str,
        once: impl Fn(Connection) -> C + Send + Sync,
    ) -> Result<T, Error>
    where
        C: Future<Output = Result<T, Trouble>> + Send,
    {
        let mut connections = self.connections.clone();
        let unavailable = || Error::new(ErrorKind::Unavailable, operation, object);
        let mut attempts = 1;
        let mut turn = None;
        loop {
            let found = connections.wait_for(Option::is_some);
            let found = timeout(self.options.connection, found).await;
            let found = found.map_err(|_| unavailable().because("there is no connection"))?;
            let found = found.map_err(|error| unavailable().because(error))?.clone();
            let connection = found.ok_or_else(unavailable)?;
            let trouble = match once(connection).await {
                Ok(value) => return Ok(value),
                Err(Trouble::Store(kind, why)) => {
                    return Err(Error::new(kind, operation, object).because(why));
                }
                Err(trouble) => trouble,
            };
            if attempts >= self.options.attempts.max(1) {
                return Err(unavailable().because(trouble));
            }
            attempts += 1;
            self.wait_after(&trouble, &mut connections)
                .await
                .map_err(|()| unavailable().because(trouble))?;
            if turn.is_none() {
                turn = self.turn.acquire().await.ok();
            }
        }
    }

    /// Waits until another call makes sense: for the next connection where this one has ended.
    async fn wait_after(&self, trouble: &Trouble, connections: &mut Connections) -> Result<(), ()> {
        let ended = match trouble {
            Trouble::Link(error) => error.kind() != LinkKind::Cancelled,
            Trouble::Late | Trouble::Store(..) => false,
        };
        if !ended {
            tokio::time::sleep(self.options.pause).await;
            return Ok(());
        }
        let changed = timeout(self.options.connection, connections.changed()).await;
        changed.map_err(|_| ())?.map_err(|_| ())
    }
}
