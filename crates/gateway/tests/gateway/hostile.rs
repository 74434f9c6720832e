//! A host that has its own key and everything else against it. One test for each kind of attempt.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tresor_backend::{Backend as _, ErrorKind};
use tresor_channel::{Call, Connection, ErrorKind as LinkKind, Failure};
use tresor_gateway::{Limits, Why};
use tresor_model::SessionId;
use tresor_vault::DomainId;
use tresor_vault_format::frame;
use tresor_vault_format::{
    DamageMark, DataKey, DomainKeys, FinishedPack, IndexEntry, IndexHeader, IndexPack, IndexRun,
    KeyRing, PackId, PackKind, PackWriter, Secret, SessionBegin, SessionEnd, name,
};

use crate::pair::{Host, Service, backend_on, connect, names, object};
use crate::support::{self, begin, noise, point, write_all};

const MIB: usize = 1 << 20;

/// A victim with a backup, and a host that is curious.
async fn scene() -> (Service, Host, Host) {
    let service = Service::new().await;
    let victim = service.host("victim").await;
    let hostile = service.host("hostile").await;
    support::back_up(&victim.vault, &noise(1, 2 * MIB)).await;
    support::back_up(&hostile.vault, &noise(2, MIB)).await;
    assert_eq!(service.told.all(), []);
    (service, victim, hostile)
}

/// The number of a host's key, by the packs it has.
async fn number_of(host: &Host) -> u32 {
    let packs = names(&*host.backend, "packs/").await;
    name::parse_pack(&packs[0]).unwrap().epoch()
}

/// A ring with a made-up key of that number: who has no keys cannot tell.
fn forged_ring(number: u32) -> KeyRing {
    let domain = DomainId([9; 16]);
    KeyRing {
        vault_header: [0; 32],
        domains: vec![DomainKeys {
            domain,
            root: Secret([1; 32]),
        }],
        keys: vec![DataKey {
            epoch: number,
            domain,
            key: Secret([2; 32]),
        }],
    }
}

fn forged_pack(id: PackId, writer: SessionId, text: &[u8]) -> FinishedPack {
    let ring = forged_ring(id.epoch());
    let mut pack = PackWriter::new(id, PackKind::Data, writer, &ring, Vec::new()).unwrap();
    let coded = frame::raw(text);
    pack.append(&coded, vec![([3; 32], text.len() as u32)]);
    pack.finish()
}

async fn refused(host: &Host, name: &str, body: impl Into<Bytes>) {
    let put = host.backend.put(&object(name), body.into()).await;
    assert_eq!(put.unwrap_err().kind(), ErrorKind::Refused, "{name}");
}

