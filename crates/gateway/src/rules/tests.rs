//! The table of docs/protocol/gateway.md.

use tresor_model::VaultId;
use tresor_vault_format::{DamageMark, SessionBegin, SessionEnd};

use super::*;

const RING: Uuid = Uuid::from_u128(1);
const OTHER_RING: Uuid = Uuid::from_u128(2);
const OWN: DomainId = DomainId([1; 16]);
const OTHER: DomainId = DomainId([2; 16]);
const TENANT: Tenant = Tenant {
    ring: RING,
    domain: OWN,
};
const NOTHING: Facts = Facts {
    domain: None,
    ring: None,
    begun: false,
};

fn session() -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(0x0123_4567))
}

fn pack() -> PackId {
    PackId::new([0xab; 12], 7)
}

fn of_domain(domain: DomainId) -> Facts {
    Facts {
        domain: Some(domain),
        ..NOTHING
    }
}

fn in_ring(ring: Uuid) -> Facts {
    Facts {
        ring: Some(ring),
        ..NOTHING
    }
}

const BEGUN: Facts = Facts {
    begun: true,
    ..NOTHING
};

/// Name, what it needs, and then, for each set of facts: may it be read, may it be put.
type Row = (String, Needs, Vec<(Facts, Option<Why>, Option<Why>)>);

fn table() -> Vec<Row> {
    use Why::{NotRead, NotWritten, OtherDomain, OtherSession};
    let no = Some(NotWritten);
    let for_all = |name: &str| {
        let name = name.to_owned();
        (name, Needs::Nothing, vec![(NOTHING, None, no)])
    };
    let of_pack = |name: String| {
        let facts = vec![
            (of_domain(OWN), None, None),
            (of_domain(OTHER), Some(OtherDomain), Some(OtherDomain)),
            (NOTHING, Some(OtherDomain), Some(OtherDomain)),
        ];
        (name, Needs::Number(7), facts)
    };
    let (theirs, foreign) = (Some(OtherSession), Some(OtherDomain));
    let of_session = |name: String, put: [Option<Why>; 4]| {
        let facts = vec![
            (BEGUN, None, put[0]),
            (of_domain(OWN), None, put[1]),
            (of_domain(OTHER), theirs, put[2]),
            (NOTHING, theirs, put[3]),
        ];
        (name, Needs::Session(session()), facts)
    };
    // An end is of who began the session, whatever it says of keys.
    let writable = [None, theirs, theirs, theirs];
    vec![
        for_all("vault"),
        for_all(&name::plan_claim(3)),
        for_all(&name::plan(3, session())),
        for_all(&name::plan_verdict(3)),
        for_all(&name::plan_done(3)),
        for_all("plans/of-a-newer-program"),
        for_all(&name::lock(1)),
        (
            name::key_ring(RING, 2),
            Needs::Nothing,
            vec![(NOTHING, None, no)],
        ),
        (
            name::key_ring(OTHER_RING, 2),
            Needs::Nothing,
            vec![(NOTHING, foreign, no)],
        ),
        (
            name::key_slot(Uuid::from_u128(9)),
            Needs::FirstBytes,
            vec![
                (in_ring(RING), None, no),
                (in_ring(OTHER_RING), foreign, no),
                (NOTHING, foreign, no),
            ],
        ),
        of_pack(name::pack(&pack())),
        of_pack(name::damaged(&pack())),
        (
            name::index_run(session(), 4),
            Needs::FirstBytes,
            vec![
                (of_domain(OWN), None, theirs),
                (of_domain(OTHER), foreign, theirs),
                (BEGUN, foreign, None),
            ],
        ),
        of_session(name::session_begin(session()), writable),
        of_session(name::session_end(session()), writable),
        of_session(name::expired(session()), [no; 4]),
        of_session(name::state(session(), 1), [no; 4]),
        (
            "notes/of-somebody".to_owned(),
            Needs::Nothing,
            vec![(NOTHING, Some(NotRead), no)],
        ),
    ]
}

