//! Hosts and the service on jobs and VMs: what either may send to the other.

use serde_json::Value;
use tresor_host_link::wire::{self, Request};

use crate::Target;

const KIB: usize = 1 << 10;

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "host-heads",
        what: "heads of a host's requests about jobs and VMs, and of the answers",
        times: 400,
        above: 64 * KIB,
        run: heads,
    },
    Target {
        name: "host-documents",
        what: "jobs, events, stories, VMs and reports on their way between a host and the service",
        times: 400,
        above: 64 * KIB,
        run: documents,
    },
    Target {
        name: "host-failure",
        what: "a failure that a service answers, as an error of the log and as a problem",
        times: 400,
        above: 64 * KIB,
        run: failure,
    },
];

/// A line with the method, and the head.
fn heads(bytes: &[u8]) -> bool {
    let at = bytes.iter().position(|byte| *byte == b'\n');
    let (method, head) = match at {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[][..]),
    };
    let Ok(method) = std::str::from_utf8(method) else {
        return false;
    };
    let answered = wire::read::<wire::LeaseAnswer>(head).is_ok()
        | wire::read::<wire::More>(head).is_ok()
        | wire::read::<wire::CancelAnswer>(head).is_ok()
        | wire::read::<wire::AliveAnswer>(head).is_ok();
    let Ok(request) = Request::decode(method, head) else {
        return answered;
    };
    // Nothing that was sent is dropped without a word.
    if let Request::Claim(claim) = &request {
        let again = serde_json::to_value(claim).unwrap_or_default();
        let sent: Value = serde_json::from_slice(head).unwrap_or_default();
        debug_assert_eq!(
            again.as_object().map(serde_json::Map::len),
            sent.as_object().map(serde_json::Map::len)
        );
    }
    true
}

/// Any of the documents: each decoder gets them all.
fn documents(bytes: &[u8]) -> bool {
    let sent = wire::Job::decode(bytes).is_ok() | wire::decode_event(bytes).is_ok();
    let answered = wire::read::<wire::Story>(bytes).is_ok()
        | wire::read::<Vec<wire::Header>>(bytes).is_ok()
        | wire::read::<Vec<wire::Waiting>>(bytes).is_ok()
        | wire::read::<wire::Vm>(bytes).is_ok();
    let reported = wire::read::<Vec<wire::Found>>(bytes).is_ok();
    sent | answered | reported
}

fn failure(bytes: &[u8]) -> bool {
    let Ok(failure) = tresor_link_proto::Failure::decode(bytes) else {
        return false;
    };
    let problem = wire::problem_of(&failure);
    debug_assert_eq!(problem.code, failure.code);
    let error = wire::log_error_of(&failure);
    debug_assert!(!error.to_string().is_empty());
    wire::mark_of(&failure).is_none_or(|mark| failure.fields["yours"] == mark.yours.to_string())
        || failure.fields["yours"].starts_with(['+', '0'])
}
