//! Looking at the structure of a vault, and reading parts of it back: what is found, and that nothing
//! is read that need not be.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use support::{back_up, begin, key, memory_vault, noise, point, read_all, write_all};
use tresor_backend::wrap::{Fault, Faulty, Metered, ReadOnly, Verb};
use tresor_backend::{Backend, ErrorKind, MemoryBackend, ObjectMeta, ObjectName};
use tresor_model::{RecoveryPoint, StreamRecord};
use tresor_vault::{
    Choice, Coverage, CreateOptions, History, Learnt, ObjectsReport, Vault, check_structure,
    mark_damaged, plan_choice, verify_chosen,
};

async fn check(backend: &Arc<MemoryBackend>) -> ObjectsReport {
    let backend: Arc<dyn Backend> = backend.clone();
    check_structure(backend, |_| ()).await.unwrap()
}

async fn names(backend: &impl Backend, prefix: &str) -> BTreeSet<String> {
    let listed = backend.list(prefix).await.unwrap();
    let names = listed.iter().map(|meta| meta.name.as_str().to_owned());
    names.collect()
}

fn object(name: &str) -> ObjectName {
    ObjectName::new(name).unwrap()
}

/// The packs that a backup adds: its tree pack is the smallest.
async fn add(backend: &MemoryBackend, vault: &Vault, seed: u64) -> (RecoveryPoint, Vec<String>) {
    let before = names(backend, "packs/").await;
    let point = back_up(vault, &noise(seed, 4 << 20)).await;
    let mut added: Vec<ObjectMeta> = backend.list("packs/").await.unwrap();
    added.retain(|meta| !before.contains(meta.name.as_str()));
    added.sort_by_key(|meta| meta.size);
    let added = added.iter().map(|meta| meta.name.as_str().to_owned());
    (point, added.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_reads_no_pack_and_little_of_the_index() {
    let (backend, vault, _) = memory_vault().await;
    for seed in 1..4 {
        add(&backend, &vault, seed).await;
    }
    let listed = backend.list("").await.unwrap();
    let without = |prefix: &str| {
        let others = listed
            .iter()
            .filter(|meta| !meta.name.as_str().starts_with(prefix));
        others.map(|meta| meta.size).sum::<u64>()
    };
    let no_packs = Fault::new(ErrorKind::Io).named("packs/");
    let guarded = Faulty::new(backend.clone(), vec![no_packs.on(Verb::GetRange)]);
    let metered = Arc::new(Metered::new(ReadOnly::new(guarded)));
    let report = check_structure(metered.clone(), |_| ()).await.unwrap();
    assert!(report.damaged.is_empty(), "{:?}", report.damaged);
    assert_eq!(report.open_sessions, []);
    let usage = metered.snapshot();
    assert_eq!(usage.of(Verb::List).calls, 1);
    let runs = names(&*backend, "index/").await.len() as u64;
    assert_eq!(usage.of(Verb::GetRange).calls, runs);
    let packs = listed
        .iter()
        .filter(|meta| meta.name.as_str().starts_with("packs/"));
    assert_eq!(report.objects as usize, listed.len() - packs.count());
    assert!(report.bytes < without("packs/"), "{}", report.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_told_with_the_point_whose_it_is() {
    let (backend, vault, _) = memory_vault().await;
    let (first, packs) = add(&backend, &vault, 1).await;
    let (second, _) = add(&backend, &vault, 2).await;
    backend.delete(&object(&packs[0])).await.unwrap();
    let end = format!("sessions/{}.end", second.id.as_uuid().simple());
    backend.overwrite(&object(&end), "no end".into());
    let session = begin(&vault).await;
    let report = check(&backend).await;
    let found: Vec<_> = report
        .damaged
        .iter()
        .map(|damaged| (damaged.object.as_str(), damaged.point))
        .collect();
    assert_eq!(
        found,
        [
            (packs[0].as_str(), Some(first.id)),
            (end.as_str(), Some(second.id))
        ]
    );
    assert!(report.damaged[0].reason.contains("missing"));
    assert_eq!(report.open_sessions, [session.id()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_marks_and_strange_names_are_told() {
    let (backend, vault, _) = memory_vault().await;
    let (_, packs) = add(&backend, &vault, 1).await;
    let data = object(&packs[1]);
    let whole = backend.get(&data, u64::MAX).await.unwrap();
    backend.overwrite(&data, whole.slice(..whole.len() - 1));
    backend.put(&object("notes.txt"), "x".into()).await.unwrap();
    let report = check(&backend).await;
    assert_eq!(report.foreign, ["notes.txt"]);
    assert_eq!(report.damaged.len(), 1);
    let expected = format!("{} bytes instead of {}", whole.len() - 1, whole.len());
    assert!(report.damaged[0].reason.contains(&expected), "{report:?}");
    assert!(report.marked.is_empty());
    // Whoever stores the vault may leave word, and a backup then takes the pack for lost.
    let marked = mark_damaged(backend.clone(), [packs[1].as_str(), "index/no-pack"]).await;
    assert_eq!(marked.unwrap(), 1);
    assert_eq!(check(&backend).await.marked, [packs[1].clone()]);
    let content = noise(1, 4 << 20);
    let again = back_up(&vault, &content).await;
    assert!(read_all(&vault, &again.disks[0].stream).await.unwrap() == content);
}

/// Reads a choice and learns from it; gives what was read.
async fn read_part(
    backend: &Arc<Metered<MemoryBackend>>,
    choice: Choice,
    history: &mut History,
) -> (ObjectsReport, BTreeSet<String>) {
    let (mut learnt, mut chosen, mut good) = (Learnt::default(), BTreeSet::new(), Vec::new());
    let choose = |listed: &[ObjectMeta]| {
        learnt = Learnt::from_list(listed, history);
        chosen = plan_choice(choice, listed, history, 1);
        chosen.clone()
    };
    let read = verify_chosen(
        backend.clone(),
        choose,
        |name| good.push(name.to_owned()),
        |_| (),
    );
    let report = read.await.unwrap();
    learnt.verified = good;
    learnt.apply(history, Timestamp::now());
    (report, chosen)
}

async fn metered_vault() -> (Arc<Metered<MemoryBackend>>, Vault) {
    let backend = Arc::new(Metered::new(MemoryBackend::new()));
    let options = CreateOptions::new(key());
    let (vault, _) = Vault::create(backend.clone(), options).await.unwrap();
    (backend, vault)
}

#[tokio::test(flavor = "multi_thread")]
async fn since_last_reads_what_came_and_nothing_else() {
    let (backend, vault) = metered_vault().await;
    back_up(&vault, &noise(1, 4 << 20)).await;
    let mut history = History::new();
    let (report, chosen) = read_part(&backend, Choice::SinceLast, &mut history).await;
    assert_eq!(report.objects as usize, chosen.len());
    assert_eq!(report.bytes, vault.usage().await.unwrap().bytes);

    let before = vault.usage().await.unwrap().bytes;
    back_up(&vault, &noise(2, 1 << 20)).await;
    let new = vault.usage().await.unwrap().bytes - before;
    let used = backend.snapshot();
    let (report, _) = read_part(&backend, Choice::SinceLast, &mut history).await;
    assert_eq!(report.bytes, new);
    let now = backend.snapshot();
    let read: u64 = [Verb::Get, Verb::GetRange]
        .map(|verb| now.of(verb).bytes - used.of(verb).bytes)
        .iter()
        .sum();
    // Beside them the header, and footers of packs twice.
    assert!(read < new + 4096, "{read} of {new}");
    let (report, _) = read_part(&backend, Choice::SinceLast, &mut history).await;
    assert_eq!((report.objects, report.bytes), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_go_round_and_find_what_is_damaged_on_their_way() {
    let (backend, vault) = metered_vault().await;
    for seed in 1..6 {
        back_up(&vault, &noise(seed, 3 << 20)).await;
    }
    let names = names(&*backend, "packs/").await;
    let victim = names.iter().next().unwrap();
    let whole = backend.get(&object(victim), u64::MAX).await.unwrap();
    let mut bytes = whole.to_vec();
    bytes[100] ^= 1;
    backend.delete(&object(victim)).await.unwrap();
    backend.put(&object(victim), bytes.into()).await.unwrap();
    let mut history = History::new();
    let mut found = Vec::new();
    let share = Choice::Share("25%".parse().unwrap());
    for _ in 0..6 {
        let (report, _) = read_part(&backend, share, &mut history).await;
        assert!(report.bytes < vault.usage().await.unwrap().bytes / 2);
        for damaged in report.damaged {
            // Once it is marked, it takes no other's turn.
            mark_damaged(backend.clone(), [damaged.object.as_str()])
                .await
                .unwrap();
            found.push(damaged.object);
        }
    }
    assert_eq!(found, std::slice::from_ref(victim));
    let listed = backend.list("").await.unwrap();
    let coverage = Coverage::of(&listed, &history);
    let mark = backend.list("damaged/").await.unwrap()[0].size;
    let left = coverage.bytes - coverage.verified - whole.len() as u64;
    assert!(left <= mark, "{left}");
}

/// A second point in whose disk little has changed.
async fn two_points(vault: &Vault) -> [RecoveryPoint; 2] {
    // So many leaves that their nodes lie in several frames.
    let mut content = noise(1, 256 << 20);
    let first = back_up(vault, &content).await;
    content[20 << 20..(20 << 20) + 70_000].fill(7);
    let session = begin(vault).await;
    let base: &StreamRecord = &first.disks[0].stream;
    let (disk, _) = write_all(&session, "vda", &content, Some(base), 1 << 20)
        .await
        .unwrap();
    let mut second = point(session.id(), vec![disk]);
    second.parent = Some(first.id);
    session.commit(second.clone()).await.unwrap();
    [first, second]
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_new_point_only_what_is_new_in_its_manifest_is_read() {
    let (backend, vault) = metered_vault().await;
    let [first, second] = two_points(&vault).await;
    let cost = async |base: Option<&RecoveryPoint>| {
        // Nothing is cached yet.
        let vault = Vault::open(backend.clone(), &key()).await.unwrap();
        let before = backend.snapshot().of(Verb::GetRange);
        let report = vault.verify_manifests(&second, base).await.unwrap();
        assert_eq!((report.damaged_count, report.streams), (0, 1));
        let after = backend.snapshot().of(Verb::GetRange);
        after.bytes - before.bytes
    };
    let (with, without) = (cost(Some(&first)).await, cost(None).await);
    assert!(with < without, "{with} {without}");

    // A pack that both need: the new point's own part is whole.
    let packs = backend.list("packs/").await.unwrap();
    let largest = packs.iter().max_by_key(|meta| meta.size).unwrap();
    backend.delete(&largest.name).await.unwrap();
    let vault = Vault::open(backend.clone(), &key()).await.unwrap();
    let report = vault.verify_manifests(&second, Some(&first)).await.unwrap();
    assert_eq!(report.damaged_count, 0);
    let report = vault.verify_manifests(&second, None).await.unwrap();
    assert!(report.damaged_count > 0);
    assert_eq!(
        report.damaged_objects,
        BTreeSet::from([largest.name.as_str().to_owned()])
    );
}
