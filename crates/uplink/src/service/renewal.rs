//! A new certificate for the one that a host shows.

use jiff::Timestamp;
use tresor_catalog::Catalog;
use tresor_channel::{Failure, failures};
use tresor_host_link::wire::failure_of_problem;
use tresor_identity::{AdmitError, Authority, HostPeer};
use tresor_problem::{Kind, Problem};

use super::enrolment::unusable;
use crate::wire;

/// Signs what the host asks for. The certificate that it shows counts until the new one is shown.
pub(super) async fn renew(
    catalog: &Catalog,
    authority: &Authority,
    peer: &HostPeer,
    asked: &wire::Renew,
) -> Result<wire::Renewed, Failure> {
    let request = wire::decode("the signing request", &asked.request)?;
    let issued = authority.sign_host(peer.id, &request, Timestamp::now());
    let issued =
        issued.map_err(|error| Failure::new(failures::HEAD_MALFORMED, error.to_string()))?;
    let (shown, next) = (peer.serial.to_string(), issued.serial.to_string());
    match catalog.renew_host(peer.id, &shown, &next).await {
        Ok(true) => Ok(wire::Renewed {
            certificates: issued.to_pem(),
        }),
        Ok(false) => Err(failure_of_problem(&not_any_more(peer))),
        Err(error) => Err(failure_of_problem(&unusable(&error))),
    }
}

fn not_any_more(peer: &HostPeer) -> Problem {
    let reason = AdmitError::Replaced { host: peer.id }.to_string();
    let host = peer.id.to_string();
    Kind::HostNotEnrolled { host, reason }.into()
}
