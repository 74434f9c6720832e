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
        Kind::Begin => begin(damage),
        Kind::End => end(damage),
        Kind::ExpiryMark => expiry_mark(damage),
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
            [Right, Named, Named, Named, Unseen],
            "lists and footers do not show it, and a backup reads no frames: it takes the chunks for \
             known. Verify finds it",
        ),
        Damage::Swap | Damage::Replay => (
            [Right, Named, Named, Named, Unseen],
            "another pack of the same size: a list does not show it. Verify finds it",
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

fn begin(damage: Damage) -> (Row, &'static str) {
    match damage {
        Damage::Delete => (
            [Named, Right, Named, Right, Right],
            "an end without a begin is no point to a list: a late writer may have left it. It is restored \
             by its id",
        ),
        _ => (ONLY_VERIFIED, "says nothing that a point needs"),
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

fn expiry_mark(damage: Damage) -> (Row, &'static str) {
    match damage {
        Damage::Delete => (
            [Unseen, Unseen, Unseen, Unseen, Right],
            "nothing tells that there was a mark: the point is shown again",
        ),
        _ => (
            ONLY_VERIFIED,
            "the name alone counts: the point stays hidden",
        ),
    }
}
