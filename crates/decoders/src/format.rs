//! The decoders of the vault's format, with the keys of the golden files. Whatever ends in a check is
//! read as it is and once more with a check that fits: a forger makes one as well.

use tresor_vault_format::database::DumpReader;
use tresor_vault_format::{
    DamageMark, DataKey, DomainId, DomainKeys, ExpiryMark, FrameLocation, IdKey, IndexHeader,
    IndexRun, KeyRing, KeySlot, Node, NodeId, PackId, PackKind, PackTail, Plan, PlanClaim,
    PlanDone, PlanVerdict, PointState, RecoveryKey, Secret, SessionBegin, SessionEnd, TailLayout,
    VaultHeader, VaultLock, frame, name,
};

use crate::Target;

/// Errors, names, contexts.
const LITTLE: usize = 64 << 10;
/// A frame is at most 1 MiB, twice while it is opened.
const FRAME: usize = 3 << 20;

const MASTER: Secret = Secret([0x11; 32]);

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "header",
        what: "the vault's header",
        times: 16,
        above: LITTLE,
        run: |bytes| forged(bytes, |bytes| VaultHeader::decode(bytes).is_ok()),
    },
    Target {
        name: "key-slot",
        what: "a key slot; its Argon2 cost is only read",
        times: 16,
        above: LITTLE,
        run: |bytes| forged(bytes, |bytes| KeySlot::decode(bytes).is_ok()),
    },
    Target {
        name: "key-slot-open",
        what: "a key slot, opened with a secret",
        times: 16,
        above: LITTLE,
        run: |bytes| {
            forged(bytes, |bytes| {
                KeySlot::decode(bytes)
                    .is_ok_and(|slot| slot.unwrap(b"0123456789abcdef0123456789abcdef").is_ok())
            })
        },
    },
    Target {
        name: "key-ring",
        what: "a key ring, without its key",
        times: 16,
        above: LITTLE,
        run: |bytes| forged(bytes, |bytes| KeyRing::check(bytes).is_ok()),
    },
    Target {
        name: "key-ring-open",
        what: "a key ring, opened",
        times: 16,
        above: LITTLE,
        run: |bytes| forged(bytes, |bytes| KeyRing::decode(bytes, &MASTER).is_ok()),
    },
    Target {
        name: "index-header",
        what: "an index run, without its key",
        times: 16,
        above: LITTLE,
        run: |bytes| {
            public_part(bytes);
            forged(bytes, |bytes| IndexHeader::decode(bytes).is_ok())
        },
    },
    Target {
        name: "index-run",
        what: "an index run, opened",
        times: 16,
        above: LITTLE,
        run: |bytes| forged(bytes, |bytes| IndexRun::decode(bytes, &ring()).is_ok()),
    },
    Target {
        name: "session-begin",
        what: "a session's begin",
        times: 16,
        above: LITTLE,
        run: |bytes| forged(bytes, |bytes| SessionBegin::decode(bytes).is_ok()),
    },
    Target {
        name: "session-end",
        what: "a session's end, without its key",
        times: 16,
        above: LITTLE,
        run: |bytes| forged(bytes, |bytes| SessionEnd::decode(bytes).is_ok()),
    },
    Target {
        name: "end-summary",
        what: "the summary in a session's end",
        times: 16,
        above: LITTLE,
        run: |bytes| {
            forged(bytes, |bytes| {
                SessionEnd::open_summary(bytes, &ring()).is_ok()
            })
        },
    },
    Target {
        name: "end-record",
        what: "the record in a session's end",
        times: 16,
        above: FRAME,
        run: |bytes| {
            forged(bytes, |bytes| {
                SessionEnd::open_record(bytes, &ring()).is_ok()
            })
        },
    },
    Target {
        name: "point-state",
        what: "a state of a recovery point",
        times: 16,
        above: LITTLE,
        run: |bytes| forged(bytes, |bytes| PointState::decode(bytes).is_ok()),
    },
    Target {
        name: "vault-lock",
        what: "a lock of a vault",
        times: 16,
        above: LITTLE,
        run: |bytes| forged(bytes, |bytes| VaultLock::decode(bytes).is_ok()),
    },
    Target {
        name: "expiry-mark",
        what: "an expiry mark",
        times: 16,
        above: LITTLE,
        run: |bytes| forged(bytes, |bytes| ExpiryMark::decode(bytes).is_ok()),
    },
    Target {
        name: "damage-mark",
        what: "a damage mark",
        times: 16,
        above: LITTLE,
        run: |bytes| forged(bytes, |bytes| DamageMark::decode(bytes).is_ok()),
    },
    Target {
        name: "plan",
        what: "a plan of collect, its claim, its verdict and its done mark",
        times: 16,
        above: LITTLE,
        run: |bytes| {
            forged(bytes, |bytes| {
                // All four: each refuses what is another's.
                [
                    Plan::decode(bytes).is_ok(),
                    PlanClaim::decode(bytes).is_ok(),
                    PlanVerdict::decode(bytes).is_ok(),
                    PlanDone::decode(bytes).is_ok(),
                ]
                .contains(&true)
            })
        },
    },
    Target {
        name: "pack-layout",
        what: "the last bytes of a pack",
        times: 16,
        above: LITTLE,
        run: |bytes| {
            TailLayout::decode(&bytes[bytes.len().saturating_sub(56)..], bytes.len() as u64).is_ok()
        },
    },
    Target {
        name: "pack",
        what: "a whole pack: footers and every frame",
        times: 16,
        above: FRAME,
        run: |bytes| pack(bytes),
    },
    Target {
        name: "database-dump",
        what: "the backup of an installation's database, after its seals",
        times: 400,
        above: LITTLE,
        run: database_dump,
    },
    Target {
        name: "frame",
        what: "a sealed frame",
        times: 16,
        above: FRAME,
        run: |bytes| sealed_frame(bytes),
    },
    Target {
        name: "node-leaf",
        what: "a leaf of a manifest tree",
        times: 16,
        above: LITTLE,
        run: |bytes| any_node(bytes, 0),
    },
    Target {
        name: "node-inner",
        what: "an inner node of a manifest tree",
        times: 16,
        above: LITTLE,
        run: |bytes| any_node(bytes, 1),
    },
    Target {
        name: "recovery-key",
        what: "a recovery key as somebody typed it",
        times: 16,
        above: LITTLE,
        run: |bytes| text(bytes, |text| text.parse::<RecoveryKey>().is_ok()),
    },
    Target {
        name: "object-name",
        what: "a name in the storage",
        times: 16,
        above: LITTLE,
        run: |bytes| text(bytes, any_name),
    },
];

