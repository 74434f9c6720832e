//! The decoders beside the vault's format: protocols, JSON, state files.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use serde::de::DeserializeOwned;
use tresor_model::{MachineDefinition, RecoveryPoint};
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

fn json<T: DeserializeOwned>(bytes: &[u8]) -> bool {
    serde_json::from_slice::<T>(bytes).is_ok()
}
