//! What hosts get that come to the port.

use async_trait::async_trait;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tresor_identity::HostPeer;

/// A host's connection, after its handshake.
pub type HostStream = TlsStream<TcpStream>;

/// Serves hosts.
#[async_trait]
pub trait Links: Send + Sync {
    /// A host with a good certificate: whether it is welcome still has to be asked. Serves it until it
    /// leaves, or in good order until `stop` says so.
    async fn link(&self, stream: HostStream, host: HostPeer, stop: CancellationToken);

    /// Somebody who wants to become a host, and has shown nothing yet.
    async fn enrol(&self, stream: HostStream, stop: CancellationToken);
}
