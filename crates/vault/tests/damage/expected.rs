//! What is expected of each case, and why where it is not "named".

use crate::inflict::Damage;
use crate::kinds::Kind;
use crate::observe::Verdict::{self, Named, Right, Told, Unseen};

/// List, restore, verify objects, verify point, next backup.
pub(crate) type Row = [Verdict; 5];

/// A damaged object that only `verify objects` reads.
const ONLY_VERIFIED: Row = [Right, Right, Named, Right, Right];
/// Nothing works without it.
const ALL_NAMED: Row = [Named; 5];

pub(crate) fn expected(kind: Kind, damage: Damage) -> Row {
    judge(kind, damage).0
}

/// Why the row is as it is, for people.
pub(crate) fn reason(kind: Kind, damage: Damage) -> &'static str {
    judge(kind, damage).1
}

fn judge(kind: Kind, damage: Damage) -> (Row, &'static str) {
    match kind {
        Kind::Header => header(damage),
        Kind::KeySlot => key_slot(damage),
        Kind::KeyRing => (ALL_NAMED, "no data key without it"),
        Kind::DataPack => data_pack(damage),
        Kind::TreePack => tree_pack(damage),
        Kind::IndexRun => (
            ONLY_VERIFIED,
            "restores follow hints; a backup reads the footers of packs that no run covers",
        ),
        Kind::Begin => (ONLY_VERIFIED, "says nothing that a point needs"),
        Kind::End => end(damage),
        Kind::ExpiryMark => expiry_mark(damage),
        Kind::DamageMark if damage == Damage::Delete => (
            [Right, Right, Unseen, Right, Right],
            "nothing speaks of a mark; the next verification puts it again",
        ),
        Kind::DamageMark => (ONLY_VERIFIED, "the name alone counts"),
        Kind::PointState => point_state(damage),
        Kind::VaultLock => vault_lock(damage),
    }
}

fn header(damage: Damage) -> (Row, &'static str) {
    match damage {
        Damage::Swap => (
            [Told; 5],
            "a good header of another vault: all that is there seems foreign, and is named instead",
        ),
        Damage::Replay => (
            [Named, Named, Right, Named, Named],
            "a good header with this vault's id: only the ring, which is sealed, knows that it is another one",
        ),
        _ => (ALL_NAMED, "the vault does not open"),
    }
}

fn key_slot(damage: Damage) -> (Row, &'static str) {
    match damage {
        Damage::Delete => (
            [Told, Told, Unseen, Told, Told],
            "nothing counts slots: the key is refused, other keys open the vault",
        ),
        _ => (
            ALL_NAMED,
            "this key does not open the vault; another slot does",
        ),
    }
}

fn data_pack(damage: Damage) -> (Row, &'static str) {
    match damage {
        Damage::FlipMiddle => (
            [Right, Named, Named, Named, Right],
            "lists and footers do not show it. A backup of a machine that did not write the pack looks at the \
             frame, and stores its own copy; the writer's own takes the chunks for known: verify finds it",
        ),
        Damage::Swap | Damage::Replay => (
            [Right, Named, Named, Named, Right],
            "another pack of the same size: a list does not show it. A backup of a machine that did not write it \
             looks; the writer's own takes the chunks for known: verify finds it",
        ),
        Damage::FlipFirst | Damage::FlipLast | Damage::Truncate => (
            ONLY_VERIFIED,
            "frames are whole and are read by hints; only header or footer are damaged",
        ),
        Damage::Empty | Damage::Delete => (
            [Right, Named, Named, Named, Right],
            "shows in the list of packs: a backup stores the chunks again",
        ),
    }
}

fn tree_pack(damage: Damage) -> (Row, &'static str) {
    match damage {
        Damage::FlipFirst | Damage::FlipLast | Damage::Truncate => (
            ONLY_VERIFIED,
            "frames are whole and are read by hints; only header or footer are damaged",
        ),
        _ => (
            [Right, Named, Named, Named, Right],
            "the point is lost; a backup that is not based on it writes its own nodes",
        ),
    }
}

fn end(damage: Damage) -> (Row, &'static str) {
    match damage {
        Damage::Delete => (
            [Unseen, Unseen, Unseen, Unseen, Right],
            "nothing in a vault tells a commit that was removed from one that never was: verify lists \
             the session as open, and the host's catalog misses the point",
        ),
        _ => (
            [Named, Named, Named, Named, Right],
            "the point is lost; what it stored is known to the next backup",
        ),
    }
}

/// Of an ended point: its state says the same.
fn expiry_mark(damage: Damage) -> (Row, &'static str) {
    match damage {
        Damage::Delete => (
            [Right, Right, Unseen, Right, Right],
            "the point's state says the same: it stays hidden; nothing counts marks",
        ),
        _ => (
            ONLY_VERIFIED,
            "the name alone counts: the point stays hidden",
        ),
    }
}

/// Of an ended point, so that a state that cannot be read shows.
fn point_state(damage: Damage) -> (Row, &'static str) {
    match damage {
        Damage::Delete => (
            [Right, Right, Unseen, Right, Right],
            "the newest state: nothing tells that there was one. The mark hides the point still",
        ),
        _ => (
            [Named, Unseen, Named, Unseen, Right],
            "what cannot be read might hold the point: it is kept, and shown and restored again",
        ),
    }
}

fn vault_lock(damage: Damage) -> (Row, &'static str) {
    match damage {
        Damage::Delete => (
            [Right, Right, Unseen, Right, Right],
            "nothing counts locks: against whoever can delete only the storage's own lock helps",
        ),
        Damage::Replay => (
            [Right; 5],
            "an earlier lock of a vault with this id is a lock of this vault",
        ),
        _ => (
            [Named, Right, Named, Right, Right],
            "a lock that cannot be read holds every point",
        ),
    }
}
