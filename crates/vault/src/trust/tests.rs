use std::fs;

use tresor_vault_format::{FrameLocation, Location, NodeId, node_ref};

use super::*;

fn pack(number: u8) -> PackId {
    PackId([number; 16])
}

fn entry(pack_number: u8, id: u8, at: u32) -> IndexEntry {
    let frame = FrameLocation {
        pack: pack(pack_number),
        offset: 48,
        length: 1000,
    };
    let size = 65536;
    IndexEntry {
        id: [id; 32],
        location: Location { frame, at, size },
    }
}

fn root(number: u8, offset: u32) -> NodeRef {
    let frame = FrameLocation {
        pack: pack(number),
        offset,
        length: 1000,
    };
    let (at, size) = (0, 100);
    node_ref(&NodeId([number; 32]), &Location { frame, at, size })
}

fn of(vault: VaultId, dir: &Path) -> Trust {
    let trust = Trust::default();
    trust.remember_in(dir, vault);
    trust
}

#[test]
fn only_what_was_put_into_a_pack_is_believed_of_it() {
    let trust = Trust::default();
    let ours = [entry(1, 1, 0), entry(1, 2, 65536)];
    trust.note_pack(pack(1), &ours);
    let judge = |entries: &[IndexEntry]| trust.judge(&pack(1), entries.iter());
    assert_eq!(judge(&ours), Word::Ours);
    assert_eq!(judge(&ours[..1]), Word::Contradicts);
    assert_eq!(judge(&[]), Word::Contradicts);
    assert_eq!(
        judge(&[entry(1, 2, 0), entry(1, 1, 65536)]),
        Word::Contradicts
    );
    let more = [ours[0], ours[1], entry(1, 9, 65536)];
    assert_eq!(judge(&more), Word::Contradicts);
    assert_eq!(trust.judge(&pack(2), ours.iter()), Word::Claim);
}

#[test]
fn what_was_noted_is_known_to_the_next_process_and_of_this_vault_only() {
    let dir = tempfile::tempdir().unwrap();
    let vault = VaultId::generate();
    let ours = [entry(1, 1, 0)];
    let (one, other) = (of(vault, dir.path()), of(vault, dir.path()));
    one.note_pack(pack(1), &ours);
    other.note_root(&root(7, 0));
    let next = of(vault, dir.path());
    assert_eq!(next.judge(&pack(1), ours.iter()), Word::Ours);
    assert!(next.has_root(&root(7, 0)));
    assert!(!next.has_root(&root(7, 1)), "the same node elsewhere");
    let elsewhere = of(VaultId::generate(), dir.path());
    assert!(!elsewhere.has_pack(&pack(1)) && !elsewhere.has_root(&root(7, 0)));
}

/// Whatever is cut off or flipped: that record is lost, the others are not, nor are later ones.
#[test]
fn a_damaged_record_is_passed_over() {
    let vault = VaultId::generate();
    let ours = [entry(1, 1, 0)];
    for (cut, flip) in [
        (0, None),
        (1, None),
        (63, None),
        (0, Some(5)),
        (0, Some(64 + 30)),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let trust = of(vault, dir.path());
        trust.note_pack(pack(1), &ours);
        trust.note_pack(pack(2), &ours);
        let path = dir.path().join("written");
        let mut bytes = fs::read(&path).unwrap();
        bytes.truncate(bytes.len() - cut);
        if let Some(at) = flip {
            bytes[at] ^= 1;
        }
        fs::write(&path, bytes).unwrap();
        of(vault, dir.path()).note_pack(pack(3), &ours);
        let next = of(vault, dir.path());
        let known = [1, 2, 3].map(|number| next.has_pack(&pack(number)));
        let first = flip.is_none_or(|at| at >= 64);
        let second = cut == 0 && flip.is_none_or(|at| at < 64);
        assert_eq!(known, [first, second, true], "{cut} {flip:?}");
    }
}

#[test]
fn packs_that_are_gone_leave_the_list() {
    let dir = tempfile::tempdir().unwrap();
    let vault = VaultId::generate();
    let trust = of(vault, dir.path());
    trust.note_root(&root(7, 0));
    let number = |number: usize| PackId::new([1; 12], u32::try_from(number).unwrap());
    for gone in 0..MOST_STALE {
        trust.note_pack(number(gone), &[]);
    }
    let stays = number(MOST_STALE);
    trust.note_pack(stays, &[]);
    trust.tidy(|_| true).unwrap();
    let size = || fs::metadata(dir.path().join("written")).unwrap().len();
    assert_eq!(size(), (MOST_STALE as u64 + 2) * 64);
    trust.tidy(|pack| *pack == stays).unwrap();
    assert_eq!(size(), 2 * 64);
    trust.note_pack(pack(3), &[]);
    let next = of(vault, dir.path());
    assert!(next.has_pack(&stays) && next.has_pack(&pack(3)) && next.has_root(&root(7, 0)));
    assert!(!next.has_pack(&number(0)) && !trust.has_pack(&number(0)));
}
