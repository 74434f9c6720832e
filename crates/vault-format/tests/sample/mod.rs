//! One object of each kind, made of fixed numbers.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]
#![allow(dead_code, reason = "each test file uses its part")]

use tresor_model::{SessionId, VaultId};
use tresor_vault_format::limits::{CHUNK_SIZE, FAN_OUT};
use tresor_vault_format::{
    Argon2Cost, Child, ChunkId, Commit, CommitBody, DamageMark, DataKey, DomainId, DomainKeys,
    ExpiryMark, FrameLocation, IndexEntry, IndexHeader, IndexPack, IndexRun, KeyRing, KeySlot,
    LeafChunk, Location, MovedTo, Node, NodeId, PackId, PackKind, PackWriter, Plan, PlanClaim,
    PlanDone, PlanVerdict, PointState, RingHeader, Secret, SessionBegin, SessionEnd, SlotKind,
    VaultHeader, VaultLock, frame,
};
use uuid::Uuid;

pub(crate) const MASTER: Secret = Secret([0x11; 32]);

fn uuid(byte: u8) -> Uuid {
    Uuid::from_bytes([byte; 16])
}

pub(crate) fn vault() -> VaultId {
    VaultId::from_uuid(uuid(0xa1))
}

pub(crate) fn session() -> SessionId {
    SessionId::from_uuid(uuid(0xb2))
}

pub(crate) fn header() -> VaultHeader {
    VaultHeader {
        vault: vault(),
        created_ms: 1_764_000_000_000,
    }
}

pub(crate) fn ring() -> KeyRing {
    let domain = DomainId([0; 16]);
    KeyRing {
        vault_header: header().hash(),
        domains: vec![DomainKeys {
            domain,
            root: Secret([0x22; 32]),
        }],
        keys: vec![DataKey {
            epoch: 1,
            domain,
            key: Secret([0x33; 32]),
        }],
    }
}

pub(crate) fn ring_object() -> Vec<u8> {
    let header = RingHeader {
        vault: vault(),
        ring: uuid(0xc3),
        generation: 1,
        salt: [4; 16],
    };
    ring().encode(&header, &MASTER)
}

pub(crate) fn slot(kind: SlotKind) -> KeySlot {
    let secret = b"0123456789abcdef0123456789abcdef";
    KeySlot::wrap(
        vault(),
        uuid(0xd4),
        uuid(0xc3),
        kind,
        "first key",
        [5; 32],
        secret,
        &MASTER,
    )
}

/// Bytes that are not all alike; `seed` tells chunks apart.
pub(crate) fn chunk(seed: u8) -> Vec<u8> {
    (0..CHUNK_SIZE)
        .map(|at| u8::try_from(at / 512).unwrap() ^ seed.wrapping_mul(31))
        .collect()
}

pub(crate) fn pack_id(byte: u8) -> PackId {
    PackId::new([byte; 12], 1)
}

/// Two frames: three chunks that compress, one frame stored raw.
pub(crate) fn pack() -> (Vec<u8>, IndexRun) {
    let ring = ring();
    let ids = ring.id_key(1).unwrap();
    let mut writer =
        PackWriter::new(pack_id(6), PackKind::Data, session(), &ring, Vec::new()).unwrap();
    let mut entries = Vec::new();
    for (seeds, raw) in [(vec![1, 2, 3], false), (vec![4], true)] {
        let chunks: Vec<_> = seeds.into_iter().map(chunk).collect();
        let plain = chunks.concat();
        let mut scratch = Vec::new();
        let coded = if raw {
            frame::raw(&plain)
        } else {
            frame::encode(&plain, 3, &mut scratch)
        };
        let size = u32::try_from(CHUNK_SIZE).unwrap();
        let named: Vec<_> = chunks
            .iter()
            .map(|chunk| (ids.chunk_id(chunk).0, size))
            .collect();
        let location = writer.append(&coded, named.clone());
        for (at, (id, _)) in (0..).zip(named) {
            let location = Location {
                frame: location,
                at: at * size,
                size,
            };
            entries.push(IndexEntry { id, location });
        }
    }
    let finished = writer.finish();
    let size = u32::try_from(finished.bytes.len()).unwrap();
    let header = IndexHeader {
        vault: vault(),
        session: session(),
        number: 0,
        epoch: 1,
        salt: [7; 16],
        packs: vec![IndexPack {
            id: pack_id(6),
            size,
            kind: PackKind::Data,
        }],
    };
    entries.sort_unstable();
    (finished.bytes, IndexRun { header, entries })
}

pub(crate) fn leaf() -> Node {
    let mut chunks = Box::new([None; FAN_OUT]);
    let (_, index) = pack();
    for (at, entry) in [0, 1, 40, 63].into_iter().zip(&index.entries) {
        let slot = u8::try_from(entry.location.at as usize / CHUNK_SIZE).unwrap();
        let frame = entry.location.frame;
        chunks[at] = Some(LeafChunk {
            id: ChunkId(entry.id),
            frame,
            slot,
        });
    }
    Node::Leaf(chunks)
}

