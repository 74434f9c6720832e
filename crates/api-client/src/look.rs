//! Who answers at an address, before anybody trusts it.

use std::{io, sync::Arc, time::Duration};

use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;
use tresor_identity::{Address, Fingerprint, HandshakeError, SystemClock, look_config};
use tresor_problem::Problem;

use crate::SendError;

/// For each of: the address, the handshake.
const LIMIT: Duration = Duration::from_secs(15);

/// The fingerprint of the authority that the server shows. Nothing is sent to it, and nothing is proved: it is
/// for somebody who compares it with the one that the service printed.
///
/// # Errors
/// `ServiceUnreachable`.
pub async fn look(address: &Address) -> Result<Fingerprint, Problem> {
    let server = address.to_string();
    let lost = |error: &io::Error| *SendError::lost(&server, error.to_string()).problem;
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let (config, shown) =
        look_config(Arc::new(SystemClock)).map_err(|error| Problem::from(&error))?;
    let connected = TcpStream::connect((address.host(), address.port()));
    let connected = timeout(LIMIT, connected).await.map_err(late).flatten();
    let stream = connected.map_err(|error| lost(&error))?;
    let name = ServerName::try_from(address.host().to_owned());
    let name = name.map_err(|error| *SendError::lost(&server, error.to_string()).problem)?;
    let secured = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let ended = timeout(LIMIT, secured).await.map_err(late).flatten();
    match (shown.fingerprint(), ended) {
        (Some(fingerprint), _) => Ok(fingerprint),
        (None, Err(error)) => Err(HandshakeError::of(&error).client_problem(&server, None)),
        (None, Ok(_)) => {
            let reason = "it shows no certificate".to_owned();
            Err(*SendError::lost(&server, reason).problem)
        }
    }
}
