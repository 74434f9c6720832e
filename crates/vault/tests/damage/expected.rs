//! What is expected of each case, and why where it is not "named".

use crate::inflict::Damage;
use crate::kinds::Kind;
use crate::observe::OPERATIONS;
use crate::observe::Verdict::{self, Named, Right, Told, Unseen};

/// List, restore, verify objects, verify point, next backup, collect.
type Row = [Verdict; 6];

/// A damaged object that only `verify objects` reads.
const ONLY_VERIFIED: Row = [Right, Right, Named, Right, Right, Right];
/// Nothing works without it.
const ALL_NAMED: Row = [Named; 6];

/// A row, and check.
pub(crate) fn expected(kind: Kind, damage: Damage) -> [Verdict; OPERATIONS.len()] {
    let [list, restore, objects, point, backup, collect] = judge(kind, damage).0;
    let check = check(kind, damage, objects);
    [list, restore, objects, point, backup, collect, check]
}

/// It sees what reading all objects sees, but in what it does not read: packs, and of index runs all
/// but the public part.
fn check(kind: Kind, damage: Damage, objects: Verdict) -> Verdict {
    use Damage::{FlipFirst, FlipLast, FlipMiddle, Replay, Swap};
    match (kind, damage) {
        (Kind::DataPack | Kind::TreePack, FlipFirst | FlipMiddle | FlipLast | Swap | Replay)
        | (Kind::IndexRun, FlipMiddle | FlipLast) => Right,
        _ => objects,
    }
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
        Kind::DamageMark if damage == Damage::Delete => (
            [Right, Right, Unseen, Right, Right, Right],
            "nothing speaks of a mark; the next verification puts it again",
        ),
        Kind::DamageMark => (ONLY_VERIFIED, "the name alone counts"),
        Kind::PointState => point_state(damage),
        Kind::VaultLock => vault_lock(damage),
        Kind::PlanClaim => plan_claim(damage),
        Kind::Plan => plan(),
        Kind::PlanVerdict => plan_verdict(damage),
        Kind::PlanDone => plan_done(damage),
    }
}

fn header(damage: Damage) -> (Row, &'static str) {
    match damage {
        Damage::Swap => (
            [Told; 6],
            "a good header of another vault: all that is there seems foreign, and is named instead",
        ),
        Damage::Replay => (
            [Named, Named, Right, Named, Named, Named],
            "a good header with this vault's id: only the ring, which is sealed, knows that it is another one",
        ),
        _ => (ALL_NAMED, "the vault does not open"),
    }
}

fn key_slot(damage: Damage) -> (Row, &'static str) {
    match damage {
        Damage::Delete => (
            [Told, Told, Unseen, Told, Told, Told],
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
            [Right, Named, Named, Named, Right, Right],
            "lists and footers do not show it. A backup of a machine that did not write the pack looks at the \
             frame, and stores its own copy; the writer's own takes the chunks for known: verify finds it",
        ),
        Damage::Swap | Damage::Replay => (
            [Right, Named, Named, Named, Right, Right],
            "another pack of the same size: a list does not show it. A backup of a machine that did not write it \
             looks; the writer's own takes the chunks for known: verify finds it",
        ),
        Damage::FlipFirst | Damage::FlipLast | Damage::Truncate => (
            ONLY_VERIFIED,
            "frames are whole and are read by hints; only header or footer are damaged",
        ),
        Damage::Empty => (
            [Right, Named, Named, Named, Right, Right],
            "shows in the list of packs: a backup stores the chunks again. Collect reads no chunks",
        ),
        Damage::Delete => (
            [Right, Named, Named, Named, Right, Named],
            "shows in the list of packs: a backup stores the chunks again, and collect marks the pack",
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
            [Right, Named, Named, Named, Right, Named],
            "the point is lost; a backup that is not based on it writes its own nodes. What the point needs is not \
             known, so collect frees nothing",
        ),
    }
}

fn begin(damage: Damage) -> (Row, &'static str) {
    match damage {
        Damage::Delete => (
            [Named, Right, Named, Right, Right, Right],
            "an end without a begin is no point to a list: a late writer may have left it. It is restored \
             by its id",
        ),
        _ => (ONLY_VERIFIED, "says nothing that a point needs"),
    }
}

fn end(damage: Damage) -> (Row, &'static str) {
    match damage {
        Damage::Delete => (
            [Unseen, Unseen, Unseen, Unseen, Right, Right],
            "nothing in a vault tells a commit that was removed from one that never was: verify lists \
             the session as open, and the host's catalog misses the point",
        ),
        _ => (
            [Named, Named, Named, Named, Right, Named],
            "the point is lost; what it stored is known to the next backup. Collect frees nothing while it cannot be \
             read",
        ),
    }
}

/// Of an ended point: its state says the same.
fn expiry_mark(damage: Damage) -> (Row, &'static str) {
    match damage {
        Damage::Delete => (
            [Right, Right, Unseen, Right, Right, Right],
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
            [Right, Right, Unseen, Right, Right, Right],
            "the newest state: nothing tells that there was one. The mark hides the point still",
        ),
        _ => (
            [Named, Unseen, Named, Unseen, Right, Unseen],
            "what cannot be read might hold the point: it is kept, and shown, restored and collected as one",
        ),
    }
}

fn vault_lock(damage: Damage) -> (Row, &'static str) {
    match damage {
        Damage::Delete => (
            [Right, Right, Unseen, Right, Right, Right],
            "nothing counts locks: against whoever can delete only the storage's own lock helps",
        ),
        Damage::Replay => (
            [Right; 6],
            "an earlier lock of a vault with this id is a lock of this vault",
        ),
        _ => (
            [Named, Right, Named, Right, Right, Unseen],
            "a lock that cannot be read holds every point, those that have expired too",
        ),
    }
}

fn plan_claim(damage: Damage) -> (Row, &'static str) {
    match damage {
        Damage::Delete => (
            [Right, Right, Unseen, Right, Right, Unseen],
            "a plan without its claim is of no effect, as before it was claimed: collect makes another one",
        ),
        _ => (
            [Right, Right, Named, Right, Named, Named],
            "what is about to be deleted is not known, so nobody writes and nothing is deleted until the owner has \
             removed it",
        ),
    }
}

fn plan() -> (Row, &'static str) {
    (
        [Right, Right, Named, Right, Named, Named],
        "its claim has its hash: what is about to be deleted is not known, so nobody writes and nothing is deleted",
    )
}

fn plan_verdict(damage: Damage) -> (Row, &'static str) {
    match damage {
        Damage::Delete => (
            [Right, Right, Unseen, Right, Right, Right],
            "of a plan that is done: nobody asks any more",
        ),
        _ => (
            ONLY_VERIFIED,
            "of a plan that is done: nobody asks any more",
        ),
    }
}

fn plan_done(damage: Damage) -> (Row, &'static str) {
    match damage {
        Damage::Delete => (
            [Right, Right, Unseen, Right, Right, Right],
            "the plan is in effect again, and is finished again: all of it has happened",
        ),
        _ => (ONLY_VERIFIED, "the name alone counts"),
    }
}
