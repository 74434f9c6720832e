//! Plans that somebody forged who can only put objects, collect across domains, and collect beside marks.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use support::{back_up, begin, eager, key, memory_vault, noise, point, read_all, write_all};
use tresor_backend::{Backend, MemoryBackend, ObjectName};
use tresor_model::{PointId, RecoveryPoint, SessionId, VaultId};
use tresor_vault::{CHUNK_SIZE, CollectReport, ErrorKind, KeyMaterial, Vault, verify_objects};
use tresor_vault_format::{MovedTo, PackId, Plan, PlanClaim, PlanVerdict, name};

const MIB: usize = 1 << 20;

async fn collect(vault: &Vault) -> CollectReport {
    vault.collect(&eager(), |_| ()).await.unwrap()
}

async fn open(backend: &Arc<MemoryBackend>) -> Vault {
    Vault::open(Arc::clone(backend) as _, &key()).await.unwrap()
}

async fn put(backend: &MemoryBackend, object: &str, bytes: Vec<u8>) {
    let name = ObjectName::new(object).unwrap();
    backend.put(&name, Bytes::from(bytes)).await.unwrap();
}

async fn packs(backend: &MemoryBackend) -> Vec<(PackId, u32)> {
    let listed = backend.list("packs/").await.unwrap();
    let packs = listed.iter().map(|meta| {
        let size = u32::try_from(meta.size).unwrap();
        (name::parse_pack(meta.name.as_str()).unwrap(), size)
    });
    let mut packs: Vec<_> = packs.collect();
    packs.sort_unstable();
    packs
}

/// Puts a plan, its claim and its verdict as anybody could.
async fn forge(backend: &MemoryBackend, vault: VaultId, plan: Plan) {
    let object = plan.encode();
    let claim = PlanClaim {
        vault,
        number: plan.number,
        collector: plan.collector,
        made_ms: 0,
        plan: *blake3::hash(&object).as_bytes(),
    };
    let verdict = PlanVerdict {
        vault,
        number: plan.number,
        keep_older: false,
        struck: Vec::new(),
    };
    put(backend, &name::plan(plan.number, plan.collector), object).await;
    put(backend, &name::plan_claim(plan.number), claim.encode()).await;
    put(backend, &name::plan_verdict(plan.number), verdict.encode()).await;
}

/// Whoever can put objects, a host that may only append among them, cannot make a collector delete what a
/// point needs: not its packs, not its session, not what runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_plan_deletes_nothing_that_is_needed() {
    for claims_moved in [false, true] {
        let (backend, vault, _) = memory_vault().await;
        let content = noise(1, 4 * MIB);
        let kept = back_up(&vault, &content).await;
        let dead = back_up(&vault, &noise(2, MIB)).await;
        vault.expire(dead.id).await.unwrap();
        let running = begin(&vault).await;
        let late = noise(3, MIB);
        let written = write_all(&running, "vda", &late, None, MIB).await.unwrap();

        let all = packs(&backend).await;
        let session = |point: &RecoveryPoint| SessionId::from_uuid(*point.id.as_uuid());
        let mut sessions = vec![session(&kept), session(&dead), running.id()];
        sessions.sort_unstable();
        // Each pack's parts are said to lie in the next one.
        let next = all.iter().cycle().skip(1);
        let mut moved: Vec<MovedTo> = all
            .iter()
            .zip(next)
            .filter(|_| claims_moved)
            .map(|((from, _), (to, size))| MovedTo {
                from: *from,
                to: *to,
                size: *size,
            })
            .collect();
        moved.sort_unstable();
        let plan = Plan {
            vault: vault.id(),
            number: 1,
            collector: SessionId::generate(),
            condemned: all.iter().map(|(pack, _)| *pack).collect(),
            moved,
            walked: sessions.clone(),
            dropped: sessions,
        };
        forge(&backend, vault.id(), plan).await;

        let collector = open(&backend).await;
        let waits = collect(&collector).await.resumed.unwrap();
        assert_eq!(waits.waiting, [running.id()], "for who began before it");
        let point = point(running.id(), vec![written.0]);
        running.commit(point.clone()).await.unwrap();
        collect(&collector).await;

        let again = open(&backend).await;
        let listed = again.points().await.unwrap();
        assert_eq!(listed.points.len(), 2, "{claims_moved}");
        for (point, content) in [(&kept, &content), (&point, &late)] {
            let read = read_all(&again, &point.disks[0].stream).await;
            assert!(read.is_ok_and(|read| read == *content), "{claims_moved}");
        }
        assert!(again.read_around().is_empty());
        // What nobody needs is free, whoever said so.
        let sessions = again.sessions().await.unwrap();
        assert!(!sessions.contains(&session(&dead)));
        assert!(packs(&backend).await.len() < all.len() + 2);
        let report = verify_objects(backend.clone(), |_| ()).await.unwrap();
        assert_eq!(report.damaged, vec![], "{claims_moved}");
    }
}

fn host_key() -> KeyMaterial {
    KeyMaterial::KeyFile(b"host".repeat(16).into())
}

