//! The frames of version 1, kept in testdata/v1/ and never edited: every later program reads and
//! writes them, and so may one in another language (docs/protocol/link.md).
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use tresor_link_proto::{
    Decoder, Failure, Frame, Hello, Kind, Limits, Link, Notice, Own, Read, Reply, Role, codes,
};

const SERVICE: u64 = 0x0123_4567_89ab_cdef;
const HOST: u64 = 0xfedc_ba98_7654_3210;

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/v1")
}

fn output(link: &mut Link) -> Vec<u8> {
    let mut out = Vec::new();
    link.output(&mut out, 1 << 20);
    out
}

/// A conversation with everything in it: what each end said at each step, under a name.
fn conversation() -> Vec<(&'static str, Vec<u8>)> {
    let own = |session, role, peer| Own {
        versions: (1, 1),
        ..Own::new(session, role, &[peer], "0.1.0")
    };
    let mut service = Link::new(own(SERVICE, Role::Service, Role::Host));
    let mut host = Link::new(own(HOST, Role::Host, Role::Service));
    let mut said = Vec::new();
    let mut say = |name, from: &mut Link, to: &mut Link| {
        let bytes = output(from);
        to.receive(&bytes).ok();
        said.push((name, bytes));
    };
    say("hello-first", &mut service, &mut host);
    say("hello-answer", &mut host, &mut service);
    say("hello-last", &mut service, &mut host);

    let call = host
        .request("vault.put", br#"{"session":"1"}"#, true)
        .unwrap();
    host.write(call, b"some data").unwrap();
    say("request-data", &mut host, &mut service);
    host.finish(call).unwrap();
    say("end", &mut host, &mut service);
    let request = service.accept().unwrap();
    assert_eq!(
        service.read(request.stream),
        Read::Data(b"some data".to_vec())
    );
    service
        .answer(request.stream, br#"{"stored":9}"#, false)
        .unwrap();
    service.release(request.stream);
    say("answer", &mut service, &mut host);
    assert!(matches!(host.reply(call), Reply::Answer { .. }));
    host.release(call);

    let refused = host.request("disks.list", b"{}", false).unwrap();
    say("request", &mut host, &mut service);
    let request = service.accept().unwrap();
    let mut failure = Failure::new("VaultStorageFull", "no space is left");
    failure.fields.insert("location".into(), "/vault".into());
    service.fail(request.stream, &failure).unwrap();
    service.release(request.stream);
    say("error", &mut service, &mut host);
    host.release(refused);

    let given_up = service.request("vm.watch", b"{}", false).unwrap();
    say("request-odd", &mut service, &mut host);
    service.release(given_up);
    say("cancel", &mut service, &mut host);
    say("cancel-answer", &mut host, &mut service);
    let given_up = given_up.number();
    assert_eq!(given_up, 1);

    service.ping();
    say("ping", &mut service, &mut host);
    say("pong", &mut host, &mut service);

    let long = host.request("vault.put", b"{}", true).unwrap();
    output_all(&mut host, &mut service);
    let request = service.accept().unwrap();
    while host.write(long, &[0x5a; 64 << 10]).unwrap() > 0 {
        let bytes = output(&mut host);
        if bytes.is_empty() {
            break;
        }
        service.receive(&bytes).unwrap();
    }
    for _ in 0..8 {
        assert!(matches!(service.read(request.stream), Read::Data(_)));
    }
    say("credit", &mut service, &mut host);
    service.goodbye(&Notice::new(codes::SHUTDOWN, "an update"));
    say("goodbye", &mut service, &mut host);
    host.reset(&Notice::new(codes::DROPPED, "let go of"));
    say("reset", &mut host, &mut service);
    said
}

fn output_all(from: &mut Link, to: &mut Link) {
    let bytes = output(from);
    to.receive(&bytes).unwrap();
}

/// Set `TRESOR_WRITE_GOLDEN` once, when a new kind of frame gets its file. An existing file is never
/// overwritten.
#[test]
fn ends_still_say_version_1() {
    let mut listed = BTreeSet::new();
    for (name, bytes) in conversation() {
        let path = directory().join(format!("{name}.bin"));
        if std::env::var_os("TRESOR_WRITE_GOLDEN").is_some() && !path.exists() {
            std::fs::write(&path, &bytes).unwrap();
        }
        assert!(std::fs::read(&path).unwrap() == bytes, "{name}");
        listed.insert(format!("{name}.bin"));
    }
    let there: BTreeSet<_> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(there, listed);
}

fn frames(name: &str) -> Vec<Frame> {
    let bytes = std::fs::read(directory().join(format!("{name}.bin"))).unwrap();
    let mut decoder = Decoder::default();
    decoder.in_step();
    let mut input = bytes.as_slice();
    std::iter::from_fn(|| decoder.next(&mut input).unwrap()).collect()
}

#[test]
fn version_1_is_still_read() {
    let hello = frames("hello-answer").remove(0);
    let hello = Hello::decode(&hello.header, &hello.body).unwrap();
    let expected = Hello {
        session: HOST,
        echo: SERVICE,
        wants_answer: true,
        versions: (1, 1),
        role: Role::Host,
        limits: Limits::LARGE,
        program: "0.1.0".to_owned(),
    };
    assert_eq!(hello, expected);
    let kinds = |name| -> Vec<Kind> { frames(name).iter().map(|f| f.header.kind).collect() };
    let table: &[(&str, &[Kind])] = &[
        ("request-data", &[Kind::Request, Kind::Data]),
        ("end", &[Kind::End]),
        ("answer", &[Kind::Answer]),
        ("error", &[Kind::Error]),
        ("cancel", &[Kind::Cancel]),
        ("cancel-answer", &[Kind::Cancel]),
        ("ping", &[Kind::Ping]),
        ("pong", &[Kind::Pong]),
        ("credit", &[Kind::Credit]),
        ("goodbye", &[Kind::Goodbye]),
        ("reset", &[Kind::Reset]),
    ];
    for (name, expected) in table {
        assert_eq!(kinds(name), *expected, "{name}");
    }
    let failure = Failure::decode(&frames("error")[0].body).unwrap();
    assert_eq!(failure.fields["location"], "/vault");
    assert_eq!(frames("end")[0].body, 9_u64.to_le_bytes());
}
