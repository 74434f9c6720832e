//! The tries. Each begins with a vault of its own.

use std::sync::Arc;

use bytes::Bytes;
use tresor_model::{SessionId, StreamRecord};
use tresor_vault::{KeyMaterial, Vault, verify_objects};
use tresor_vault_format::name;

use crate::holder::{Ability, Holder, Verdict};
use crate::hostile::Hostile;
use crate::scene::{HOST_NAME, SHARED_NAME, Scene, host_key, own_content, shared_content, write};
use crate::support::{CHUNK, key, noise, read_all};

pub(crate) async fn attempt(scene: &Scene, ability: Ability, holder: Holder) -> Verdict {
    let vault = scene.opened(holder).await;
    let vault = vault.as_ref();
    match ability {
        Ability::ListNames => list_names(scene, vault).await,
        Ability::ReadData => read_data(scene, vault).await,
        Ability::FindKnown => find_known(scene, vault).await,
        Ability::WritePoints => write_points(scene, holder, vault).await,
        Ability::ForgePoint => forge_point(scene, holder, vault).await,
        Ability::ChangeUnseen => change_unseen(scene, holder, vault).await,
        Ability::PoisonBackups => poison_backups(scene, holder).await,
        Ability::VerifyBytes => verify_bytes(scene, vault).await,
        Ability::ChangeKeys => change_keys(scene, holder, vault).await,
        Ability::Collect => collect(scene, vault).await,
    }
}

async fn list_names(scene: &Scene, vault: Option<&Vault>) -> Verdict {
    let Some(vault) = vault else {
        let own = scene.shows(HOST_NAME.as_bytes()).await;
        return Verdict::of(own, scene.shows(SHARED_NAME.as_bytes()).await);
    };
    let list = vault.points().await.unwrap();
    assert!(list.damaged.is_empty(), "{:?}", list.damaged);
    let lists = |name| list.points.iter().any(|point| point.vm_name == name);
    assert_eq!(list.points.len() + list.elsewhere, 2);
    Verdict::of(lists(HOST_NAME), lists(SHARED_NAME))
}

async fn reads(vault: &Vault, disk: &StreamRecord, content: &[u8]) -> bool {
    read_all(vault, disk)
        .await
        .is_ok_and(|read| read == content)
}

/// The records are handed to the holder: only the data must be out of reach.
async fn read_data(scene: &Scene, vault: Option<&Vault>) -> Verdict {
    let (own, shared) = (own_content(), shared_content());
    let Some(vault) = vault else {
        let own = scene.shows(&own[..64]).await;
        return Verdict::of(own, scene.shows(&shared[..64]).await);
    };
    let own = reads(vault, &scene.own.disks[0].stream, &own).await;
    Verdict::of(
        own,
        reads(vault, &scene.shared.disks[0].stream, &shared).await,
    )
}

/// By sending the bytes again; without a key by looking for their hash.
async fn find_known(scene: &Scene, vault: Option<&Vault>) -> Verdict {
    let mut found = Vec::new();
    for content in [own_content(), shared_content()] {
        found.push(match vault {
            Some(vault) => {
                let vm = (scene.own.vm, "probe");
                let sent = write(vault, SessionId::generate(), vm, &content).await;
                sent.unwrap().1 == 0
            }
            None => {
                let chunk = &content[..CHUNK as usize];
                scene.shows(blake3::hash(chunk).as_bytes()).await
            }
        });
    }
    Verdict::of(found[0], found[1])
}

/// Whether the owner lists a point of that session, and reads this content in it.
async fn owner_has(scene: &Scene, id: SessionId, content: &[u8]) -> bool {
    let list = scene.owner.points().await.unwrap();
    if !list.points.iter().any(|point| point.id == id.into()) {
        return false;
    }
    let point = scene.owner.point(id.into()).await.unwrap();
    reads(&scene.owner, &point.disks[0].stream, content).await
}

/// A point that is there, put again under another session's name.
async fn copy_end(scene: &Scene) -> Verdict {
    let (from, to) = (
        SessionId::from_uuid(*scene.shared.id.as_uuid()),
        SessionId::generate(),
    );
    let before = scene.owner.points().await.unwrap().points.len();
    let end = scene.objects().await[&name::session_end(from)].clone();
    scene.put(&name::session_end(to), end).await;
    let list = scene.owner.points().await.unwrap();
    let named = list.damaged.iter().any(|error| {
        let text = error.to_string();
        text.contains(&name::session_end(to))
    });
    match list.points.len() == before {
        true if named => Verdict::Seen,
        true => Verdict::Cannot,
        false => Verdict::Can,
    }
}

async fn write_points(scene: &Scene, holder: Holder, vault: Option<&Vault>) -> Verdict {
    if !holder.may_write() {
        return Verdict::Cannot;
    }
    let Some(vault) = vault else {
        return copy_end(scene).await;
    };
    let (id, content) = (SessionId::generate(), noise(5, 1 << 20));
    let written = write(vault, id, (scene.own.vm, HOST_NAME), &content).await;
    written.unwrap();
    assert!(owner_has(scene, id, &content).await);
    Verdict::of(true, vault.has_all_domains())
}

