//! Slots, rotation and domains: what each key opens, and what it does not.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use std::sync::Arc;

use support::{back_up, begin, key, memory_vault, noise, read_all, write_all};
use tresor_backend::{Backend, MemoryBackend, ObjectName};
use tresor_vault::{ErrorKind, KeyMaterial, SlotKey, Vault, verify_objects};

const MIB: usize = 1 << 20;

fn file(text: &str) -> KeyMaterial {
    KeyMaterial::KeyFile(text.repeat(16).into_bytes().into())
}

fn passphrase(text: &str) -> KeyMaterial {
    KeyMaterial::Passphrase(text.to_owned().into())
}

async fn open(backend: &Arc<MemoryBackend>, key: &KeyMaterial) -> tresor_vault::Result<Vault> {
    Vault::open(Arc::clone(backend) as _, key).await
}

async fn names(backend: &MemoryBackend, prefix: &str) -> Vec<String> {
    let listed = backend.list(prefix).await.unwrap();
    listed
        .iter()
        .map(|meta| meta.name.as_str().to_owned())
        .collect()
}

/// Bytes of this content that were not known.
async fn stored_for(vault: &Vault, content: &[u8]) -> u64 {
    let session = begin(vault).await;
    let (disk, stats) = write_all(&session, "vda", content, None, MIB)
        .await
        .unwrap();
    let point = support::point(session.id(), vec![disk]);
    session.commit(point).await.unwrap();
    stats.new
}

#[tokio::test]
async fn slots_are_listed_added_and_removed() {
    let (backend, vault, recovery) = memory_vault().await;
    let added = vault
        .add_key_slot(&passphrase("correct horse"), "laptop")
        .await
        .unwrap();
    let slots = vault.key_slots().await.unwrap();
    assert!(slots.damaged.is_empty());
    let shown: Vec<_> = slots
        .slots
        .iter()
        .map(|slot| (slot.key, slot.in_use))
        .collect();
    let expected = [
        (SlotKey::KeyFile, true),
        (SlotKey::Recovery, false),
        (SlotKey::Passphrase, false),
    ];
    assert_eq!(shown, expected);

    // The one in use stays; what another key opened may be removed by it.
    let mine = slots.slots[0].id;
    let kept = vault.remove_key_slot(mine).await.unwrap_err();
    assert!(
        matches!(kept.kind(), ErrorKind::SlotNeeded { is_last: false, .. }),
        "{kept}"
    );
    let by_recovery = KeyMaterial::Recovery(recovery.to_text().into());
    let other = open(&backend, &by_recovery).await.unwrap();
    other.remove_key_slot(mine).await.unwrap();
    other.remove_key_slot(added).await.unwrap();
    for gone in [key(), passphrase("correct horse")] {
        let refused = open(&backend, &gone).await.err().unwrap();
        assert_eq!(refused.kind(), &ErrorKind::KeyRejected);
    }
    // The last one stays, whoever asks.
    let last = slots.slots[1].id;
    let kept = vault.remove_key_slot(last).await.unwrap_err();
    assert!(
        matches!(kept.kind(), ErrorKind::SlotNeeded { is_last: true, .. }),
        "{kept}"
    );
    let unknown = vault.remove_key_slot(added).await.unwrap_err();
    assert!(
        matches!(unknown.kind(), ErrorKind::SlotNotFound { .. }),
        "{unknown}"
    );
}

/// What a removal cannot undo.
#[tokio::test]
async fn a_copy_of_a_removed_slot_still_opens() {
    let (backend, vault, _) = memory_vault().await;
    let lent = vault.add_key_slot(&file("lent"), "lent").await.unwrap();
    let object = ObjectName::new(format!("keys/slot-{}", lent.simple())).unwrap();
    let copy = backend.get(&object, 1 << 16).await.unwrap();
    vault.remove_key_slot(lent).await.unwrap();
    assert!(open(&backend, &file("lent")).await.is_err());
    backend.put(&object, copy).await.unwrap();
    open(&backend, &file("lent")).await.unwrap();
}

