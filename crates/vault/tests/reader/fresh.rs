//! Vaults of random content, made here.

use std::sync::Arc;

use bytes::Bytes;
use tresor_backend::{Backend, LocalBackend};
use tresor_model::{Extent, StreamRecord};
use tresor_vault::{CreateOptions, Vault};

use crate::program::{self, Key};
use crate::support::{CHUNK, begin, key, name, noise, point};

/// Small and exact: numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) % limit
    }
}

/// One backup of a disk over its last one: some writes, some zeros.
async fn back_up_disk(
    session: &tresor_vault::WriteSession,
    disk: &str,
    size: u64,
    base: Option<&StreamRecord>,
    random: &mut Random,
) -> StreamRecord {
    let mut stream = session.stream(name(disk), size, base).await.unwrap();
    let mut at = random.below(16) * CHUNK;
    while at < size {
        let end = size.min(at + (1 + random.below(80)) * CHUNK);
        let len = (end - at) as usize;
        match random.below(4) {
            0 => stream.zero(Extent::between(at, end)).await.unwrap(),
            1 => {
                let text = format!("block {} ", random.below(9)).repeat(len / 8 + 1);
                let text = Bytes::from(text.into_bytes()).slice(..len);
                stream.write(at, text).await.unwrap();
            }
            _ => {
                let bytes = Bytes::from(noise(random.below(1 << 40), len));
                stream.write(at, bytes).await.unwrap();
            }
        }
        at = end + random.below(200) * CHUNK;
    }
    stream.finish().await.unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_of_random_content_is_read_alike() {
    let seed = std::env::var("TRESOR_SEED").map_or(7, |seed| seed.parse().unwrap());
    println!("TRESOR_SEED={seed}");
    let mut random = Random(seed | 1);
    let place = tempfile::tempdir().unwrap();
    let backend: Arc<dyn Backend> = Arc::new(LocalBackend::create(place.path()).await.unwrap());
    let (vault, recovery) = Vault::create(backend, CreateOptions::new(key()))
        .await
        .unwrap();
    // Level 0, 1 and 2 of the tree; a last chunk that is short; a disk of zeros.
    let sizes = [3 * CHUNK, 48 << 20, (260 << 20) + 512, 5 << 20];
    let mut bases = vec![None; sizes.len()];
    for _ in 0..3 {
        let session = begin(&vault).await;
        for (at, size) in sizes.into_iter().enumerate() {
            let disk = format!("vd{at}");
            let made = if at == 3 {
                let zeros = session.stream(name(&disk), size, None).await.unwrap();
                zeros.finish().await.unwrap().0
            } else {
                back_up_disk(&session, &disk, size, bases[at].as_ref(), &mut random).await
            };
            bases[at] = Some(made);
        }
        let disks = bases.iter().flatten().cloned().collect();
        let point = point(session.id(), disks);
        session.commit(point).await.unwrap();
    }
    let key = Key("--recovery-key", recovery.to_text().to_string());
    let read = program::both_read_alike(place.path(), &key, &vault).await;
    assert_eq!(read, (3, 12));
    program::says(place.path(), &key, &["verify"]);
}

/// It does not read what is damaged, and says which object that is.
#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_any_object_is_found() {
    let place = tempfile::tempdir().unwrap();
    let backend: Arc<dyn Backend> = Arc::new(LocalBackend::create(place.path()).await.unwrap());
    let (vault, recovery) = Vault::create(Arc::clone(&backend), CreateOptions::new(key()))
        .await
        .unwrap();
    let point = crate::support::back_up(&vault, &noise(3, 1 << 20)).await;
    vault.expire(point.id).await.unwrap();
    let key = Key("--recovery-key", recovery.to_text().to_string());
    program::says(place.path(), &key, &["verify"]);
    for (at, object) in backend.list("").await.unwrap().iter().enumerate() {
        let path = place.path().join(object.name.as_str());
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        let middle = (good.len() / 2).min(good.len() - 1);
        bad[middle] ^= 1 << (at % 8);
        std::fs::write(&path, &bad).unwrap();
        let output = program::run(place.path(), &key, &["verify"]);
        let said = String::from_utf8_lossy(&output.stderr);
        // A header that is another one is seen when the ring is opened; all else is named.
        assert_eq!(output.status.code(), Some(1), "{}", object.name.as_str());
        assert!(
            said.contains(object.name.as_str()),
            "{}: {said}",
            object.name.as_str()
        );
        std::fs::write(&path, &good).unwrap();
    }
}
