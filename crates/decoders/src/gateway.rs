//! The gateway: what a host may send to the service, and what a service may answer.

use tresor_gateway::rules::{Kind, examine};
use tresor_gateway::wire::{self, Listing, Lot, Request};
use tresor_model::VaultId;
use tresor_vault_format::name;

use crate::Target;

const KIB: usize = 1 << 10;

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "gateway-heads",
        what: "heads of a host's requests to the gateway, and of the answers",
        times: 400,
        above: 64 * KIB,
        run: heads,
    },
    Target {
        name: "gateway-bodies",
        what: "the gateway's lists and lots of objects, in pieces",
        times: 400,
        above: 64 * KIB,
        run: bodies,
    },
    Target {
        name: "gateway-object",
        what: "an object that a host wants to put, as the gateway examines it",
        times: 16,
        above: 64 * KIB,
        run: object,
    },
];

const METHODS: [&str; 9] = [
    "store.open",
    "store.put",
    "store.get",
    "store.range",
    "store.many",
    "store.stat",
    "store.list",
    "store.settle",
    "store.delete",
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
    let answered = wire::answer_head::<wire::Opened>(head).is_ok()
        | wire::answer_head::<wire::Sized>(head).is_ok()
        | wire::answer_head::<wire::Entries>(head).is_ok();
    let Ok(request) = Request::decode(method, head) else {
        return answered;
    };
    debug_assert!(METHODS.contains(&method) || request == Request::Destroys);
    debug_assert!(request.vault().len() <= wire::VAULT_NAME);
    true
}

/// How many entries are told, how large the pieces are, and the pieces.
fn bodies(bytes: &[u8]) -> bool {
    let [entries, piece, body @ ..] = bytes else {
        return false;
    };
    let pieces = || body.chunks(usize::from(*piece).max(1));
    let list = || {
        let mut listing = Listing::new("", u64::from(*entries))?;
        pieces().try_for_each(|piece| listing.take(piece))?;
        listing.finish()
    };
    let lot = || {
        let mut lot = Lot::new(usize::from(*entries), 1000);
        pieces().try_for_each(|piece| lot.take(piece))?;
        lot.finish()
    };
    list().is_ok() | lot().is_ok()
}

/// Which name it is put under, and the object. The name is made to fit where the object tells.
fn object(bytes: &[u8]) -> bool {
    let id = |at: usize| -> Option<[u8; 16]> { bytes.get(at..at + 16)?.try_into().ok() };
    let vault = id(10).map_or(uuid::Uuid::nil(), uuid::Uuid::from_bytes);
    let session = id(26).map_or(uuid::Uuid::nil(), uuid::Uuid::from_bytes);
    let session = tresor_model::SessionId::from_uuid(session);
    let number = bytes.get(42..46).and_then(|number| number.try_into().ok());
    let number = number.map_or(0, u32::from_le_bytes);
    let pack = |at| tresor_vault_format::PackId(id(at).unwrap_or_default());
    let names = [
        name::pack(&pack(16)),
        name::index_run(session, number),
        name::session_begin(session),
        name::session_end(session),
        name::damaged(&pack(26)),
        name::lock(1),
    ];
    let vault = VaultId::from_uuid(vault);
    let taken = names
        .iter()
        .filter(|name| examine(&Kind::of(name), bytes, vault).is_ok());
    taken.count() > 0
}