/// A newer point of the VM in the shared domain, with other content.
async fn forge_point(scene: &Scene, holder: Holder, vault: Option<&Vault>) -> Verdict {
    if !holder.may_write() {
        return Verdict::Cannot;
    }
    let Some(vault) = vault else {
        return copy_end(scene).await;
    };
    let (id, content) = (SessionId::generate(), noise(6, 1 << 20));
    let vm = (scene.shared.vm, SHARED_NAME);
    write(vault, id, vm, &content).await.unwrap();
    let list = scene.owner.points().await.unwrap();
    let theirs = list.points.iter().filter(|point| point.vm == vm.0);
    let newest = theirs.max_by_key(|point| point.age()).unwrap();
    let passes = newest.id == id.into() && owner_has(scene, id, &content).await;
    Verdict::of(passes, passes)
}

/// The shared point is replaced by other content under its own id, or removed.
async fn change_unseen(scene: &Scene, holder: Holder, vault: Option<&Vault>) -> Verdict {
    if !holder.may_write() {
        return Verdict::Cannot;
    }
    let victim = SessionId::from_uuid(*scene.shared.id.as_uuid());
    let Some(vault) = vault else {
        assert!(changed_bytes_are_seen(scene).await);
        remove_session(scene, victim).await;
        return unseen(scene, 1).await;
    };
    remove_session(scene, victim).await;
    let (vm, content) = ((scene.shared.vm, SHARED_NAME), noise(7, 1 << 20));
    write(vault, victim, vm, &content).await.unwrap();
    assert!(owner_has(scene, victim, &content).await);
    unseen(scene, 2).await
}

/// All that names the session, and the packs that only it has: those of its domain.
async fn remove_session(scene: &Scene, session: SessionId) {
    let digits = session.as_uuid().simple().to_string();
    for object in scene.objects().await.into_keys() {
        let of_domain = name::parse_pack(&object).is_some_and(|pack| pack.epoch() == 1);
        if object.contains(&digits) || of_domain {
            scene.delete(&object).await;
        }
    }
}

/// Whether nobody who looks sees anything, of so many points.
async fn unseen(scene: &Scene, points: usize) -> Verdict {
    let report = verify_objects(Arc::clone(&scene.backend) as _, |_| ()).await;
    let report = report.unwrap();
    let fresh = scene.opened(Holder::Shared).await.unwrap();
    let list = fresh.points().await.unwrap();
    let is_clean = report.damaged.is_empty() && report.open_sessions.is_empty();
    let mut is_clean = is_clean && list.damaged.is_empty() && list.points.len() == points;
    is_clean &= fresh.verify_keys().await.unwrap().is_empty();
    for point in &list.points {
        let read = fresh.verify_point(point.id, |_| ()).await.unwrap();
        is_clean &= read.damaged_count == 0;
    }
    if is_clean {
        Verdict::Can
    } else {
        Verdict::Seen
    }
}

/// The holder puts a pack and an index run that say that they hold what the victim stores next, and
/// puts other bytes into the victim's own packs.
async fn poison_backups(scene: &Scene, holder: Holder) -> Verdict {
    if !holder.may_write() {
        return Verdict::Cannot;
    }
    let lies = match holder {
        Holder::Writer => true,
        Holder::OwnDomain => lie_is_harmless(scene, &host_key(), false).await,
        // Whichever of the shared domain's keys it is, it opens the same ring.
        _ => lie_is_harmless(scene, &key(), true).await,
    };
    if !lies {
        return Verdict::Can;
    }
    replace_packs(scene).await;
    let (id, vm) = (SessionId::generate(), (scene.shared.vm, SHARED_NAME));
    write(&scene.owner, id, vm, &shared_content())
        .await
        .unwrap();
    assert!(!owner_has(scene, id, &shared_content()).await);
    let report = verify_objects(Arc::clone(&scene.backend) as _, |_| ()).await;
    match report.unwrap().damaged.is_empty() {
        true => Verdict::Can,
        false => Verdict::Seen,
    }
}

/// Whether a backup of the shared domain is whole though somebody claims to have stored it, and whether
/// the claim was marked, if it is one of the domain.
async fn lie_is_harmless(scene: &Scene, key: &KeyMaterial, is_heard: bool) -> bool {
    let next = noise(8, 1 << 20);
    let lie = Hostile::new(&scene.backend, key).await.plant(&next).await;
    let (id, vm) = (SessionId::generate(), (scene.shared.vm, SHARED_NAME));
    write(&scene.owner, id, vm, &next).await.unwrap();
    let marked = scene.owner.marked_packs().await.unwrap();
    let lie = name::parse_pack(&lie).unwrap().to_string();
    owner_has(scene, id, &next).await
        && scene.owner.read_around().is_empty()
        && marked.contains(&lie) == is_heard
}

