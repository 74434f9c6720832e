//! One connection to the service.

use std::{io, sync::Arc, time::Duration};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tresor_channel::{Connection, Options, Role};
use tresor_identity::HandshakeError;
use tresor_model::HostId;
use tresor_problem::{Kind, Problem};

use super::Address;

/// For each of: the address, the handshake.
const LIMIT: Duration = Duration::from_secs(15);

/// Dials, and greets.
pub(super) async fn dial(
    address: &Address,
    config: ClientConfig,
    host: Option<HostId>,
) -> Result<Connection, Problem> {
    let stream = secured(address, config, host).await?;
    let options = Options::new(Role::Host, &[Role::Service], env!("CARGO_PKG_VERSION"));
    let opened = Connection::open(stream, options).await;
    opened.map_err(|error| unreachable_because(address, &error))
}

async fn secured(
    address: &Address,
    config: ClientConfig,
    host: Option<HostId>,
) -> Result<TlsStream<TcpStream>, Problem> {
    let failed = |error: &io::Error| unreachable_because(address, error);
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let connected = TcpStream::connect((address.host(), address.port()));
    let connected = timeout(LIMIT, connected).await.map_err(late);
    let stream = connected.flatten().map_err(|error| failed(&error))?;
    stream.set_nodelay(true).map_err(|error| failed(&error))?;
    let name = ServerName::try_from(address.host().to_owned());
    let name = name.map_err(|error| unreachable_because(address, &error))?;
    let secured = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let secured = timeout(LIMIT, secured).await.map_err(late).flatten();
    secured.map_err(|error| HandshakeError::of(&error).client_problem(&address.to_string(), host))
}

/// What cannot be reached, and why.
pub(super) fn unreachable_because(
    address: &Address,
    error: &(dyn std::error::Error + 'static),
) -> Problem {
    let kind = Kind::ServiceUnreachable {
        server: address.to_string(),
        reason: error.to_string(),
    };
    Problem::caused_by(kind, error)
}
