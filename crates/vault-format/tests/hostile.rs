//! Decoders on bytes that nobody wrote and on good ones with a change: an error, never a panic,
//! never wrong content.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod sample;

use proptest::prelude::*;
use tresor_vault_format::{
    DamageMark, ExpiryMark, FrameLocation, INDEX_FIXED, IndexHeader, IndexRun, KeyRing, KeySlot,
    Node, NodeId, PackKind, PackTail, Plan, PlanClaim, PlanDone, PlanVerdict, PointState,
    SessionBegin, SessionEnd, TailLayout, VaultHeader, VaultLock, frame,
};

/// Runs every decoder; gives how many took the bytes for good.
fn decode_all(bytes: &[u8]) -> usize {
    let ring = sample::ring();
    let ids = ring.id_key(1).unwrap();
    let (leaf, _) = sample::leaf().encode(&ids);
    let (inner, _) = sample::inner().encode(&ids);
    let pack = sample::pack_id(6);
    let length = u32::try_from(bytes.len()).unwrap();
    let location = FrameLocation {
        pack,
        offset: 48,
        length,
    };
    let key = ring.pack_key(&pack, PackKind::Data).unwrap();
    let taken = [
        VaultHeader::decode(bytes).is_ok(),
        KeySlot::decode(bytes).is_ok_and(|slot| slot.unwrap(b"x").is_ok()),
        KeyRing::decode(bytes, &sample::MASTER).is_ok(),
        KeyRing::check(bytes).is_ok(),
        IndexHeader::decode(bytes).is_ok(),
        IndexRun::decode(bytes, &ring).is_ok(),
        ExpiryMark::decode(bytes).is_ok(),
        DamageMark::decode(bytes).is_ok(),
        PointState::decode(bytes).is_ok(),
        VaultLock::decode(bytes).is_ok(),
        Plan::decode(bytes).is_ok(),
        PlanClaim::decode(bytes).is_ok(),
        PlanVerdict::decode(bytes).is_ok(),
        PlanDone::decode(bytes).is_ok(),
        SessionBegin::decode(bytes).is_ok(),
        SessionEnd::decode(bytes).is_ok(),
        SessionEnd::open_summary(bytes, &ring).is_ok(),
        SessionEnd::open_record(bytes, &ring).is_ok(),
        PackTail::of_whole(bytes).is_ok_and(|tail| tail.open(&ring).is_ok()),
        TailLayout::decode(bytes, bytes.len() as u64).is_ok(),
        frame::open(&key, &location, bytes).is_ok(),
        Node::decode(bytes, &leaf, 0, &ids).is_ok(),
        Node::decode(bytes, &inner, 1, &ids).is_ok(),
        Node::decode(bytes, &NodeId([0; 32]), 2, &ids).is_ok(),
    ];
    taken.into_iter().filter(|taken| *taken).count()
}

/// Ends the object with a hash that fits, as a forger would, so that the fields are reached.
fn with_check(bytes: &[u8]) -> Vec<u8> {
    let body = &bytes[..bytes.len().saturating_sub(32)];
    [body, blake3::hash(body).as_bytes()].concat()
}

/// The public part of an index run, by itself, says what the whole run says; of another size it is
/// refused.
#[test]
fn the_public_part_of_an_index_run_is_read_alone() {
    let (_, run) = sample::pack();
    let whole = run.encode(&sample::ring()).unwrap();
    let length = IndexHeader::public_len(&whole[..INDEX_FIXED]).unwrap();
    let size = whole.len() as u64;
    let read = |public: &[u8], size| IndexHeader::decode_public(public, size);
    assert_eq!(read(&whole[..length], size).unwrap(), run.header);
    for size in [size - 1, size + 1, length as u64, u64::MAX] {
        assert!(read(&whole[..length], size).is_err(), "{size}");
    }
    assert!(read(&whole[..length - 1], size).is_err());
    assert!(IndexHeader::public_len(&whole[..INDEX_FIXED - 1]).is_err());
    let mut hostile = whole[..INDEX_FIXED].to_vec();
    hostile[66..70].fill(0xff);
    assert!(IndexHeader::public_len(&hostile).is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert_eq!(decode_all(&bytes), 0);
    }

    #[test]
    fn good_ones_with_a_change(
        which in 0_usize..sample::objects().len(),
        at in any::<prop::sample::Index>(),
        bit in 0_u32..8,
        cut in any::<prop::sample::Index>(),
        truncate in any::<bool>(),
    ) {
        let (name, good) = sample::objects().swap_remove(which);
        let mut bytes = good;
        if truncate {
            bytes.truncate(cut.index(bytes.len()));
        } else {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        // Hints of a node are outside of its id, and a slot's label and cost outside of `decode`:
        // both are sealed where they lie, by the frame and by the wrapped key.
        // A frame of a pack is outside of its footers, too.
        if !name.starts_with("node-") && name != "pack" {
            prop_assert_eq!(decode_all(&bytes), 0, "{}", name);
        }
        decode_all(&bytes);
        decode_all(&with_check(&bytes));
    }

    #[test]
    fn a_good_front_and_any_rest(
        which in 0_usize..sample::objects().len(),
        keep in 0_usize..120,
        rest in prop::collection::vec(any::<u8>(), 32..200),
    ) {
        let (_, good) = sample::objects().swap_remove(which);
        let keep = keep.min(good.len());
        decode_all(&with_check(&[&good[..keep], &rest].concat()));
    }
}
