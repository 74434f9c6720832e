//! What hosts, users and whoever connects say of who they are.

use std::{path::Path, str::FromStr};

use tresor_identity::{ApiToken, EnrolmentToken, HostPeer, Trust, fuzzing};

use crate::Target;

const LITTLE: usize = 64 << 10;

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "enrolment-token",
        what: "an enrolment token as somebody typed it",
        times: 16,
        above: LITTLE,
        run: text::<EnrolmentToken>,
    },
    Target {
        name: "api-token",
        what: "an API token as somebody sent it",
        times: 16,
        above: LITTLE,
        run: text::<ApiToken>,
    },
    Target {
        name: "signing-request",
        what: "a host's request for a certificate",
        times: 64,
        above: LITTLE,
        run: fuzzing::request_is_good,
    },
    Target {
        name: "host-certificate",
        what: "the certificate of whoever connects, read for the host that it names",
        times: 64,
        above: LITTLE,
        run: |bytes| HostPeer::of(bytes).is_ok(),
    },
    Target {
        name: "certificates-pem",
        what: "certificates of authorities, as the service sends them and files hold them",
        times: 64,
        above: LITTLE,
        run: |bytes| Trust::from_pem(Path::new("fuzz"), bytes).is_ok(),
    },
];

fn text<T: FromStr>(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.parse::<T>().is_ok())
}
