//! What the tests of the vault share.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tresor_backend::{Backend, MemoryBackend};
use tresor_model::{
    Consistency, ConsistencyReport, DiskRecord, DiskStats, Extent, Firmware, HypervisorSource,
    JobId, MachineDefinition, ReadMode, RecoveryPoint, SessionId, SnapshotTag, StreamName,
    StreamRecord, TrackingLedger, TrackingSigns, VmId,
};
use tresor_vault::{
    CHUNK_SIZE, CollectOptions, CreateOptions, KeyMaterial, RecoveryKey, Result, SessionOptions,
    StreamStats, Vault, WriteSession,
};

pub(crate) const CHUNK: u64 = CHUNK_SIZE as u64;

/// Moves whatever is dead at all, and waits for nobody.
pub(crate) fn eager() -> CollectOptions {
    CollectOptions {
        min_gain: 1,
        wait: Duration::ZERO,
        ..CollectOptions::default()
    }
}

pub(crate) fn key() -> KeyMaterial {
    KeyMaterial::KeyFile(b"0123456789abcdef0123456789abcdef".to_vec().into())
}

pub(crate) async fn memory_vault() -> (Arc<MemoryBackend>, Vault, RecoveryKey) {
    let backend = Arc::new(MemoryBackend::new());
    let place: Arc<dyn Backend> = Arc::clone(&backend) as _;
    let (vault, recovery) = Vault::create(place, CreateOptions::new(key()))
        .await
        .unwrap();
    (backend, vault, recovery)
}

pub(crate) fn name(text: &str) -> StreamName {
    StreamName::new(text).unwrap()
}

pub(crate) async fn begin(vault: &Vault) -> WriteSession {
    vault
        .begin_session(SessionOptions::new(SessionId::generate()))
        .await
        .unwrap()
}

/// Bytes that do not compress and differ by seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Writes all of `content` in pieces of `piece` bytes.
pub(crate) async fn write_all(
    session: &WriteSession,
    stream: &str,
    content: &[u8],
    base: Option<&StreamRecord>,
    piece: usize,
) -> Result<(StreamRecord, StreamStats)> {
    let mut writer = session
        .stream(name(stream), content.len() as u64, base)
        .await?;
    for (at, bytes) in content.chunks(piece).enumerate() {
        writer
            .write((at * piece) as u64, Bytes::copy_from_slice(bytes))
            .await?;
    }
    writer.finish().await
}

pub(crate) async fn read_all(vault: &Vault, stream: &StreamRecord) -> Result<Vec<u8>> {
    let mut fetch = vault
        .reader(stream)?
        .fetch(Extent::between(0, stream.size), 4);
    let mut content = vec![0; stream.size as usize];
    while let Some(piece) = fetch.next().await {
        let piece = piece?;
        let at = piece.offset as usize;
        content[at..at + piece.bytes.len()].copy_from_slice(&piece.bytes);
    }
    Ok(content)
}

/// A recovery point with these disks and nothing else of interest.
pub(crate) fn point(session: SessionId, disks: Vec<StreamRecord>) -> RecoveryPoint {
    let vm = VmId::generate();
    let job = JobId::generate();
    let disk = |stream| DiskRecord {
        stream,
        read_mode: ReadMode::Full {
            reason: "test".to_owned(),
        },
        tracking: TrackingLedger {
            bitmap: None,
            tag: SnapshotTag::of_job(job),
            granularity: CHUNK,
            persistent: false,
            image: String::new(),
            size: 0,
            signs: TrackingSigns::default(),
        },
        stats: DiskStats::default(),
        reread: None,
    };
    RecoveryPoint {
        id: session.into(),
        vm,
        vm_name: "web01".to_owned(),
        taken_at: Timestamp::now(),
        committed_at: Timestamp::now(),
        job,
        parent: None,
        sequence: 1,
        copied_from: None,
        consistency: ConsistencyReport {
            achieved: Consistency::Crash,
            proof: String::new(),
            attempts: Vec::new(),
            file_systems_frozen: None,
            file_systems_thawed: None,
            frozen_us: None,
        },
        machine: MachineDefinition {
            id: vm,
            name: None,
            machine: "q35".to_owned(),
            cpu_model: None,
            cpus: 1,
            memory: 0,
            firmware: Firmware::Bios { image: None },
            nics: Vec::new(),
            disks: Vec::new(),
            attachments: Vec::new(),
            source: HypervisorSource::Qemu {
                version: String::new(),
                command_line: Vec::new(),
            },
        },
        disks: disks.into_iter().map(disk).collect(),
        attachments: Vec::new(),
        facts: Vec::new(),
        warnings: Vec::new(),
        damage_seen: Vec::new(),
    }
}

/// One disk in one recovery point.
pub(crate) async fn back_up(vault: &Vault, content: &[u8]) -> RecoveryPoint {
    let session = begin(vault).await;
    let (disk, _) = write_all(&session, "vda", content, None, 1 << 20)
        .await
        .unwrap();
    let point = point(session.id(), vec![disk]);
    session.commit(point.clone()).await.unwrap();
    point
}
