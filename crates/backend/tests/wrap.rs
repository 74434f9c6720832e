//! What each wrapper adds.
#![expect(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

use std::num::NonZeroU64;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tresor_backend::wrap::{
    Backoff, Fault, Faulty, Kept, Metered, ReadOnly, Retrying, Throttled, Verb, VerbUsage,
};
use tresor_backend::{Backend, ErrorKind, MemoryBackend, ObjectName};

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

fn ours() -> Bytes {
    Bytes::from_static(b"ours")
}

fn kind<T>(outcome: Result<T, tresor_backend::Error>) -> Option<ErrorKind> {
    outcome.err().map(|error| error.kind())
}

#[tokio::test]
async fn metered_counts_calls_failures_and_bytes() {
    let backend = Metered::new(MemoryBackend::new());
    backend.put(&name("a"), ours()).await.unwrap();
    backend.put(&name("a"), ours()).await.unwrap_err();
    backend.get(&name("a"), 4).await.unwrap();
    backend.get_range(&name("a"), 1..3).await.unwrap();
    backend.list("").await.unwrap();
    let usage = backend.snapshot();
    for (verb, calls, failures, bytes) in [
        (Verb::Put, 2, 1, 4),
        (Verb::Get, 1, 0, 4),
        (Verb::GetRange, 1, 0, 2),
        (Verb::List, 1, 0, 0),
        (Verb::Stat, 0, 0, 0),
    ] {
        let want = VerbUsage {
            calls,
            failures,
            bytes,
        };
        assert_eq!(usage.of(verb), want, "{verb:?}");
    }
}

