//! The decoders beside the vault's format: protocols, JSON, state files.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use jiff::{
    Timestamp,
    tz::{TimeZone, TimeZoneDatabase},
};
use serde::de::DeserializeOwned;
use tresor_model::{MachineDefinition, RecoveryPoint};
use tresor_policy::{Policy, calendar::Calendar};
use tresor_qmp::Message;

use crate::Target;

/// Values of JSON: a digit or a bracket of input becomes a `Value` or an entry of a map.
const JSON: usize = 400;
const LITTLE: usize = 64 << 10;

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "nbd-handshake",
        what: "an NBD server's side of the handshake",
        times: 16,
        above: 1 << 20,
        run: |bytes| block_on(tresor_nbd::fuzzing::handshake(bytes.to_vec())),
    },
    Target {
        name: "nbd-replies",
        what: "an NBD server's replies to a read and a block status",
        times: 16,
        above: 1 << 20,
        run: |bytes| block_on(tresor_nbd::fuzzing::replies(bytes)).is_some(),
    },
    Target {
        name: "qmp-line",
        what: "a line from QEMU's monitor",
        times: JSON,
        above: LITTLE,
        run: |bytes| Message::decode(bytes).is_ok(),
    },
    Target {
        name: "socket-holder",
        what: "the kernel's answer to who holds a socket",
        times: 1,
        above: LITTLE,
        run: |bytes| tresor_qmp::fuzzing::holder(bytes).is_some(),
    },
    Target {
        name: "agent-answer",
        what: "a line from the guest agent",
        times: JSON,
        above: LITTLE,
        run: tresor_link::qga::fuzzing::answer,
    },
    Target {
        name: "agent-note",
        what: "the note of the guest's freeze hook",
        times: JSON,
        above: LITTLE,
        run: tresor_link::qga::fuzzing::note,
    },
    Target {
        name: "machine-json",
        what: "a machine definition (catalog, recovery point)",
        times: JSON,
        above: LITTLE,
        run: json::<MachineDefinition>,
    },
    Target {
        name: "point-json",
        what: "the record of a recovery point, after its seal",
        times: JSON,
        above: LITTLE,
        run: json::<RecoveryPoint>,
    },
    Target {
        name: "calendar",
        what: "a calendar expression as somebody typed it, and what comes next in it",
        times: 200,
        above: LITTLE,
        run: calendar,
    },
    Target {
        name: "policy-json",
        what: "a policy, and whether it is good",
        times: JSON,
        above: LITTLE,
        run: policy,
    },
    Target {
        name: "restore-journal",
        what: "the journal of a restore that was cut short",
        times: 200,
        above: LITTLE,
        run: |bytes| {
            std::str::from_utf8(bytes)
                .is_ok_and(|text| tresor_transfer::restore::fuzzing::journal(text).is_some())
        },
    },
];

/// Runs a future that reads from memory: it is never waiting for anything, or it gives up.
fn block_on<T: Default>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => T::default(),
    }
}

/// Zones come from a rule that is written out here: no file is read.
fn zone() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap_or(TimeZone::UTC)
}

/// Also takes its normal form back, and looks for the next moments around both changes of the clock.
fn calendar(bytes: &[u8]) -> bool {
    let parsed = std::str::from_utf8(bytes).map(Calendar::parse);
    let Ok(Ok(calendar)) = parsed else {
        return false;
    };
    assert_eq!(
        Calendar::parse(&calendar.to_string()).as_ref(),
        Ok(&calendar)
    );
    let Ok(timetable) = calendar.timetable(&zone(), &TimeZoneDatabase::none()) else {
        return true;
    };
    // 2026-03-28 and 2026-10-24.
    for second in [1_774_656_000, 1_792_800_000] {
        let mut last = Timestamp::from_second(second).unwrap_or_default();
        for next in timetable.elapses_after(last).take(60) {
            assert!(last < next);
            last = next;
        }
    }
    true
}

fn policy(bytes: &[u8]) -> bool {
    let Ok(policy) = serde_json::from_slice::<Policy>(bytes) else {
        return false;
    };
    let now = Timestamp::from_second(1_792_800_000).unwrap_or_default();
    policy
        .validate(now, &zone(), &TimeZoneDatabase::none())
        .is_ok()
}

fn json<T: DeserializeOwned>(bytes: &[u8]) -> bool {
    serde_json::from_slice::<T>(bytes).is_ok()
}
