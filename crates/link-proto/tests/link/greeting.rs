use tresor_link_proto::{ErrorKind, Link, Role, codes};

use crate::pair::{HOST, SERVICE, host, output, pair, pump, service};

#[test]
fn both_ends_know_each_other_afterwards() {
    let (a, b) = pair();
    let (of_a, of_b) = (a.peer().unwrap(), b.peer().unwrap());
    assert_eq!((of_a.role, of_a.session), (Role::Host, HOST));
    assert_eq!((of_b.role, of_b.session), (Role::Service, SERVICE));
    assert_eq!((of_a.version, of_a.program.as_str()), (1, "0.1.0"));
}

/// Any of the first greetings may be lost: they are said again, and both ends are open in the end.
#[test]
fn greetings_may_be_lost() {
    for lost in 0..64_u32 {
        let (mut a, mut b) = (Link::new(service()), Link::new(host()));
        let mut message = 0;
        for _ in 0..12 {
            let from_a = output(&mut a);
            if lost & (1 << message.min(31)) == 0 {
                b.receive(&from_a).unwrap();
            }
            message += 1;
            let from_b = output(&mut b);
            if lost & (1 << message.min(31)) == 0 {
                a.receive(&from_b).unwrap();
            }
            message += 1;
            a.greet();
            b.greet();
        }
        assert!(a.peer().is_some() && b.peer().is_some(), "{lost:b}");
        assert!(output(&mut a).is_empty() && output(&mut b).is_empty());
    }
}

/// Everything that an earlier session left, in both directions, changes nothing.
#[test]
fn an_earlier_session_is_not_taken_for_this_one() {
    let (mut old_a, mut old_b) = (Link::new(service()), Link::new(host()));
    let mut left = output(&mut old_b);
    old_a.receive(&left).unwrap();
    old_b.receive(&output(&mut old_a)).unwrap();
    left.extend(output(&mut old_b));
    old_b.request("disks.list", b"{}", false).unwrap();
    old_b.ping();
    left.extend(output(&mut old_b));

    let mut own = service();
    own.session = 0x3333;
    let mut new = Link::new(own);
    new.receive(&left).unwrap();
    assert!(new.peer().is_none() && new.accept().is_none());

    let mut own = host();
    own.session = 0x4444;
    let mut peer = Link::new(own);
    pump(&mut new, &mut peer).unwrap();
    assert_eq!(new.peer().unwrap().session, 0x4444);
    assert!(new.accept().is_none());
}

/// The same in step: frames that carry another number than this end's are dropped.
#[test]
fn frames_of_another_session_are_dropped() {
    let (mut a, _) = pair();
    let mut own = service();
    own.session = 0x3333;
    let (mut other, mut host) = (Link::new(own), Link::new(host()));
    pump(&mut other, &mut host).unwrap();
    host.request("disks.list", b"{}", false).unwrap();
    a.receive(&output(&mut host)).unwrap();
    assert!(a.accept().is_none());
}

#[test]
fn a_peer_that_starts_again_ends_the_session() {
    let (mut a, _) = pair();
    let mut own = host();
    own.session = 0x4444;
    let error = a.receive(&output(&mut Link::new(own))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PeerRestarted);
}

#[test]
fn a_line_that_echoes_is_no_peer() {
    let mut a = Link::new(service());
    for _ in 0..5 {
        let out = output(&mut a);
        a.receive(&out).unwrap();
        a.greet();
    }
    assert!(a.peer().is_none() && a.ended().is_none());
}

/// What each does with an older or a newer peer.
#[test]
fn versions_overlap_or_both_ends_say_so() {
    let table = [
        ((1, 1), (1, 1), Some(1)),
        ((1, 1), (1, 2), Some(1)),
        ((1, 2), (1, 1), Some(1)),
        ((1, 2), (2, 3), Some(2)),
        ((2, 3), (1, 2), Some(2)),
        ((1, 1), (2, 3), None),
        ((3, 4), (1, 2), None),
    ];
    for (of_a, of_b, agreed) in table {
        let (mut own_a, mut own_b) = (service(), host());
        (own_a.versions, own_b.versions) = (of_a, of_b);
        let (mut a, mut b) = (Link::new(own_a), Link::new(own_b));
        let met = pump(&mut a, &mut b);
        if let Some(version) = agreed {
            met.unwrap();
            assert_eq!(a.peer().unwrap().version, version);
            assert_eq!(b.peer().unwrap().version, version);
            b.request("disks.list", b"{}", false).unwrap();
            pump(&mut a, &mut b).unwrap();
            assert!(a.accept().is_some());
            continue;
        }
        let (lowest, highest) = match met.unwrap_err().kind() {
            ErrorKind::VersionRefused { lowest, highest } => (lowest, highest),
            other => panic!("{other:?}"),
        };
        assert!([of_a, of_b].contains(&(lowest, highest)));
        // The end that has not noticed yet is told, or notices.
        let (from_a, from_b) = (output(&mut a), output(&mut b));
        let heard = [b.receive(&from_a), a.receive(&from_b)];
        for error in heard.into_iter().filter_map(Result::err) {
            let code = codes::VERSION;
            let noticed = error.kind() == ErrorKind::PeerReset { code }
                || matches!(error.kind(), ErrorKind::VersionRefused { .. });
            assert!(noticed, "{error}");
        }
        assert!(a.ended().is_some() && b.ended().is_some());
    }
}

#[test]
fn roles_that_may_not_be_there_are_refused() {
    // Two of a kind; one that is not accepted.
    let mut two = service();
    two.session = HOST;
    let mut agent = host();
    agent.role = Role::Agent;
    let mut strict = service();
    strict.accept = vec![Role::Host];
    for (own, other, found) in [
        (service(), two, Role::Service),
        (strict, agent, Role::Agent),
    ] {
        let (mut a, mut b) = (Link::new(own), Link::new(other));
        let from_b = output(&mut b);
        a.receive(&from_b).unwrap();
        b.receive(&output(&mut a)).ok();
        let error = a.receive(&output(&mut b)).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::RoleRefused { found: role } if role == found)
                || matches!(error.kind(), ErrorKind::PeerReset { code: codes::ROLE }),
            "{error}"
        );
    }
}
