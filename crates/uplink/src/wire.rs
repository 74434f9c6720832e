//! What hosts and the service say here: heads in JSON, no bodies.
//!
//! Requests do not grow: what a service does not know it refuses. Answers may.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use tresor_channel::{Failure, failures};
use tresor_model::{HostId, VaultId};
use zeroize::Zeroizing;

/// The one request of a host that enrols.
pub(crate) const ENROL: &str = "uplink.enrol";
/// A new certificate for the one that is shown.
pub(crate) const RENEW: &str = "uplink.renew";
/// A vault that the host wants to use through the gateway.
pub(crate) const ENTER: &str = "uplink.vault";

/// Least and most bytes of a key of a host for a vault.
pub(crate) const KEY: std::ops::RangeInclusive<usize> = 32..=4096;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Enrol {
    pub(crate) token: String,
    pub(crate) name: String,
    /// PKCS #10 in Base64.
    pub(crate) request: String,
    pub(crate) version: String,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Enrolled {
    pub(crate) host: HostId,
    /// PEM: the certificate, then the authorities.
    pub(crate) certificates: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Renew {
    pub(crate) request: String,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Renewed {
    pub(crate) certificates: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Enter {
    pub(crate) vault: String,
    /// In Base64.
    pub(crate) key: String,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Entered {
    pub(crate) id: VaultId,
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

pub(crate) fn decode(what: &str, text: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let decoded = BASE64_STANDARD.decode(text).map(Zeroizing::new);
    decoded.map_err(|_| Failure::new(failures::HEAD_MALFORMED, format!("{what} is no Base64")))
}
