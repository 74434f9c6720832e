//! What others can put beside the keys, and what of it counts; and points of two domains in one vault.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use support::{back_up, begin, key, memory_vault, name, noise, read_all, write_all};
use tresor_backend::{Backend, MemoryBackend, ObjectName};
use tresor_vault::{ErrorKind, KeyMaterial, Vault, verify_objects};
use tresor_vault_format::{DataKey, DomainId, DomainKeys, KeyRing, KeySlot, Secret};

const MIB: usize = 1 << 20;

fn host_key() -> KeyMaterial {
    KeyMaterial::KeyFile(b"host".repeat(16).into())
}

async fn open(backend: &Arc<MemoryBackend>, key: &KeyMaterial) -> tresor_vault::Result<Vault> {
    Vault::open(Arc::clone(backend) as _, key).await
}

async fn get(backend: &MemoryBackend, object: &str) -> Bytes {
    let name = ObjectName::new(object).unwrap();
    backend.get(&name, 1 << 20).await.unwrap()
}

async fn put(backend: &MemoryBackend, object: &str, bytes: impl Into<Bytes>) {
    let name = ObjectName::new(object).unwrap();
    backend.put(&name, bytes.into()).await.unwrap();
}

async fn delete(backend: &MemoryBackend, object: &str) {
    backend
        .delete(&ObjectName::new(object).unwrap())
        .await
        .unwrap();
}

async fn names(backend: &MemoryBackend, prefix: &str) -> Vec<String> {
    let listed = backend.list(prefix).await.unwrap();
    let names = listed.iter().map(|meta| meta.name.as_str().to_owned());
    names.collect()
}

/// `keys/ring-<id>-` of the vault's own ring, when there is no other.
async fn ring(backend: &MemoryBackend) -> String {
    let first = names(backend, "keys/ring-").await.remove(0);
    first[..first.len() - 8].to_owned()
}

/// The good objects of another vault under names of this one: each has a good check.
#[tokio::test]
async fn a_ring_that_does_not_open_stops_nobody() {
    let (backend, vault, _) = memory_vault().await;
    let (other, _, _) = memory_vault().await;
    let content = noise(1, MIB);
    let point = back_up(&vault, &content).await;
    let (own, foreign) = (ring(&backend).await, ring(&other).await);
    let foreign = get(&other, &format!("{foreign}00000001")).await;
    for (generation, bytes) in [
        ("00000002", foreign.clone()),
        ("00000003", Bytes::from_static(b"garbage")),
        ("ffffffff", foreign),
    ] {
        put(&backend, &format!("{own}{generation}"), bytes).await;
    }
    put(&backend, &format!("{own}zz"), "no generation").await;

    let fresh = open(&backend, &key()).await.unwrap();
    let found = fresh.point(point.id).await.unwrap();
    let read = read_all(&fresh, &found.disks[0].stream).await.unwrap();
    assert_eq!(read, content);
    let named: Vec<_> = fresh.verify_keys().await.unwrap();
    let named: Vec<_> = named.iter().map(ToString::to_string).collect();
    assert_eq!(named.len(), 4, "{named:?}");
    for generation in ["00000002", "00000003", "ffffffff", "zz"] {
        let object = format!("{own}{generation}");
        assert!(named.iter().any(|text| text.contains(&object)), "{object}");
    }

    // Each of them may be a damaged ring that gave a number away.
    assert_eq!(fresh.rotate_data_key(None).await.unwrap(), 6);
    let ours = format!("{own}00000004");
    assert!(names(&backend, "keys/ring-").await.contains(&ours));
    let newest = open(&backend, &key()).await.unwrap();
    back_up(&newest, &noise(2, MIB)).await;
    let packs = names(&backend, "packs/").await;
    assert!(
        packs.iter().any(|pack| pack.ends_with("00000006")),
        "{packs:?}"
    );
    assert!(fresh.points().await.unwrap().damaged.is_empty());
}

#[tokio::test]
async fn a_pack_of_a_made_up_number_stops_nobody() {
    let (backend, vault, _) = memory_vault().await;
    let made_up = "packs/ab/ababababababababababababffffffff";
    put(&backend, made_up, "sealed").await;
    assert_eq!(vault.rotate_data_key(None).await.unwrap(), 2);
    let fresh = open(&backend, &key()).await.unwrap();
    let content = noise(3, MIB);
    let point = back_up(&fresh, &content).await;
    let read = read_all(&fresh, &point.disks[0].stream).await.unwrap();
    assert_eq!(read, content);
    let strange = fresh.verify_keys().await.unwrap();
    assert!(
        matches!(strange[0].kind(), ErrorKind::KeyMissing { object, epoch: u32::MAX } if object == made_up),
        "{strange:?}"
    );
    let report = verify_objects(backend as _, |_| {}).await.unwrap();
    assert_eq!(report.damaged.len(), 1, "{:?}", report.damaged);
}

/// The newest ring is hidden, keys are rotated meanwhile, and then it is there again.
#[tokio::test]
async fn a_ring_that_comes_back_still_counts() {
    let (backend, vault, _) = memory_vault().await;
    vault.rotate_data_key(None).await.unwrap();
    let second = open(&backend, &key()).await.unwrap();
    let point = back_up(&second, &noise(4, MIB)).await;
    let newest = format!("{}00000002", ring(&backend).await);
    let hidden = get(&backend, &newest).await;
    delete(&backend, &newest).await;
    // One name is taken by a rotation that knows nothing of it.
    let cheated = open(&backend, &key()).await.unwrap();
    assert_eq!(cheated.rotate_data_key(None).await.unwrap(), 3);
    assert_eq!(cheated.rotate_data_key(None).await.unwrap(), 4);
    delete(&backend, &newest).await;
    put(&backend, &newest, hidden).await;

    let fresh = open(&backend, &key()).await.unwrap();
    let found = fresh.point(point.id).await.unwrap();
    let read = read_all(&fresh, &found.disks[0].stream).await.unwrap();
    assert_eq!(read, noise(4, MIB));
    assert!(fresh.verify_keys().await.unwrap().is_empty());
    assert!(cheated.points().await.unwrap().damaged.is_empty());
}