#[tokio::test]
async fn read_only_refuses_every_change() {
    let inner = MemoryBackend::new();
    inner.put(&name("a"), ours()).await.unwrap();
    let backend = ReadOnly::new(inner);
    let denied = Some(ErrorKind::Denied);
    assert_eq!(kind(backend.put(&name("b"), ours()).await), denied);
    assert_eq!(kind(backend.delete(&name("a")).await), denied);
    assert_eq!(kind(backend.settle("").await), denied);
    assert_eq!(kind(backend.sweep(Duration::ZERO).await), denied);
    assert_eq!(backend.get(&name("a"), 4).await.unwrap(), ours());
    assert_eq!(backend.get_range(&name("a"), 1..2).await.unwrap(), "u");
    assert_eq!(backend.stat(&name("a")).await.unwrap().size, 4);
    assert_eq!(backend.list("").await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn throttled_keeps_to_the_rate() {
    let rate = NonZeroU64::new(1000).unwrap();
    let backend = Throttled::new(MemoryBackend::new(), rate);
    let begun = Instant::now();
    for nth in 0..101 {
        let body = Bytes::from(vec![0; 500]);
        backend.put(&name(&format!("{nth}")), body).await.unwrap();
    }
    // 100 bodies of half a second each were paid for before the last one's turn. The clock is
    // the runtime's, which rounds sleeps up to milliseconds.
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_secs(49) && took < Duration::from_secs(52),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn retrying_is_bounded_and_only_for_transient_kinds() {
    for (fault, calls) in [
        (ErrorKind::Unavailable, 4),
        (ErrorKind::Io, 1),
        (ErrorKind::Full, 1),
    ] {
        let faulty = Faulty::new(MemoryBackend::new(), vec![Fault::new(fault).on(Verb::Stat)]);
        let metered = std::sync::Arc::new(Metered::new(faulty));
        let backoff = Backoff {
            attempts: 4,
            ..Backoff::default()
        };
        let backend = Retrying::new(metered.clone(), backoff);
        let begun = Instant::now();
        assert_eq!(kind(backend.stat(&name("a")).await), Some(fault));
        assert_eq!(metered.snapshot().of(Verb::Stat).calls, calls);
        // 200 + 400 + 800 ms of pauses, or none.
        let pauses = if calls == 1 { 0 } else { 1400 };
        assert!(begun.elapsed() >= Duration::from_millis(pauses));
    }
}

/// A put whose answer is lost: the content tells whose object is there.
#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_resolved_by_content() {
    let lost = || Fault::new(ErrorKind::Unavailable).on(Verb::Put).calls(0..1);
    for (there, fault, want) in [
        (None, lost(), None),
        (None, lost().after_effect(), None),
        (Some("ours"), lost(), None),
        (Some("else"), lost(), Some(ErrorKind::AlreadyExists)),
        (
            Some("longer than ours"),
            lost(),
            Some(ErrorKind::AlreadyExists),
        ),
        (
            Some("ours"),
            lost().calls(9..10),
            Some(ErrorKind::AlreadyExists),
        ),
    ] {
        let said = format!("{there:?} {fault:?}");
        let inner = MemoryBackend::new();
        if let Some(body) = there {
            inner
                .put(&name("a"), Bytes::from_static(body.as_bytes()))
                .await
                .unwrap();
        }
        let backend = Retrying::new(Faulty::new(inner, vec![fault]), Backoff::default());
        assert_eq!(kind(backend.put(&name("a"), ours()).await), want, "{said}");
        let found = backend.get(&name("a"), 100).await.unwrap();
        assert_eq!(found, there.unwrap_or("ours"), "{said}");
    }
}

/// A copy spares the store the second read; a copy that is damaged is read from the store again;
/// what is not under a prefix always comes from the store.
#[tokio::test]
async fn a_copy_is_read_instead_of_the_store_while_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = std::sync::Arc::new(Metered::new(MemoryBackend::new()));
    let kept = Kept::new(store.clone(), dir.path().to_owned(), &["index/"]);
    let (index, pack) = (name("index/a"), name("packs/a"));
    for object in [&index, &pack] {
        store
            .put(object, Bytes::from_static(b"content"))
            .await
            .unwrap();
    }
    let read = async |object| kept.get(object, 100).await.unwrap();
    let reads = || store.snapshot().of(Verb::Get).calls;
    for object in [&index, &index, &pack, &pack] {
        assert_eq!(read(object).await, "content");
    }
    assert_eq!(reads(), 3, "one of the index, two of the pack");
    std::fs::write(dir.path().join("index/a"), "half").unwrap();
    assert_eq!(read(&index).await, "content");
    assert_eq!(reads(), 4);
    let own = name("index/own");
    kept.put(&own, Bytes::from_static(b"ours")).await.unwrap();
    assert_eq!(read(&own).await, "ours");
    assert_eq!(reads(), 4, "what was put is kept as well");
}

#[tokio::test]
async fn many_are_kept_and_come_in_their_order() {
    let store = std::sync::Arc::new(Metered::new(MemoryBackend::new()));
    let dir = tempfile::tempdir().unwrap();
    let kept = Kept::new(store.clone(), dir.path().to_owned(), &["index/"]);
    let mut names = Vec::new();
    for number in 0..150 {
        let kind = if number % 10 == 0 { "packs" } else { "index" };
        let object = name(&format!("{kind}/{number}"));
        let body = Bytes::from(number.to_string());
        store.put(&object, body).await.unwrap();
        names.push(object);
    }
    names.insert(3, name("index/nothing"));
    let reads = || store.snapshot().of(Verb::Get).calls;
    for (round, expected) in [(0, 151), (1, 151 + 16), (2, 151 + 2 * 16 + 1)] {
        let answers = kept.get_many(&names, 100).await;
        let nothing = answers[3].as_ref().unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::NotFound);
        let bodies = answers.into_iter().flatten();
        for (number, body) in bodies.enumerate() {
            assert_eq!(body, number.to_string());
        }
        assert_eq!(reads(), expected, "round {round}");
        if round == 1 {
            std::fs::write(dir.path().join("index/7"), "half").unwrap();
        }
    }
}
