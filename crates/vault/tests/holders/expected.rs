//! What is expected of each holder, and why.

use crate::holder::Ability::{self, *};
use crate::holder::Holder::{self, *};
use crate::holder::Verdict::{self, Can, Cannot, Own, Seen};

/// Of one ability and one holder.
pub(crate) fn expected(ability: Ability, holder: Holder) -> Verdict {
    judge(ability, holder).0
}

/// Why the cell is as it is, for people.
pub(crate) fn reason(ability: Ability, holder: Holder) -> &'static str {
    judge(ability, holder).1
}

fn judge(ability: Ability, holder: Holder) -> (Verdict, &'static str) {
    match ability {
        ListNames => list_names(holder),
        ReadData => read_data(holder),
        FindKnown => find_known(holder),
        WritePoints => write_points(holder),
        ForgePoint => forge_point(holder),
        ChangeUnseen => change_unseen(holder),
        PoisonBackups => poison_backups(holder),
        VerifyBytes => verify_bytes(holder),
        ChangeKeys => change_keys(holder),
        Collect => collect(holder),
    }
}

fn list_names(holder: Holder) -> (Verdict, &'static str) {
    match holder {
        Reader | Writer | Verifier => (
            Cannot,
            "names are sealed; that there are points, when, and how large, is not",
        ),
        OwnDomain => (Own, "of the others it is told only how many there are"),
        Shared | Passphrase | Recovery => (Can, "all domains"),
    }
}

fn read_data(holder: Holder) -> (Verdict, &'static str) {
    match holder {
        Reader | Writer | Verifier => (Cannot, "all is sealed"),
        OwnDomain => (Own, "it has no other key"),
        Shared | Passphrase | Recovery => (Can, "all domains, all points"),
    }
}

fn find_known(holder: Holder) -> (Verdict, &'static str) {
    match holder {
        Reader | Writer | Verifier => (
            Cannot,
            "ids are keyed; sizes of compressed frames leak a little of what is in them",
        ),
        OwnDomain => (Own, "other domains have other ids"),
        Shared | Passphrase | Recovery => (
            Can,
            "a backup that sends nothing says so: all of the shared domain is one. Reading it is simpler",
        ),
    }
}

fn write_points(holder: Holder) -> (Verdict, &'static str) {
    match holder {
        Reader | Verifier => (Cannot, "it cannot write"),
        Writer => (
            Seen,
            "what it puts does not open, and is listed as damaged, by name",
        ),
        OwnDomain => (Own, "the owner reads it too"),
        Shared | Passphrase | Recovery => (Can, "in the shared domain"),
    }
}

fn forge_point(holder: Holder) -> (Verdict, &'static str) {
    match holder {
        Reader | Verifier => (Cannot, "it cannot write"),
        Writer => (
            Seen,
            "a copy under another name does not open, and is listed as damaged",
        ),
        OwnDomain => (
            Can,
            "to the owner: nothing binds a VM to a domain, and a list does not show domains. To hosts in other \
             domains it is not there",
        ),
        Shared | Passphrase | Recovery => (Can, "nothing tells who wrote a point"),
    }
}

fn change_unseen(holder: Holder) -> (Verdict, &'static str) {
    match holder {
        Reader | Verifier => (Cannot, "it cannot write"),
        Writer => (
            Can,
            "remove: all objects of the newest session, or put back an older state of all; the catalog of the host \
             that wrote it misses the point. Change: cannot, each changed byte is seen",
        ),
        OwnDomain | Shared | Passphrase | Recovery => (
            Can,
            "where the storage lets it delete: a session's name can be taken again by another point. Storage \
             that neither replaces nor deletes stops that",
        ),
    }
}

fn poison_backups(holder: Holder) -> (Verdict, &'static str) {
    match holder {
        Reader | Verifier => (Cannot, "it cannot write"),
        Writer => (
            Seen,
            "what it puts does not open, and is left aside. A host believes its own packs unread: bytes that are \
             replaced there break what rests on them, later backups too, until a verification names them",
        ),
        OwnDomain => (
            Seen,
            "what is of its domain is not known in others; the storage's credentials let it do what a writer can",
        ),
        Shared | Passphrase | Recovery => (
            Seen,
            "what others claim to have stored is opened and compared before a backup rests on it; a lie is \
             named, its pack is marked as damaged, and the backup stores its own copy. Where the storage lets it \
             delete, it can do what a writer can",
        ),
    }
}

fn verify_bytes(holder: Holder) -> (Verdict, &'static str) {
    match holder {
        Reader | Writer | Verifier => (
            Can,
            "every object has a public hash: that finds damage, not lies",
        ),
        OwnDomain => (
            Can,
            "by hash all objects, by reading back those of its own domain",
        ),
        Shared | Passphrase | Recovery => (Can, "by hash and by reading back"),
    }
}

fn change_keys(holder: Holder) -> (Verdict, &'static str) {
    match holder {
        Reader | Verifier => (Cannot, "labels and kinds of slots are seen, no more"),
        Writer => (
            Cannot,
            "it can delete slots and rings, and put some that do not open, which are left aside",
        ),
        OwnDomain => (
            Own,
            "slots of its own ring; data keys are rotated by the owner alone",
        ),
        Shared | Passphrase | Recovery => (
            Can,
            "every key of the vault's own ring is an owner's: a host that should not have one gets a domain of \
             its own",
        ),
    }
}

fn collect(holder: Holder) -> (Verdict, &'static str) {
    match holder {
        Reader | Verifier => (Cannot, "it cannot delete"),
        Writer => (
            Cannot,
            "what points need is sealed. It can delete anything; a plan that it puts frees nothing that is needed",
        ),
        OwnDomain => (Cannot, "what the points of other domains need is sealed"),
        Shared | Passphrase | Recovery => (Can, "for all domains"),
    }
}