fn text(bytes: &[u8], read: impl Fn(&str) -> bool) -> bool {
    std::str::from_utf8(bytes).is_ok_and(read)
}

fn any_name(text: &str) -> bool {
    name::parse_pack(text).is_some()
        || name::parse_index_run(text).is_some()
        || name::parse_expired(text).is_some()
        || name::parse_session_object(text).is_some()
}

/// The bytes as they are, then with a check that fits.
fn forged(bytes: &[u8], read: impl Fn(&[u8]) -> bool) -> bool {
    let body = &bytes[..bytes.len().saturating_sub(32)];
    let checked = [body, blake3::hash(body).as_bytes()].concat();
    let taken = read(bytes);
    read(&checked);
    taken
}

/// As a check of a vault's structure reads an index run: the public part alone.
fn public_part(bytes: &[u8]) {
    if let Ok(length) = IndexHeader::public_len(bytes) {
        let part = &bytes[..length.min(bytes.len())];
        // Whether it is taken says nothing: its hash is not checked.
        let _any_answer = IndexHeader::decode_public(part, bytes.len() as u64).is_ok();
    }
}

/// The keys of crates/vault-format/testdata/v1.
fn ring() -> KeyRing {
    let domain = DomainId([0; 16]);
    KeyRing {
        vault_header: [0; 32],
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

fn ids() -> Option<IdKey> {
    ring().id_key(1).ok()
}

fn pack(bytes: &[u8]) -> bool {
    let ring = ring();
    let Ok(tail) = PackTail::of_whole(bytes) else {
        return false;
    };
    let header = *tail.header();
    let (Ok(contents), Ok(key)) = (tail.open(&ring), ring.pack_key(&header.id, header.kind)) else {
        return false;
    };
    contents.frames.iter().all(|found| {
        let start = found.location.offset as usize;
        let stored = bytes.get(start..start.saturating_add(found.location.length as usize));
        stored.is_some_and(|stored| frame::open(&key, &found.location, stored).is_ok())
    })
}

fn sealed_frame(bytes: &[u8]) -> bool {
    let pack = PackId::new([6; 12], 1);
    let (Ok(key), Ok(length)) = (
        ring().pack_key(&pack, PackKind::Data),
        u32::try_from(bytes.len()),
    ) else {
        return false;
    };
    let location = FrameLocation {
        pack,
        offset: 48,
        length,
    };
    frame::open(&key, &location, bytes).is_ok()
}

/// A node of whatever content: the id is made to fit, as in a frame that a key holder sealed.
fn any_node(bytes: &[u8], level: u8) -> bool {
    let Some(key) = ids() else { return false };
    let count = bytes.get(4..12).map_or(0, |bits| {
        bits.iter().map(|byte| byte.count_ones() as usize).sum()
    });
    let content = bytes.get(..12 + 32 * count).unwrap_or(bytes);
    let id_key = blake3::derive_key("tresor vault 1 node id", &[0x22; 32]);
    let id = NodeId(*blake3::keyed_hash(&id_key, content).as_bytes());
    Node::decode(bytes, &id, level, &key).is_ok()
}

/// All of it, as a restore reads it: true when its end is there.
fn database_dump(bytes: &[u8]) -> bool {
    let mut reader = DumpReader::new();
    for piece in bytes.chunks(1 << 12) {
        reader.push(piece);
        loop {
            match reader.next_part() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return false,
            }
        }
    }
    reader.finish().is_ok()
}