/// The owner collects for everybody, with each domain's own keys; who has one domain collects for nobody.
#[tokio::test(flavor = "multi_thread")]
async fn each_domain_stays_readable_by_its_holder() {
    let (backend, owner, _) = memory_vault().await;
    owner.add_host_domain(&host_key(), "host7").await.unwrap();
    let opened = Vault::open(Arc::clone(&backend) as _, &host_key()).await;
    let host = opened.unwrap();
    let mut kept = Vec::new();
    for (seed, vault) in [(1, &owner), (2, &host)] {
        let mut content = noise(seed, 2 * MIB);
        let old = back_up(vault, &content).await;
        for at in (0..content.len()).step_by(2 * CHUNK_SIZE) {
            let new = noise(seed * 1000 + at as u64, CHUNK_SIZE);
            content[at..at + CHUNK_SIZE].copy_from_slice(&new);
        }
        let new = back_up(vault, &content).await;
        vault.expire(old.id).await.unwrap();
        kept.push((new, content));
    }
    let refused = host.collect(&eager(), |_| ()).await.unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::OwnerOnly), "{refused}");
    let refused = host.plan_collect(&eager(), |_| ()).await.unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::OwnerOnly), "{refused}");

    let report = collect(&owner).await;
    assert!(report.choice.unwrap().sparse_packs >= 2, "of both domains");
    let owner = open(&backend).await;
    let opened = Vault::open(Arc::clone(&backend) as _, &host_key()).await;
    let host = opened.unwrap();
    for ((point, content), vault) in kept.iter().zip([&owner, &host]) {
        let read = read_all(vault, &point.disks[0].stream).await;
        assert!(read.is_ok_and(|read| read == *content));
        assert!(vault.read_around().is_empty());
        // What is in rewritten packs is known to who writes in that domain, by its index.
        let session = begin(vault).await;
        let written = write_all(&session, "vda", content, None, MIB).await;
        assert_eq!(written.unwrap().1.new, 0);
        session.abort().await.unwrap();
    }
    let report = verify_objects(backend.clone(), |_| ()).await.unwrap();
    assert_eq!(report.damaged, vec![]);
}

/// What is deleted and can be brought back, what is pinned and what is held stays; what is ended goes with
/// all that was marked of it.
#[tokio::test(flavor = "multi_thread")]
async fn marks_are_kept_to() {
    let (backend, vault, _) = memory_vault().await;
    let mut points = Vec::new();
    for seed in 0..4 {
        let content = noise(10 + seed, MIB);
        points.push((back_up(&vault, &content).await.id, content));
    }
    let [deleted, held, pinned, ended] = [0, 1, 2, 3].map(|n: usize| points[n].0);
    let week = SignedDuration::from_hours(24 * 7);
    let until = Timestamp::now() + week;
    vault.delete_point(deleted, week).await.unwrap();
    vault.lock_point(held, until).await.unwrap();
    vault.pin(pinned).await.unwrap();
    vault.pin(ended).await.unwrap();
    vault.unpin(ended).await.unwrap();
    vault.expire(ended).await.unwrap();
    assert!(vault.expire(held).await.is_err());
    // By a program that knows no states.
    for point in [held, pinned] {
        let session = SessionId::from_uuid(*point.as_uuid());
        let mark = tresor_vault_format::ExpiryMark {
            vault: vault.id(),
            session,
            marked_ms: 0,
        };
        put(&backend, &name::expired(session), mark.encode()).await;
    }
    let report = collect(&vault).await;
    assert_eq!(report.choice.unwrap().sessions, 1);
    vault.undelete_point(deleted).await.unwrap();
    let again = open(&backend).await;
    let listed: Vec<PointId> = again
        .points()
        .await
        .unwrap()
        .points
        .iter()
        .map(|p| p.id)
        .collect();
    assert_eq!(listed.len(), 3);
    for (id, content) in points.iter().filter(|(id, _)| *id != ended) {
        let point = again.point(*id).await.unwrap();
        let read = read_all(&again, &point.disks[0].stream).await;
        assert!(read.is_ok_and(|read| read == *content));
    }
    let of_ended = ended.as_uuid().simple().to_string();
    let left = backend.list("").await.unwrap();
    assert!(
        !left
            .iter()
            .any(|meta| meta.name.as_str().contains(&of_ended))
    );
}

/// What a later backup stored again is in use by the older point; the mark goes when nothing is missed.
#[tokio::test(flavor = "multi_thread")]
async fn marks_of_damage_go_with_what_they_mark() {
    let (backend, vault, _) = memory_vault().await;
    let content = noise(1, 2 * MIB);
    let first = back_up(&vault, &content).await;
    let listed = backend.list("packs/").await.unwrap();
    let lost = listed.iter().max_by_key(|meta| meta.size).unwrap();
    backend.delete(&lost.name).await.unwrap();
    vault.mark_damaged([lost.name.as_str()]).await.unwrap();
    // The next backup stores it again: the first point is whole again by a detour.
    let vault = open(&backend).await;
    let second = back_up(&vault, &content).await;
    vault.expire(second.id).await.unwrap();
    collect(&vault).await;
    let vault = open(&backend).await;
    let read = read_all(&vault, &first.disks[0].stream).await;
    assert!(read.is_ok_and(|read| read == content), "the copy is in use");
    // The plan says where it is, so the pack that is gone is not missed any more.
    assert!(vault.read_around().is_empty());
    assert_eq!(vault.marked_packs().await.unwrap().len(), 0);
    vault.expire(first.id).await.unwrap();
    collect(&vault).await;
    assert_eq!(backend.list("packs/").await.unwrap().len(), 0);
    assert_eq!(vault.marked_packs().await.unwrap().len(), 0);
}