/// A host writes into its own ring that it has the shared domain: the owner gives it nothing more.
#[tokio::test]
async fn a_host_that_claims_the_shared_domain_gets_none_of_its_keys() {
    let (backend, owner, _) = memory_vault().await;
    let host = owner.add_host_domain(&host_key(), "host7").await.unwrap();
    let slot = get(&backend, &format!("keys/slot-{}", host.slot.simple())).await;
    let slot = KeySlot::decode(&slot).unwrap();
    let KeyMaterial::KeyFile(secret) = host_key() else {
        unreachable!()
    };
    let master = slot.unwrap(&secret).unwrap();
    let prefix = format!("keys/ring-{}-", host.ring.simple());
    let bytes = get(&backend, &format!("{prefix}00000001")).await;
    let (mut header, mut theirs) = KeyRing::decode(&bytes, &master).unwrap();
    let shared = DomainId([0; 16]);
    theirs.domains.insert(
        0,
        DomainKeys {
            domain: shared,
            root: Secret([1; 32]),
        },
    );
    theirs.keys.push(DataKey {
        epoch: 9,
        domain: shared,
        key: Secret([2; 32]),
    });
    header.generation = 2;
    let forged = theirs.encode(&header, &master);
    put(&backend, &format!("{prefix}00000002"), forged).await;

    assert_eq!(owner.rotate_data_key(Some(host.ring)).await.unwrap(), 3);
    let newest = get(&backend, &format!("{prefix}00000003")).await;
    let (_, ring) = KeyRing::decode(&newest, &master).unwrap();
    let given: Vec<_> = ring.keys.iter().map(|key| key.epoch).collect();
    assert_eq!(given, [2, 3]);
    assert!(ring.domains.iter().all(|keys| keys.domain != shared));
}

/// Moving a VM between domains, there and back: nothing of the other domain is taken over.
#[tokio::test]
async fn nothing_is_built_on_a_point_of_another_domain() {
    let (backend, owner, _) = memory_vault().await;
    owner.add_host_domain(&host_key(), "host7").await.unwrap();
    let host = open(&backend, &host_key()).await.unwrap();
    let content = noise(5, 3 * MIB);
    let shared = back_up(&owner, &content).await;
    let own = back_up(&host, &content).await;
    for (vault, ours, others) in [(&owner, &shared, &own), (&host, &own, &shared)] {
        let seen = owner.point(others.id).await.unwrap();
        assert!(vault.can_build_on(ours) && !vault.can_build_on(&seen));
        let session = begin(vault).await;
        let base = &others.disks[0].stream;
        let refused = session.stream(name("vda"), base.size, Some(base)).await;
        let refused = refused.err().unwrap();
        assert!(
            matches!(refused.kind(), ErrorKind::BaseElsewhere { stream } if stream.as_str() == "vda"),
            "{refused}"
        );
        // Without it all is stored in this domain, and its holder reads all of it.
        let (disk, _) = write_all(&session, "vda", &content, None, MIB)
            .await
            .unwrap();
        let moved = support::point(session.id(), vec![disk]);
        session.commit(moved.clone()).await.unwrap();
        let opens = if vault.has_all_domains() {
            key()
        } else {
            host_key()
        };
        let fresh = open(&backend, &opens).await.unwrap();
        let read = read_all(&fresh, &moved.disks[0].stream).await.unwrap();
        assert_eq!(read, content);
        assert!(vault.can_build_on(&moved));
    }
    // Zeros are of no domain.
    let session = begin(&host).await;
    let zeros = session
        .stream(name("vda"), 1 << 20, None)
        .await
        .unwrap()
        .finish()
        .await
        .unwrap()
        .0;
    session.abort().await.unwrap();
    let empty = support::point(tresor_model::SessionId::generate(), vec![zeros]);
    assert!(owner.can_build_on(&empty) && host.can_build_on(&empty));
}

/// A base of a key that was made after the writer opened the vault is looked up, not refused.
#[tokio::test]
async fn a_base_of_a_newer_key_of_the_same_domain_is_good() {
    let (backend, vault, _) = memory_vault().await;
    let before = open(&backend, &key()).await.unwrap();
    vault.rotate_data_key(None).await.unwrap();
    let newer = open(&backend, &key()).await.unwrap();
    let content = noise(6, 2 * MIB);
    let point = back_up(&newer, &content).await;
    let session = begin(&before).await;
    let base = &point.disks[0].stream;
    let stream = session.stream(name("vda"), base.size, Some(base)).await;
    let (disk, _) = stream.unwrap().finish().await.unwrap();
    assert_eq!(read_all(&before, &disk).await.unwrap(), content);
    let missing = {
        let newest = format!("{}00000002", ring(&backend).await);
        delete(&backend, &newest).await;
        let cheated = open(&backend, &key()).await.unwrap();
        let session = begin(&cheated).await;
        session
            .stream(name("vda"), base.size, Some(base))
            .await
            .err()
            .unwrap()
    };
    assert!(
        matches!(missing.kind(), ErrorKind::KeyMissing { epoch: 2, .. }),
        "{missing}"
    );
}
