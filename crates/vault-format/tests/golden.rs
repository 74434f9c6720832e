//! The bytes of version 1, kept in testdata/v1/ and never edited: every later program reads them.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod sample;

use std::collections::BTreeSet;
use std::path::PathBuf;

use tresor_vault_format::{
    DamageMark, END_FIRST, ExpiryMark, HEADER_LEN, INDEX_FIXED, IndexHeader, IndexRun, KeyRing,
    KeySlot, Node, PackContents, PackKind, PackTail, Plan, PlanClaim, PlanDone, PlanVerdict,
    PointState, SessionBegin, SessionEnd, VaultHeader, VaultLock, frame,
};

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/v1")
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(directory().join(format!("{name}.bin"))).unwrap()
}

/// Set `TRESOR_WRITE_GOLDEN` once, when a new kind of object gets its file. An existing file is
/// never overwritten.
#[test]
fn encoders_still_write_version_1() {
    for (name, bytes) in sample::objects() {
        let path = directory().join(format!("{name}.bin"));
        if std::env::var_os("TRESOR_WRITE_GOLDEN").is_some() && !path.exists() {
            std::fs::write(&path, &bytes).unwrap();
        }
        // What zstd writes may differ from release to release; what it reads may not.
        if !["pack", "index-run", "node-leaf", "session-commit"].contains(&name) {
            assert!(golden(name) == bytes, "{name}");
        }
    }
}

#[test]
fn every_golden_file_is_listed() {
    let listed: BTreeSet<_> = sample::objects()
        .iter()
        .map(|(name, _)| format!("{name}.bin"))
        // A stream, which has tests of its own.
        .chain(["database.jsonl".to_owned()])
        .collect();
    let there: BTreeSet<_> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(there, listed);
}

#[test]
fn decoders_still_read_version_1() {
    let ring = sample::ring();
    let ids = ring.id_key(1).unwrap();
    assert_eq!(
        VaultHeader::decode(&golden("vault")).unwrap(),
        sample::header()
    );
    let (_, read) = KeyRing::decode(&golden("key-ring"), &sample::MASTER).unwrap();
    assert_eq!(read, ring);
    for name in ["key-slot-passphrase", "key-slot-file", "key-slot-recovery"] {
        let slot = KeySlot::decode(&golden(name)).unwrap();
        assert_eq!(
            slot.unwrap(b"0123456789abcdef0123456789abcdef").unwrap(),
            sample::MASTER
        );
        assert!(slot.unwrap(b"another").is_err());
    }
    let (_, index) = sample::pack();
    assert_eq!(
        IndexRun::decode(&golden("index-run"), &ring).unwrap(),
        index
    );
    for (name, node) in [
        ("node-leaf", sample::leaf()),
        ("node-inner", sample::inner()),
    ] {
        let (id, _) = node.encode(&ids);
        assert_eq!(
            Node::decode(&golden(name), &id, node.level(), &ids).unwrap(),
            node
        );
    }
    assert_eq!(
        SessionBegin::decode(&golden("session-begin")).unwrap(),
        sample::begin()
    );
    let expired = ExpiryMark::decode(&golden("expired")).unwrap();
    assert_eq!(expired, sample::expired());
    let damaged = DamageMark::decode(&golden("damaged")).unwrap();
    assert_eq!(damaged, sample::damaged());
    for (name, state) in sample::states() {
        assert_eq!(PointState::decode(&golden(name)).unwrap(), state);
    }
    let lock = VaultLock::decode(&golden("vault-lock")).unwrap();
    assert_eq!(lock, sample::lock());
    assert_eq!(Plan::decode(&golden("plan")).unwrap(), sample::plan());
    let claim = PlanClaim::decode(&golden("plan-claim")).unwrap();
    assert_eq!(claim, sample::plan_claim());
    let verdict = PlanVerdict::decode(&golden("plan-verdict")).unwrap();
    assert_eq!(verdict, sample::plan_verdict());
    let done = PlanDone::decode(&golden("plan-done")).unwrap();
    assert_eq!(done, sample::plan_done());
    let commit = golden("session-commit");
    assert_eq!(
        SessionEnd::open_record(&commit, &ring).unwrap().1,
        sample::commit_body().record
    );
    assert_eq!(
        SessionEnd::open_summary(&commit, &ring).unwrap().1,
        sample::commit_body().summary
    );
    assert!(SessionEnd::open_record(&golden("session-abort"), &ring).is_err());
}

/// Who sorts ends and runs by their keys reads no more than their beginning.
#[test]
fn whose_an_end_or_a_run_is_stands_in_its_first_bytes() {
    for (name, number) in [("session-commit", Some(1)), ("session-abort", None)] {
        let (object, first) = (golden(name), golden(name)[..END_FIRST].to_vec());
        let end = SessionEnd::decode(&object).unwrap();
        let read = SessionEnd::decode_first(&first).unwrap();
        assert_eq!(read, (end.vault, end.session, number), "{name}");
        assert!(SessionEnd::decode_first(&first[..50]).is_err());
        assert!(SessionEnd::decode_first(&golden("session-begin")).is_err());
    }
    let object = golden("index-run");
    let (header, _) = IndexHeader::decode(&object).unwrap();
    let read = IndexHeader::decode_first(&object[..INDEX_FIXED]).unwrap();
    let IndexHeader {
        vault,
        session,
        number,
        epoch,
        ..
    } = header;
    assert_eq!(read, (vault, session, number, epoch));
    assert!(IndexHeader::decode_first(&object[..40]).is_err());
}

#[test]
fn a_pack_of_version_1_gives_its_chunks_back() {
    let (ring, pack) = (sample::ring(), golden("pack"));
    let tail = PackTail::of_whole(&pack).unwrap();
    let header = *tail.header();
    assert_eq!(
        (header.id, header.kind),
        (sample::pack_id(6), PackKind::Data)
    );
    for public in tail.frames() {
        let start = public.location.offset as usize;
        let stored = &pack[start..start + public.location.length as usize];
        assert_eq!(*blake3::hash(stored).as_bytes(), public.hash);
    }
    let contents: PackContents = tail.open(&ring).unwrap();
    let key = ring.pack_key(&header.id, header.kind).unwrap();
    let mut plain = Vec::new();
    for found in &contents.frames {
        let start = found.location.offset as usize;
        let stored = &pack[start..start + found.location.length as usize];
        plain.extend(frame::open(&key, &found.location, stored).unwrap());
    }
    assert!(plain == (1..=4).flat_map(sample::chunk).collect::<Vec<_>>());
    assert_eq!(contents.frames[0].location.offset as usize, HEADER_LEN);
}
