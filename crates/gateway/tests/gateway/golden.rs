//! The heads and bodies of version 1, kept in testdata/v1/ and never edited: every later program
//! reads them (docs/protocol/gateway.md).

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;
use tresor_backend::{ErrorKind, ObjectMeta};
use tresor_gateway::wire::{self, Listing, Lot, Request};
use tresor_model::VaultId;

use crate::pair::object;

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/v1")
}

fn vault() -> String {
    "main".to_owned()
}

fn name() -> String {
    "packs/ab/abababababababababababab00000007".to_owned()
}

fn requests() -> Vec<Request> {
    vec![
        Request::Open(wire::Open {
            vault: vault(),
            version: 1,
        }),
        Request::Put(wire::Put {
            vault: vault(),
            name: name(),
            size: 33_554_432,
        }),
        Request::Get(wire::Get {
            vault: vault(),
            name: name(),
            most: 65_536,
        }),
        Request::Range(wire::Range {
            vault: vault(),
            name: name(),
            start: 48,
            end: 1_048_624,
        }),
        Request::Many(wire::Many {
            vault: vault(),
            names: vec!["vault".to_owned(), name()],
            most: 65_536,
        }),
        Request::Stat(wire::Stat {
            vault: vault(),
            name: name(),
        }),
        Request::List(wire::List {
            vault: vault(),
            prefix: "packs/".to_owned(),
        }),
        Request::Settle(wire::Settle {
            vault: vault(),
            prefix: name(),
        }),
    ]
}

fn json<T: Serialize>(head: &T) -> Vec<u8> {
    serde_json::to_vec(head).unwrap()
}

fn method(request: &Request) -> (&'static str, Vec<u8>) {
    match request {
        Request::Open(head) => ("open", json(head)),
        Request::Put(head) => ("put", json(head)),
        Request::Get(head) => ("get", json(head)),
        Request::Range(head) => ("range", json(head)),
        Request::Many(head) => ("many", json(head)),
        Request::Stat(head) => ("stat", json(head)),
        Request::List(head) => ("list", json(head)),
        Request::Settle(head) => ("settle", json(head)),
        Request::Destroys => ("delete", Vec::new()),
    }
}

fn listed() -> Vec<ObjectMeta> {
    let meta = |name: &str, size| ObjectMeta {
        name: object(name),
        size,
    };
    vec![meta(&name(), 33_554_432), meta("vault", 74)]
}

fn everything() -> Vec<(String, Vec<u8>)> {
    let mut said: Vec<_> = requests()
        .iter()
        .map(|request| {
            let (method, head) = method(request);
            (format!("request-{method}.json"), head)
        })
        .collect();
    let opened = wire::Opened {
        version: 1,
        id: VaultId::from_uuid(uuid::Uuid::from_u128(0x0123_4567)),
        parallelism: 16,
        largest: 268_435_456,
    };
    let mut refused = wire::failure_of(ErrorKind::Refused, "nothing is deleted");
    refused
        .fields
        .insert("why".to_owned(), "destroys".to_owned());
    let mut taken = wire::failure_of(ErrorKind::AlreadyExists, "the name is taken");
    taken.fields.insert("same".to_owned(), "no".to_owned());
    let (mut listing, mut lot) = (Vec::new(), Vec::new());
    for meta in &listed() {
        wire::write_entry(&mut listing, meta);
    }
    wire::write_object(&mut lot, b"an object");
    wire::write_failed(&mut lot, ErrorKind::NotFound, "it is not there");
    let answers = [
        ("answer-open.json", json(&opened)),
        ("answer-sized.json", json(&wire::Sized { size: 74 })),
        ("answer-entries.json", json(&wire::Entries { entries: 2 })),
        ("answer-nothing.json", json(&wire::Nothing {})),
        ("failure-refused.json", refused.encode().unwrap()),
        ("failure-exists.json", taken.encode().unwrap()),
        ("body-list.bin", listing),
        ("body-many.bin", lot),
    ];
    said.extend(answers.map(|(name, bytes)| (name.to_owned(), bytes)));
    said
}

/// Set `TRESOR_WRITE_GOLDEN` once, when something new gets its file. An existing file is never
/// overwritten.
#[test]
fn ends_still_say_version_1() {
    let mut written = BTreeSet::new();
    for (name, bytes) in everything() {
        let path = directory().join(&name);
        if std::env::var_os("TRESOR_WRITE_GOLDEN").is_some() && !path.exists() {
            std::fs::write(&path, &bytes).unwrap();
        }
        assert!(std::fs::read(&path).unwrap() == bytes, "{name}");
        written.insert(name);
    }
    let there = std::fs::read_dir(directory()).unwrap();
    let there = there.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(there.collect::<BTreeSet<_>>(), written);
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(directory().join(name)).unwrap()
}

#[test]
fn version_1_is_still_read() {
    for request in requests() {
        let (method, _) = method(&request);
        let head = golden(&format!("request-{method}.json"));
        let read = Request::decode(&format!("store.{method}"), &head).unwrap();
        assert_eq!(read, request);
    }
    let opened: wire::Opened = wire::answer_head(&golden("answer-open.json")).unwrap();
    assert_eq!((opened.version, opened.parallelism), (1, 16));
    let mut listing = Listing::new("", 2).unwrap();
    listing.take(&golden("body-list.bin")).unwrap();
    assert_eq!(listing.finish().unwrap(), listed());
    let mut lot = Lot::new(2, 100);
    lot.take(&golden("body-many.bin")).unwrap();
    let lot = lot.finish().unwrap();
    assert_eq!(lot[0].as_deref().unwrap(), b"an object");
    assert_eq!(lot[1].as_ref().unwrap_err().0, ErrorKind::NotFound);
    for (file, kind) in [
        ("failure-refused.json", ErrorKind::Refused),
        ("failure-exists.json", ErrorKind::AlreadyExists),
    ] {
        let failure = tresor_channel::Failure::decode(&golden(file)).unwrap();
        assert_eq!(wire::kind_of(&failure), kind);
    }
}

/// A service may be newer than its hosts: what they do not know in an answer they pass over. What it
/// does not know in a request it refuses.
#[test]
fn answers_may_grow_and_requests_may_not() {
    let newer = br#"{"size":5,"since":"tomorrow"}"#;
    let sized: wire::Sized = wire::answer_head(newer).unwrap();
    assert_eq!(sized.size, 5);
    let newer = br#"{"vault":"main","name":"vault","unless":"it is there"}"#;
    assert!(Request::decode("store.stat", newer).is_err());
}