pub(crate) fn inner() -> Node {
    let mut children = Box::new([None; FAN_OUT]);
    let frame = FrameLocation {
        pack: pack_id(8),
        offset: 48,
        length: 5000,
    };
    for (at, byte) in [(0, 1), (5, 2)] {
        let location = Location {
            frame,
            at: u32::from(byte) * 100,
            size: 100,
        };
        children[at] = Some(Child {
            id: NodeId([byte; 32]),
            location,
        });
    }
    Node::Inner(1, children)
}

pub(crate) fn begin() -> SessionBegin {
    SessionBegin {
        vault: vault(),
        session: session(),
        started_ms: 1_764_000_000_001,
    }
}

pub(crate) fn commit_body() -> CommitBody {
    CommitBody {
        summary: br#"{"vm_name":"web01"}"#.to_vec(),
        record: br#"{"vm_name":"web01","disks":[]}"#.to_vec(),
    }
}

pub(crate) fn commit() -> Vec<u8> {
    let commit = Commit {
        epoch: 1,
        salt: [9; 16],
        index_runs: 1,
        tree_packs: vec![(pack_id(8), 7000)],
    };
    let ended = 1_764_000_000_002;
    SessionEnd::encode_commit(vault(), session(), ended, commit, &commit_body(), &ring()).unwrap()
}

pub(crate) fn abort() -> Vec<u8> {
    SessionEnd::encode_abort(vault(), session(), 1_764_000_000_003)
}

pub(crate) fn expired() -> ExpiryMark {
    ExpiryMark {
        vault: vault(),
        session: session(),
        marked_ms: 1_764_000_000_004,
    }
}

pub(crate) fn damaged() -> DamageMark {
    DamageMark {
        vault: vault(),
        pack: pack_id(6),
        found_ms: 1_764_000_000_005,
    }
}

/// A point that is pinned and locked, one that is deleted, and one that is gone.
pub(crate) fn states() -> [(&'static str, PointState); 3] {
    let pinned = PointState {
        vault: vault(),
        session: session(),
        number: 1,
        made_ms: 1_764_000_000_005,
        pinned: true,
        immutable_until_ms: Some(1_764_600_000_000),
        deleted_ms: None,
        ended: false,
    };
    let deleted = PointState {
        number: 2,
        pinned: false,
        deleted_ms: Some((1_764_000_000_006, 1_764_604_800_006)),
        ..pinned
    };
    let ended = PointState {
        number: 3,
        ended: true,
        ..deleted
    };
    [
        ("state-pinned", pinned),
        ("state-deleted", deleted),
        ("state-ended", ended),
    ]
}

pub(crate) fn lock() -> VaultLock {
    VaultLock {
        vault: vault(),
        number: 1,
        made_ms: 1_764_000_000_007,
        min_days: 30,
    }
}

pub(crate) fn plan() -> Plan {
    let moved = |from, to| MovedTo {
        from: pack_id(from),
        to: pack_id(to),
        size: 7000,
    };
    Plan {
        vault: vault(),
        number: 3,
        collector: SessionId::from_uuid(uuid(0xe5)),
        condemned: vec![pack_id(1), pack_id(2)],
        moved: vec![moved(2, 6), moved(2, 8), moved(9, 6)],
        walked: vec![session()],
        dropped: vec![SessionId::from_uuid(uuid(0xb3))],
    }
}

pub(crate) fn plan_claim() -> PlanClaim {
    PlanClaim {
        vault: vault(),
        number: 3,
        collector: plan().collector,
        made_ms: 1_764_000_000_005,
        plan: *blake3::hash(&plan().encode()).as_bytes(),
    }
}

pub(crate) fn plan_verdict() -> PlanVerdict {
    PlanVerdict {
        vault: vault(),
        number: 3,
        keep_older: true,
        struck: vec![pack_id(1)],
    }
}

pub(crate) fn plan_done() -> PlanDone {
    PlanDone {
        vault: vault(),
        number: 3,
        done_ms: 1_764_000_000_006,
    }
}

/// Name of the golden file, and the bytes.
pub(crate) fn objects() -> Vec<(&'static str, Vec<u8>)> {
    let ids = ring().id_key(1).unwrap();
    let passphrase = Argon2Cost {
        memory_kib: 64,
        passes: 1,
        lanes: 1,
    };
    let (pack, index) = pack();
    let mut objects = vec![
        ("vault", header().encode()),
        ("key-ring", ring_object()),
        (
            "key-slot-passphrase",
            slot(SlotKind::Passphrase(passphrase)).encode(),
        ),
        ("key-slot-file", slot(SlotKind::KeyFile).encode()),
        ("key-slot-recovery", slot(SlotKind::Recovery).encode()),
        ("pack", pack),
        ("index-run", index.encode(&ring()).unwrap()),
        ("node-leaf", leaf().encode(&ids).1),
        ("node-inner", inner().encode(&ids).1),
        ("session-begin", begin().encode()),
        ("session-commit", commit()),
        ("session-abort", abort()),
        ("expired", expired().encode()),
        ("damaged", damaged().encode()),
        ("vault-lock", lock().encode()),
        ("plan", plan().encode()),
        ("plan-claim", plan_claim().encode()),
        ("plan-verdict", plan_verdict().encode()),
        ("plan-done", plan_done().encode()),
    ];
    objects.extend(states().map(|(name, state)| (name, state.encode())));
    objects
}
