//! The service's one port: TLS for everybody, then what the handshake asked for: the API, or a host's link.
//!
//! # Invariants
//! - Nothing is read from a connection before its handshake is done, and a handshake has a time limit.
//! - Connections are bounded: in all, and so that one address cannot have them all. Who comes beyond that is
//!   closed at once.
//! - A connection that fails harms no other, and is told at the level of debugging only: whoever can reach the
//!   port could fill the log otherwise.
//!
//! # Stopping
//! Nothing new is accepted; requests that are being answered have a few seconds, endless ones (events) end.

mod connection;
mod links;
mod places;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use rustls::ServerConfig;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub use links::{HostStream, Links};
pub use places::Limits;
use places::Places;

/// How long what is being answered may take when the service stops.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// The pause after a failure to accept, as when there are no more file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// The port, bound and not served yet.
pub struct Front {
    listener: TcpListener,
    tls: TlsAcceptor,
    router: Router,
    links: Arc<dyn Links>,
    limits: Limits,
}

impl Front {
    /// Binds an address. `config` is [`tresor_identity::server_config`]'s, `router` the API, `links` what
    /// hosts get.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(
        address: SocketAddr,
        config: ServerConfig,
        router: Router,
        links: Arc<dyn Links>,
        limits: Limits,
    ) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(address).await?,
            tls: TlsAcceptor::from(Arc::new(config)),
            router,
            links,
            limits,
        })
    }

    /// Where it listens: with the port that the system chose, if it was 0.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until it is told to stop.
    pub async fn serve(self, stop: CancellationToken) {
        let places = Places::new(self.limits);
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            while connections.try_join_next().is_some() {}
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let Some(place) = places.take(peer.ip()) else {
                tracing::debug!(%peer, "there are too many connections");
                continue;
            };
            let (tls, router) = (self.tls.clone(), self.router.clone());
            let (links, stop) = (Arc::clone(&self.links), stop.clone());
            connections.spawn(async move {
                if let Err(error) = connection::serve(stream, &tls, router, &*links, &stop).await {
                    tracing::debug!(%peer, %error, "a connection failed");
                }
                drop(place);
            });
        }
        let ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WORDS, ended).await.is_err() {
            connections.shutdown().await;
        }
    }
}