#[tokio::test]
async fn a_rotation_changes_the_key_and_not_the_data() {
    let (backend, vault, _) = memory_vault().await;
    let content = noise(1, 4 * MIB);
    let before = back_up(&vault, &content).await;
    let reader = open(&backend, &key()).await.unwrap();
    let packs = names(&backend, "packs/").await;
    assert_eq!(vault.rotate_data_key(None).await.unwrap(), 2);
    assert_eq!(names(&backend, "packs/").await, packs);

    // A session of a vault that was opened before uses the key it began with.
    back_up(&vault, &noise(2, MIB)).await;
    assert!(
        names(&backend, "packs/")
            .await
            .iter()
            .all(|name| name.ends_with("00000001"))
    );
    let fresh = open(&backend, &key()).await.unwrap();
    assert_eq!(
        stored_for(&fresh, &content).await,
        0,
        "known chunks stay known"
    );
    let after = back_up(&fresh, &noise(3, MIB)).await;
    let newer = names(&backend, "packs/").await;
    assert!(
        newer.iter().any(|name| name.ends_with("00000002")),
        "{newer:?}"
    );

    // Who had the vault open before opens the ring again: to list, to read, to write.
    let list = reader.points().await.unwrap();
    assert_eq!((list.points.len(), list.damaged.len()), (4, 0));
    let other = open(&backend, &key()).await.unwrap();
    for vault in [&reader, &other, &vault] {
        let point = vault.point(after.id).await.unwrap();
        assert_eq!(
            read_all(vault, &point.disks[0].stream).await.unwrap(),
            noise(3, MIB)
        );
        let old = vault.point(before.id).await.unwrap();
        assert_eq!(
            read_all(vault, &old.disks[0].stream).await.unwrap(),
            content
        );
    }
    assert_eq!(stored_for(&vault, &noise(3, MIB)).await, 0);
}

#[tokio::test]
async fn a_point_of_a_newer_key_is_read_without_a_list_before() {
    let (backend, vault, _) = memory_vault().await;
    let reader = open(&backend, &key()).await.unwrap();
    vault.rotate_data_key(None).await.unwrap();
    let fresh = open(&backend, &key()).await.unwrap();
    let point = back_up(&fresh, &noise(5, MIB)).await;
    let found = reader.point(point.id).await.unwrap();
    assert_eq!(
        read_all(&reader, &found.disks[0].stream).await.unwrap(),
        noise(5, MIB)
    );
}

#[tokio::test]
async fn rotations_that_race_all_count() {
    let (backend, vault, _) = memory_vault().await;
    let second = open(&backend, &key()).await.unwrap();
    let third = open(&backend, &key()).await.unwrap();
    let (a, b, c) = tokio::join!(
        vault.rotate_data_key(None),
        second.rotate_data_key(None),
        third.rotate_data_key(None)
    );
    let mut numbers = [a.unwrap(), b.unwrap(), c.unwrap()];
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3, 4]);
    assert_eq!(names(&backend, "keys/ring-").await.len(), 4);
    let fresh = open(&backend, &key()).await.unwrap();
    back_up(&fresh, &noise(6, MIB)).await;
    let packs = names(&backend, "packs/").await;
    assert!(
        packs.iter().all(|name| name.ends_with("00000004")),
        "{packs:?}"
    );
}

/// Rollback: what the storage does not show is named, and its number is not given out again.
#[tokio::test]
async fn a_hidden_ring_is_noticed() {
    let (backend, vault, _) = memory_vault().await;
    vault.rotate_data_key(None).await.unwrap();
    let fresh = open(&backend, &key()).await.unwrap();
    back_up(&fresh, &noise(7, MIB)).await;
    let newest = names(&backend, "keys/ring-").await.pop().unwrap();
    backend
        .delete(&ObjectName::new(newest).unwrap())
        .await
        .unwrap();
    let cheated = open(&backend, &key()).await.unwrap();
    let list = cheated.points().await.unwrap();
    assert!(list.points.is_empty());
    assert!(matches!(
        list.damaged[0].kind(),
        ErrorKind::KeyMissing { epoch: 2, .. }
    ));
    let strange = cheated.verify_keys().await.unwrap();
    assert!(
        matches!(strange[0].kind(), ErrorKind::KeyMissing { epoch: 2, .. }),
        "{strange:?}"
    );
    assert_eq!(cheated.rotate_data_key(None).await.unwrap(), 3);
}

