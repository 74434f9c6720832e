//! A host becomes one.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::time::timeout;
use tresor_channel::{Notice, codes};
use tresor_host_link::wire::problem_of;
use tresor_identity::{EnrolmentToken, HostIdentity, PendingHost, SystemClock, enrol_config};
use tresor_problem::{Kind, Problem};

use super::{Address, dial};
use crate::wire;

/// For the service's answer.
const LIMIT: Duration = Duration::from_secs(60);

/// Enrols this machine under a name, and keeps what it gets in `path`. The token is shown to nobody but the
/// service that it names.
///
/// # Errors
/// `EnrolmentTokenUsed`, `HostNameTaken` and the like, `ServiceUnreachable`, `ServerNotTrusted`,
/// `IdentityUnusable`.
pub async fn enrol(
    address: &Address,
    token: &EnrolmentToken,
    name: &str,
    path: &Path,
) -> Result<HostIdentity, Problem> {
    let clock = Arc::new(SystemClock);
    let config = enrol_config(token.authority(), clock).map_err(|error| Problem::from(&error))?;
    let pending = PendingHost::generate().map_err(|error| Problem::from(&error))?;
    let connection = dial::dial(address, config, None).await?;
    let asked = wire::Enrol {
        token: token.to_text().to_string(),
        name: name.to_owned(),
        request: wire::encode(pending.request()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let answered = connection.call_json::<_, wire::Enrolled>(wire::ENROL, &asked);
    let answered = timeout(LIMIT, answered).await.map_err(|_| {
        let (server, reason) = (address.to_string(), "it does not answer".to_owned());
        Problem::from(Kind::ServiceUnreachable { server, reason })
    })?;
    let enrolled = answered.map_err(|error| match error.failure() {
        Some(failure) => problem_of(failure),
        None => dial::unreachable_because(address, &error),
    })?;
    let pem = enrolled.certificates.as_bytes();
    let identity = pending.enrol(path, pem, token.authority());
    let identity = identity.map_err(|error| Problem::from(&error))?;
    // What matters is on the disk: how the connection ends does not.
    connection
        .close(Notice::new(codes::SHUTDOWN, "enrolled"))
        .await
        .ok();
    Ok(identity)
}