async fn raw(connection: &Connection, method: &str, head: serde_json::Value) -> Failure {
    let head = serde_json::to_vec(&head).unwrap();
    let error = connection.call(method, &head).await.unwrap_err();
    assert_eq!(error.kind(), LinkKind::Refused, "{method}: {error}");
    error.failure().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_and_listing_what_is_anothers() {
    let (service, victim, hostile) = scene().await;
    let open = begin(&victim.vault).await;
    let point = service.owner.points().await.unwrap().points[0].id;
    service.owner.pin(point).await.unwrap();
    let own = names(&*hostile.backend, "").await;
    let all = service.names("").await;
    let others: Vec<_> = all.iter().filter(|name| !own.contains(name)).collect();
    for kind in [
        "packs/",
        "index/",
        "sessions/",
        "keys/slot-",
        "keys/ring-",
        "states/",
    ] {
        assert!(others.iter().any(|name| name.starts_with(kind)), "{kind}");
        let shown = names(&*hostile.backend, kind).await;
        assert!(shown.iter().all(|name| own.contains(name)), "{kind}");
    }
    for other in others {
        let other = object(other);
        let backend = &hostile.backend;
        let stat = backend.stat(&other).await.map(drop);
        let get = backend.get(&other, u64::MAX).await.map(drop);
        let range = backend.get_range(&other, 0..1).await.map(drop);
        let many = backend.get_many(std::slice::from_ref(&other), 1000).await;
        let many = many.into_iter().next().unwrap().map(drop);
        for tried in [stat, get, range, many] {
            assert_eq!(tried.unwrap_err().kind(), ErrorKind::Refused, "{other}");
        }
        let told = service.told.take();
        assert_eq!(told.len(), 4, "{other}");
        for (_, object, why) in told {
            assert_eq!(object, other.as_str());
            assert!(
                matches!(why, Why::OtherDomain | Why::OtherSession),
                "{why:?}"
            );
        }
        // Nothing to make durable, so nothing is done.
        backend.settle(other.as_str()).await.unwrap();
    }
    open.abort().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ending_or_taking_anothers_session() {
    let (service, victim, hostile) = scene().await;
    let session = begin(&victim.vault).await;
    let (id, vault) = (session.id(), service.owner.id());
    let (disk, _) = write_all(&session, "vda", &noise(5, MIB), None, MIB)
        .await
        .unwrap();
    assert!(hostile.vault.abort_session(id).await.is_err());
    let begin = SessionBegin {
        vault,
        session: id,
        started_ms: 1,
    };
    refused(&hostile, &name::session_begin(id), begin.encode()).await;
    let abort = SessionEnd::encode_abort(vault, id, 1);
    refused(&hostile, &name::session_end(id), abort).await;
    // Nor one that nobody began.
    let nobodys = SessionId::generate();
    let abort = SessionEnd::encode_abort(vault, nobodys, 1);
    refused(&hostile, &name::session_end(nobodys), abort).await;
    let told = service.told.take();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(
        told.iter().all(|(.., why)| *why == Why::OtherSession),
        "{told:?}"
    );
    let made = session.commit(point(id, vec![disk])).await.unwrap();
    assert!(victim.vault.point(made).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn ending_a_session_that_is_over() {
    let (service, _, hostile) = scene().await;
    let session = begin(&hostile.vault).await;
    let id = session.id();
    service
        .store
        .delete(&object(&name::session_begin(id)))
        .await
        .unwrap();
    let abort = SessionEnd::encode_abort(service.owner.id(), id, 1);
    refused(&hostile, &name::session_end(id), abort).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn putting_under_anothers_number() {
    let (service, victim, hostile) = scene().await;
    let (theirs, own) = (number_of(&victim).await, number_of(&hostile).await);
    let session = begin(&hostile.vault).await;
    let writer = session.id();
    let told = |why| {
        let told = service.told.take();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].2, why);
    };
    for number in [theirs, 1, 77_777] {
        let id = PackId::new([7; 12], number);
        let pack = forged_pack(id, writer, b"text").bytes;
        refused(&hostile, &name::pack(&id), pack).await;
        told(Why::OtherDomain);
        let mark = DamageMark {
            vault: service.owner.id(),
            pack: id,
            found_ms: 1,
        };
        refused(&hostile, &name::damaged(&id), mark.encode()).await;
        told(Why::OtherDomain);
    }
    // Under its own number, in a name that is: the bytes say what they are.
    let (id, other) = (PackId::new([7; 12], own), PackId::new([7; 12], theirs));
    let pack = forged_pack(other, writer, b"text").bytes;
    refused(&hostile, &name::pack(&id), pack).await;
    told(Why::Content);
    // As if another host's session had written it.
    let pack = forged_pack(id, SessionId::generate(), b"text").bytes;
    refused(&hostile, &name::pack(&id), pack).await;
    told(Why::OtherSession);
    for (number, pack, why) in [
        (theirs, id, Why::OtherDomain),
        (own, other, Why::OtherDomain),
    ] {
        let packs = vec![IndexPack {
            id: pack,
            size: 500,
            kind: PackKind::Data,
        }];
        let run = IndexRun {
            header: IndexHeader {
                vault: service.owner.id(),
                session: writer,
                number: 0,
                epoch: number,
                salt: [0; 16],
                packs,
            },
            entries: Vec::<IndexEntry>::new(),
        };
        let run = run.encode(&forged_ring(number)).unwrap();
        refused(&hostile, &name::index_run(writer, 0), run).await;
        told(why);
    }
    assert!(service.owner.verify_keys().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn putting_garbage() {
    let (service, _, hostile) = scene().await;
    let own = number_of(&hostile).await;
    let session = begin(&hostile.vault).await;
    let (id, before) = (PackId::new([7; 12], own), service.names("").await);
    let good = forged_pack(id, session.id(), &noise(3, 3000)).bytes;
    let mut changed = vec![noise(1, 5000), Vec::new(), good[..good.len() - 1].to_vec()];
    for at in [0, 9, 20, 40, 60, 2000, good.len() - 60, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        changed.push(bad);
    }
    for bad in changed {
        refused(&hostile, &name::pack(&id), bad).await;
    }
    for name in [
        name::index_run(session.id(), 0),
        name::session_end(session.id()),
        name::session_begin(SessionId::generate()),
        name::damaged(&id),
    ] {
        refused(&hostile, &name, noise(1, 700)).await;
    }
    let told = service.told.take();
    assert!(
        told.iter().all(|(.., why)| *why == Why::Content),
        "{told:?}"
    );
    assert_eq!(told.len(), 15);
    assert_eq!(service.names("").await, before);
    // All but the changed byte was right.
    hostile
        .backend
        .put(&object(&name::pack(&id)), good.into())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_what_hosts_do_not_write() {
    let (service, _, hostile) = scene().await;
    let own = names(&*hostile.backend, "sessions/").await;
    let session = match name::parse_session_object(&own[0]).unwrap() {
        name::SessionObject::Begin(session) | name::SessionObject::End(session) => session,
    };
    let before = service.names("").await;
    let strangers = [
        name::expired(session),
        name::state(session, 1),
        name::lock(1),
        name::plan_claim(1),
        name::plan(1, session),
        name::plan_verdict(1),
        name::plan_done(1),
        name::key_slot(*session.as_uuid()),
        name::key_ring(*session.as_uuid(), 1),
        "plans/odd".to_owned(),
        "vault".to_owned(),
        "vault2".to_owned(),
        "notes/a".to_owned(),
    ];
    for name in &strangers {
        refused(&hostile, name, noise(1, 100)).await;
    }
    assert!(
        hostile
            .vault
            .expire(uuid::Uuid::nil().to_string().parse().unwrap())
            .await
            .is_err()
    );
    let point = hostile.vault.points().await.unwrap().points[0].id;
    for tried in [
        hostile.vault.expire(point).await,
        hostile.vault.pin(point).await,
    ] {
        assert!(tried.is_err());
    }
    let told = service.told.take();
    let unwritten = told.iter().filter(|(.., why)| *why == Why::NotWritten);
    assert_eq!(unwritten.count(), strangers.len() + 2, "{told:?}");
    assert_eq!(service.names("").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn overwriting() {
    let (service, _, hostile) = scene().await;
    let own = number_of(&hostile).await;
    let session = begin(&hostile.vault).await;
    let id = PackId::new([7; 12], own);
    let pack = |text: &[u8]| Bytes::from(forged_pack(id, session.id(), text).bytes);
    let name = object(&name::pack(&id));
    hostile.backend.put(&name, pack(b"first")).await.unwrap();
    for (text, attempts) in [(b"first", 0), (b"other", 1)] {
        let again = hostile.backend.put(&name, pack(text)).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        let told = service.told.take();
        assert_eq!(told.len(), attempts);
        assert!(told.iter().all(|(.., why)| *why == Why::Destroys));
        assert_eq!(service.object(name.as_str()).await, pack(b"first"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting() {
    let (service, _, hostile) = scene().await;
    let before = service.names("").await;
    for name in names(&*hostile.backend, "").await {
        let deleted = hostile.backend.delete(&object(&name)).await;
        assert_eq!(deleted.unwrap_err().kind(), ErrorKind::Refused);
    }
    let swept = hostile.backend.sweep(Duration::ZERO).await;
    assert_eq!(swept.unwrap_err().kind(), ErrorKind::Refused);
    assert_eq!(service.told.take(), [], "it is not even asked for");
    for method in [
        "store.delete",
        "store.sweep",
        "store.retain",
        "store.overwrite",
    ] {
        let head = json!({"vault": "main", "name": before[0]});
        let failure = raw(&hostile.connection, method, head).await;
        assert_eq!(failure.code, "store.refused");
        assert_eq!(failure.fields["why"], "destroys");
        let told = service.told.take();
        assert_eq!((told[0].0.as_str(), told[0].2), (method, Why::Destroys));
    }
    assert_eq!(service.names("").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_heads() {
    let (service, _, hostile) = scene().await;
    let line = &hostile.connection;
    let long = "a".repeat(60_000);
    for (method, head, code) in [
        (
            "store.stat",
            json!({"vault": "other", "name": "vault"}),
            "store.refused",
        ),
        (
            "store.stat",
            json!({"vault": "main", "name": "../vault"}),
            "store.refused",
        ),
        (
            "store.stat",
            json!({"vault": "main", "name": long}),
            "store.refused",
        ),
        (
            "store.stat",
            json!({"vault": long, "name": "vault"}),
            "link.head-malformed",
        ),
        (
            "store.stat",
            json!({"vault": "main"}),
            "link.head-malformed",
        ),
        (
            "store.get",
            json!({"vault": "main", "name": "vault", "most": -1}),
            "link.head-malformed",
        ),
        (
            "store.put",
            json!({"vault": "main", "name": "vault", "size": 1, "replace": true}),
            "link.head-malformed",
        ),
        (
            "store.many",
            json!({"vault": "main", "names": vec!["vault"; 257], "most": 1}),
            "link.head-malformed",
        ),
        (
            "store.open",
            json!({"vault": "main", "version": 0}),
            "store.unfit",
        ),
        ("store.burn", json!({}), "link.method-unknown"),
    ] {
        assert_eq!(raw(line, method, head).await.code, code, "{method}");
    }
    for head in [&b""[..], b"\xff\xfe", b"[[[[[[[", &[b'['; 60_000]] {
        let error = line.call("store.list", head).await.unwrap_err();
        assert_eq!(error.failure().unwrap().code, "link.head-malformed");
    }
    assert_eq!(service.told.take().len(), 13);
    // No name is that long, so no name begins so.
    assert_eq!(hostile.backend.list(&long).await.unwrap(), []);
    let head = serde_json::to_vec(&json!({"vault": "main", "prefix": long})).unwrap();
    let listed = line.call("store.list", &head).await.unwrap();
    assert_eq!(listed.head, br#"{"entries":0}"#);
    assert!(hostile.backend.stat(&object("vault")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_another_size() {
    let (service, _, hostile) = scene().await;
    let session = begin(&hostile.vault).await;
    let id = PackId::new([7; 12], number_of(&hostile).await);
    let (before, good) = (
        service.names("").await,
        forged_pack(id, session.id(), b"text").bytes,
    );
    let len = good.len() as u64;
    let limit = 128 << 20;
    for (size, sent, why) in [
        (u64::MAX, &good[..], "too-large"),
        (limit + 1, &good[..], "too-large"),
        (len - 1, &good[..], "malformed"),
        (len + 1, &good[..], "malformed"),
        (len, &good[..good.len() - 1], "malformed"),
        (0, &good[..], "malformed"),
        (limit, &good[..], "malformed"),
    ] {
        let head = json!({"vault": "main", "name": name::pack(&id), "size": size});
        let head = serde_json::to_vec(&head).unwrap();
        let call = hostile.connection.call_with_body("store.put", &head).await;
        let mut call = call.unwrap();
        call.body.write(sent).await.ok();
        let error = call.finish().await.unwrap_err();
        assert_eq!(error.failure().unwrap().fields["why"], why, "{size}");
    }
    assert_eq!(service.told.take().len(), 7);
    assert_eq!(service.names("").await, before);
}

/// A host that announces much and sends nothing gets its room taken away again.
#[tokio::test(flavor = "multi_thread")]
async fn announcing_and_then_nothing() {
    let service = Service::new().await;
    let domain = service
        .owner
        .add_host_domain(&crate::pair::key_of("hostile"), "hostile")
        .await
        .unwrap();
    let tenant = service.tenant(domain.ring);
    let limits = Limits {
        in_flight: 1 << 20,
        stall: Duration::from_millis(50),
        ..Limits::default()
    };
    let gateway = service.gateway("hostile", tenant, limits);
    let (connection, _) = connect(&gateway).await;
    let backend = backend_on(&connection).await;
    let number = 2;
    let mut stalled = Vec::new();
    for at in 0..20 {
        let id = PackId::new([at; 12], number);
        let head = json!({"vault": "main", "name": name::pack(&id), "size": 1 << 20});
        let head = serde_json::to_vec(&head).unwrap();
        let call = connection.call_with_body("store.put", &head).await.unwrap();
        stalled.push(call);
    }
    // It waits for its turn, and gets it.
    let id = SessionId::generate();
    let begin = SessionBegin {
        vault: service.owner.id(),
        session: id,
        started_ms: 1,
    };
    let name = object(&name::session_begin(id));
    let put = backend.put(&name, begin.encode().into());
    tokio::time::timeout(crate::pair::HANGS, put)
        .await
        .unwrap()
        .unwrap();
    let larger = backend
        .put(&object("packs/a"), vec![0; (1 << 20) + 1].into())
        .await;
    assert_eq!(larger.unwrap_err().kind(), ErrorKind::Refused);
    for Call { body, answer } in stalled {
        let given_up = tokio::time::timeout(crate::pair::HANGS, answer.get()).await;
        assert_eq!(given_up.unwrap().unwrap_err().kind(), LinkKind::Cancelled);
        drop(body);
    }
}