#[tokio::test]
async fn a_host_with_a_domain_of_its_own_sees_its_own() {
    let (backend, owner, _) = memory_vault().await;
    let content = noise(8, 2 * MIB);
    let shared = back_up(&owner, &content).await;
    owner.add_host_domain(&file("host"), "host7").await.unwrap();
    let host = open(&backend, &file("host")).await.unwrap();
    assert!(owner.has_all_domains() && !host.has_all_domains());

    // It neither finds nor reads what others stored.
    assert_eq!(host.points().await.unwrap().elsewhere, 1);
    let locked = host.point(shared.id).await.unwrap_err();
    assert!(
        matches!(locked.kind(), ErrorKind::KeyMissing { epoch: 1, .. }),
        "{locked}"
    );
    let stolen = read_all(&host, &shared.disks[0].stream).await.unwrap_err();
    assert!(stolen.to_string().contains("key"), "{stolen}");
    assert!(
        stored_for(&host, &content).await >= 2 * MIB as u64,
        "stored again"
    );
    // It finds its own, and the others do not find that.
    assert_eq!(stored_for(&host, &content).await, 0);
    let secret = noise(9, MIB);
    let theirs = back_up(&host, &secret).await;
    let fresh = open(&backend, &key()).await.unwrap();
    assert!(stored_for(&fresh, &secret).await >= MIB as u64);

    // The owner reads all of them, also who had the vault open before; without keys all is checked.
    for owner in [&owner, &fresh] {
        let list = owner.points().await.unwrap();
        assert_eq!(
            (list.points.len(), list.damaged.len(), list.elsewhere),
            (5, 0, 0)
        );
        let point = owner.point(theirs.id).await.unwrap();
        assert_eq!(
            read_all(owner, &point.disks[0].stream).await.unwrap(),
            secret
        );
    }
    assert_eq!(host.points().await.unwrap().points.len(), 3);
    let report = verify_objects(Arc::clone(&backend) as _, |_| {})
        .await
        .unwrap();
    assert!(report.damaged.is_empty(), "{:?}", report.damaged);
}

#[tokio::test]
async fn a_hosts_key_is_rotated_by_the_owner_alone() {
    let (backend, owner, _) = memory_vault().await;
    let domain = owner.add_host_domain(&file("host"), "host7").await.unwrap();
    let host = open(&backend, &file("host")).await.unwrap();
    back_up(&host, &noise(1, MIB)).await;
    for refused in [
        host.rotate_data_key(None).await.err(),
        host.rotate_data_key(Some(domain.ring)).await.err(),
        host.add_host_domain(&file("more"), "more").await.err(),
    ] {
        assert_eq!(refused.unwrap().kind(), &ErrorKind::OwnerOnly);
    }
    assert_eq!(owner.rotate_data_key(Some(domain.ring)).await.unwrap(), 3);
    let fresh = open(&backend, &file("host")).await.unwrap();
    assert_eq!(stored_for(&fresh, &noise(1, MIB)).await, 0);
    let point = back_up(&fresh, &noise(2, MIB)).await;
    let packs = names(&backend, "packs/").await;
    assert!(
        packs.iter().any(|name| name.ends_with("00000003")),
        "{packs:?}"
    );
    for vault in [&host, &owner] {
        assert_eq!(vault.point(point.id).await.unwrap().id, point.id);
        assert!(vault.points().await.unwrap().damaged.is_empty());
    }
    let nobodys = owner
        .rotate_data_key(Some(uuid::Uuid::nil()))
        .await
        .unwrap_err();
    assert_eq!(nobodys.kind(), &ErrorKind::KeyRejected);
}

/// By the number alone, also by who has had the vault open since before it was given.
#[tokio::test]
async fn the_owner_tells_domains_by_numbers() {
    let (backend, owner, _) = memory_vault().await;
    let before = open(&backend, &key()).await.unwrap();
    let domain = owner.add_host_domain(&file("host"), "host7").await.unwrap();
    let host = open(&backend, &file("host")).await.unwrap();
    let theirs = owner.domain_of_host(domain.ring).unwrap();
    for vault in [&owner, &before] {
        assert_eq!(vault.domain_of_number(2).await.unwrap(), Some(theirs));
        let shared = vault.domain_of_number(1).await.unwrap();
        assert!(shared.is_some() && shared != Some(theirs));
        assert_eq!(vault.domain_of_number(3).await.unwrap(), None);
    }
    assert_eq!(host.domain_of_number(1).await.unwrap(), None);
    let refused = host.domain_of_host(domain.ring).unwrap_err();
    assert_eq!(refused.kind(), &ErrorKind::OwnerOnly);
}

/// The index cache of a machine with two keys: each domain has a table of its own.
#[tokio::test]
async fn two_domains_share_no_index_cache() {
    let cache = tempfile::tempdir().unwrap();
    let (backend, owner, _) = memory_vault().await;
    owner.add_host_domain(&file("host"), "host7").await.unwrap();
    let host = open(&backend, &file("host")).await.unwrap();
    let content = noise(4, 2 * MIB);
    for (vault, stored) in [
        (&owner, true),
        (&host, true),
        (&owner, false),
        (&host, false),
    ] {
        let id = tresor_model::SessionId::generate();
        let mut options = tresor_vault::SessionOptions::new(id);
        options.index_cache = Some(cache.path().to_owned());
        let session = vault.begin_session(options).await.unwrap();
        let (disk, stats) = write_all(&session, "vda", &content, None, MIB)
            .await
            .unwrap();
        session
            .commit(support::point(id, vec![disk]))
            .await
            .unwrap();
        assert_eq!(stats.new > 0, stored);
    }
    assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 2);
}
