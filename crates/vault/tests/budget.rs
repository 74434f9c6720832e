//! Requests are a budget: stores charge for each PUT, and each takes its time.
#![expect(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

mod support;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use support::{CHUNK, begin, key, name, noise, point};
use tresor_backend::wrap::{Metered, Verb};
use tresor_backend::{Backend, Error, MemoryBackend, ObjectMeta, ObjectName, Properties};
use tresor_model::StreamRecord;
use tresor_vault::{CreateOptions, Vault};

const GIB: u64 = 1 << 30;
/// Data packs are larger, what a session reads again (indexes, trees) is smaller here.
const KEPT: usize = 24 << 20;

/// Keeps all but the data packs, which a backup never reads: 4 GiB need not be in memory.
struct WithoutPacks(MemoryBackend);

#[async_trait::async_trait]
impl Backend for WithoutPacks {
    fn properties(&self) -> Properties {
        self.0.properties()
    }
    async fn put(&self, name: &ObjectName, body: Bytes) -> Result<(), Error> {
        let kept = if body.len() < KEPT {
            body
        } else {
            Bytes::new()
        };
        self.0.put(name, kept).await
    }
    async fn get(&self, name: &ObjectName, max_size: u64) -> Result<Bytes, Error> {
        self.0.get(name, max_size).await
    }
    async fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes, Error> {
        self.0.get_range(name, range).await
    }
    async fn stat(&self, name: &ObjectName) -> Result<ObjectMeta, Error> {
        self.0.stat(name).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, Error> {
        self.0.list(prefix).await
    }
    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        self.0.delete(name).await
    }
    async fn sweep(&self, min_age: Duration) -> Result<u64, Error> {
        self.0.sweep(min_age).await
    }
}

/// Chunks that do not compress, no two alike: the most there can be to send. Noise is made once and
/// stamped, since making it anew would be what the test spends its time on.
fn stamped(plain: &[u8], at: u64, generation: u64) -> Bytes {
    let mut piece = BytesMut::from(plain);
    for (nth, chunk) in (0_u64..).zip(piece.chunks_mut(CHUNK_LEN)) {
        chunk[..8].copy_from_slice(&(at + nth * CHUNK).to_le_bytes());
        chunk[8..16].copy_from_slice(&generation.to_le_bytes());
    }
    piece.freeze()
}

const CHUNK_LEN: usize = 64 << 10;

async fn back_up(
    vault: &Vault,
    pieces: impl Iterator<Item = (u64, Bytes)>,
    base: Option<&StreamRecord>,
) -> StreamRecord {
    let session = begin(vault).await;
    let mut writer = session.stream(name("vda"), 4 * GIB, base).await.unwrap();
    for (offset, bytes) in pieces {
        writer.write(offset, bytes).await.unwrap();
    }
    let (record, _) = writer.finish().await.unwrap();
    let point = point(session.id(), vec![record.clone()]);
    session.commit(point).await.unwrap();
    record
}

/// The limits are those of the project: 300 for a full backup of 4 GiB, 20 for 64 MiB of changes,
/// scattered as a random writer leaves them.
#[tokio::test(flavor = "multi_thread")]
async fn puts_are_few() {
    let metered = Arc::new(Metered::new(WithoutPacks(MemoryBackend::new())));
    let backend: Arc<dyn Backend> = metered.clone();
    let (vault, _) = Vault::create(backend, CreateOptions::new(key()))
        .await
        .unwrap();
    let puts = || metered.snapshot().of(Verb::Put);
    let plain = noise(1, 1 << 20);

    let before = puts();
    let all = (0..4 * GIB).step_by(1 << 20);
    let full = back_up(&vault, all.map(|at| (at, stamped(&plain, at, 0))), None).await;
    let after = puts();
    assert!(after.bytes - before.bytes > 4 * GIB, "all of it was sent");
    let sent = after.calls - before.calls;
    assert!(sent < 300, "{sent} PUTs for a full backup of 4 GiB");

    // Every 64th chunk: 1,024 of them.
    let changed = (0..4 * GIB).step_by(64 * CHUNK_LEN);
    // Of 16 in one frame no two have the same noise.
    let noises = plain.chunks(CHUNK_LEN).cycle();
    let pieces = changed
        .zip(noises)
        .map(|(at, noise)| (at, stamped(noise, at, 1)));
    back_up(&vault, pieces, Some(&full)).await;
    let again = puts();
    assert!(again.bytes - after.bytes > 64 << 20);
    let sent = again.calls - after.calls;
    assert!(sent < 20, "{sent} PUTs for 64 MiB of changes");
}

/// A read at a random place opens one frame: the nodes that lead there were read by the ones before.
#[tokio::test(flavor = "multi_thread")]
async fn small_reads_are_one_get_each() {
    let metered = Arc::new(Metered::new(MemoryBackend::new()));
    let backend: Arc<dyn Backend> = metered.clone();
    let options = CreateOptions::new(key());
    let (vault, _) = Vault::create(backend, options).await.unwrap();
    // Three leaves of 4 MiB.
    let plain = noise(1, 12 << 20);
    let point = support::back_up(&vault, &plain).await;
    let reader = vault.reader(&point.disks[0].stream).unwrap();
    let mut gets = Vec::new();
    for at in [3 << 20, 9 << 20, 5 << 20, 0, 11 << 20, 5 << 20] {
        let before = metered.snapshot().of(Verb::GetRange).calls;
        let read = reader.read_at(at as u64, 4096).await.unwrap();
        assert!(read == plain[at..at + 4096], "{at}");
        gets.push(metered.snapshot().of(Verb::GetRange).calls - before);
    }
    assert!(gets[0] <= 3, "root, leaf and data: {gets:?}");
    assert_eq!(gets[2..], [1, 1, 1, 0], "{gets:?}");
}