#[test]
fn who_may_read_and_put_what() {
    for (object, needs, cases) in table() {
        let kind = Kind::of(&object);
        assert_eq!(kind.needs(), needs, "{object}");
        for (facts, read, put) in cases {
            let why = |verdict: Verdict| verdict.err().map(|refusal| refusal.why);
            let case = format!("{object} with {facts:?}");
            assert_eq!(why(may_read(&kind, &facts, &TENANT)), read, "read {case}");
            assert_eq!(why(may_put(&kind, 1, &facts, &TENANT)), put, "put {case}");
            let large = kind.largest() + 1;
            let too_large = why(may_put(&kind, large, &facts, &TENANT));
            assert_eq!(too_large, put.or(Some(Why::TooLarge)), "large {case}");
        }
    }
}

/// No two names mean one object: another form of a name is none of a vault's.
#[test]
fn other_forms_of_names_are_nothing() {
    for (object, ..) in table() {
        let upper = object.to_uppercase();
        assert_eq!(Kind::of(&upper), Kind::Other, "{upper}");
        let longer = format!("{object}0");
        let kind = Kind::of(&longer);
        assert!(matches!(kind, Kind::Other | Kind::StrangePlan), "{longer}");
    }
}

#[test]
fn all_that_an_object_names_is_the_hosts() {
    type Case = (&'static [Option<DomainId>], bool, Option<Why>);
    let cases: [Case; 5] = [
        (&[], true, None),
        (&[Some(OWN), Some(OWN)], true, None),
        (&[Some(OWN), Some(OTHER)], true, Some(Why::OtherDomain)),
        (&[Some(OWN), None], true, Some(Why::OtherDomain)),
        (&[Some(OWN)], false, Some(Why::OtherSession)),
    ];
    for (domains, begun, expected) in cases {
        let verdict = may_hold(domains, begun, &TENANT);
        assert_eq!(verdict.err().map(|refusal| refusal.why), expected);
    }
}

#[test]
fn objects_are_what_their_names_say() {
    let (vault, other) = (VaultId::generate(), VaultId::generate());
    let begin = SessionBegin {
        vault,
        session: session(),
        started_ms: 5,
    };
    let abort = SessionEnd::encode_abort(vault, session(), 5);
    let mark = DamageMark {
        vault,
        pack: pack(),
        found_ms: 5,
    };
    let stranger = SessionId::generate();
    let good = [
        (Kind::Begin(session()), begin.encode()),
        (Kind::End(session()), abort.clone()),
        (Kind::Damage(pack()), mark.encode()),
    ];
    for (kind, object) in &good {
        examine(kind, object, vault).unwrap();
        // Cut, changed, longer, or of another vault.
        let mut bad = vec![object[..object.len() - 1].to_vec(), Vec::new()];
        bad.extend((0..object.len()).map(|at| {
            let mut changed = object.clone();
            changed[at] ^= 1;
            changed
        }));
        bad.push([&object[..], b"\0"].concat());
        for bad in bad {
            let why = examine(kind, &bad, vault).unwrap_err().why;
            assert_eq!(why, Why::Content);
        }
        assert_eq!(examine(kind, object, other).unwrap_err().why, Why::Content);
    }
    for (kind, object) in [
        (Kind::Begin(stranger), begin.encode()),
        (Kind::End(stranger), abort.clone()),
        (Kind::Damage(PackId::new([1; 12], 7)), mark.encode()),
        (Kind::End(session()), begin.encode()),
        (Kind::Begin(session()), abort),
        (Kind::Pack(pack()), vec![0; 300]),
        (Kind::Run(session(), 0), vec![0; 300]),
    ] {
        let why = examine(&kind, &object, vault).unwrap_err().why;
        assert_eq!(why, Why::Content, "{kind:?}");
    }
    let never = examine(&Kind::Lock, b"", vault).unwrap_err().why;
    assert_eq!(never, Why::NotWritten);
}