/// Other bytes in the middle of each pack of chunks of the shared domain, of the same size.
async fn replace_packs(scene: &Scene) {
    for (object, good) in scene.objects().await {
        let is_shared = name::parse_pack(&object).is_some_and(|pack| pack.epoch() == 1);
        if !is_shared || good.len() < 1 << 19 {
            continue;
        }
        let mut bytes = good.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 64].copy_from_slice(&noise(9, 64));
        scene.delete(&object).await;
        scene.put(&object, bytes.into()).await;
    }
}

/// One bit of each object at a time, in its middle.
async fn changed_bytes_are_seen(scene: &Scene) -> bool {
    for (object, good) in scene.objects().await {
        let mut bytes = good.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        scene.delete(&object).await;
        scene.put(&object, bytes.into()).await;
        let report = verify_objects(Arc::clone(&scene.backend) as _, |_| ()).await;
        let is_seen = report.map_or(true, |report| !report.damaged.is_empty());
        scene.delete(&object).await;
        scene.put(&object, good).await;
        if !is_seen {
            return false;
        }
    }
    true
}

/// Without keys by hash; with them also by reading what the holder can open.
async fn verify_bytes(scene: &Scene, vault: Option<&Vault>) -> Verdict {
    let seen = changed_bytes_are_seen(scene).await;
    if let Some(vault) = vault {
        for point in vault.points().await.unwrap().points {
            let report = vault.verify_point(point.id, |_| ()).await.unwrap();
            assert_eq!(report.damaged_count, 0);
        }
    }
    Verdict::of(seen, seen)
}

/// A key that was made now, to be added.
fn fresh_key() -> KeyMaterial {
    KeyMaterial::KeyFile(b"new!".repeat(16).into())
}

async fn change_keys(scene: &Scene, holder: Holder, vault: Option<&Vault>) -> Verdict {
    let backend = || Arc::clone(&scene.backend) as _;
    let Some(vault) = vault else {
        return without_a_key(scene, holder).await;
    };
    let slot = vault.add_key_slot(&fresh_key(), "more").await.unwrap();
    let opened = Vault::open(backend(), &fresh_key()).await.unwrap();
    assert_eq!(opened.has_all_domains(), vault.has_all_domains());
    vault.remove_key_slot(slot).await.unwrap();
    assert!(Vault::open(backend(), &fresh_key()).await.is_err());
    Verdict::of(true, vault.rotate_data_key(None).await.is_ok())
}

/// After a point of each domain has expired.
async fn collect(scene: &Scene, vault: Option<&Vault>) -> Verdict {
    let Some(vault) = vault else {
        return Verdict::Cannot;
    };
    let before = scene.objects().await.len();
    for content in [noise(31, 1 << 20), noise(32, 1 << 20)] {
        let vm = (scene.own.vm, "probe");
        let id = SessionId::generate();
        write(vault, id, vm, &content).await.unwrap();
        vault.expire(id.into()).await.unwrap();
    }
    let options = tresor_vault::CollectOptions::default();
    let collected = vault.collect(&options, |_| ()).await;
    let owner = Vault::open(Arc::clone(&scene.backend) as _, &key()).await;
    let owner = owner.unwrap();
    assert!(reads(&owner, &scene.own.disks[0].stream, &own_content()).await);
    assert!(reads(&owner, &scene.shared.disks[0].stream, &shared_content()).await);
    // What is left of it: the objects of the plan, and a run of the index for each domain.
    let frees = scene.objects().await.len() <= before + 6;
    assert_eq!(collected.is_ok(), frees);
    Verdict::of(frees, frees)
}

/// A writer puts the slot and the ring of a vault that it made itself.
async fn without_a_key(scene: &Scene, holder: Holder) -> Verdict {
    if holder.may_write() {
        let own = ring_prefix(scene).await;
        let theirs = Scene::make().await;
        for (object, bytes) in theirs.objects().await {
            if object.starts_with("keys/") {
                scene.put(&object, bytes).await;
            }
        }
        scene
            .put(&format!("{own}00000007"), Bytes::from_static(b"not a ring"))
            .await;
    }
    let opens = Vault::open(Arc::clone(&scene.backend) as _, &fresh_key()).await;
    // Whoever has a key is not stopped by what is there now.
    let owner = Vault::open(Arc::clone(&scene.backend) as _, &key()).await;
    assert_eq!(owner.unwrap().points().await.unwrap().points.len(), 2);
    Verdict::of(opens.is_ok(), opens.is_ok())
}

/// What the generations of the owner's ring begin with: only that has a second one.
async fn ring_prefix(scene: &Scene) -> String {
    let objects = scene.objects().await;
    let mut newest = objects
        .keys()
        .filter(|object| object.starts_with("keys/ring-") && object.ends_with("-00000002"));
    let newest = newest.next().unwrap();
    newest[..newest.len() - 8].to_owned()
}
