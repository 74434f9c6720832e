//! What each role may do, as docs/permissions.md shows it.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::{fs, path::Path};

use tresor_identity::{Action, Role, matrix, may, may_on};
use tresor_model::HostId;

fn host() -> Role {
    Role::Host(HostId::generate())
}

/// A change of the table is a change of the page: with `TRESOR_WRITE` set, the page is written.
#[test]
fn the_page_shows_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/permissions.md");
    let page = fs::read_to_string(&path).unwrap();
    let start = page.find("| action |").expect("the page has a table");
    let wanted = format!("{}{}", &page[..start], matrix());
    if std::env::var_os("TRESOR_WRITE").is_some() {
        fs::write(&path, &wanted).unwrap();
        return;
    }
    println!("{}", matrix());
    assert!(
        page == wanted,
        "run this test with TRESOR_WRITE=1, and look at what has changed"
    );
}

#[test]
fn hosts_and_readers_never_destroy_anything() {
    for action in Action::ALL.iter().filter(|action| action.destroys()) {
        assert!(!may(host(), *action), "{action:?}");
        assert!(!may(Role::Reader, *action), "{action:?}");
    }
}

/// Whoever works daily cannot remove what is stored; over what a disk holds they can restore.
#[test]
fn operators_destroy_nothing_that_is_stored() {
    let destroys = Action::ALL.iter().filter(|action| action.destroys());
    let may: Vec<_> = destroys
        .filter(|action| may(Role::Operator, **action))
        .collect();
    assert_eq!(may, [&Action::RestoreOver]);
}

#[test]
fn a_reader_may_no_more_than_an_operator_and_an_operator_no_more_than_an_administrator() {
    for action in Action::ALL {
        assert!(
            may(Role::Operator, *action) || !may(Role::Reader, *action),
            "{action:?}"
        );
        assert!(
            may(Role::Admin, *action) || !may(Role::Operator, *action),
            "{action:?}"
        );
        // A host is no person, and no person is a host.
        assert!(
            !may(host(), *action) || !may(Role::Admin, *action),
            "{action:?}"
        );
    }
}

#[test]
fn objects_in_vaults_are_overwritten_and_deleted_by_nobody() {
    for role in [Role::Admin, Role::Operator, Role::Reader, host()] {
        assert!(!may(role, Action::DataOverwrite));
        assert!(!may(role, Action::DataDelete));
    }
}

#[test]
fn a_host_may_what_is_its_own() {
    let (own, other) = (HostId::generate(), HostId::generate());
    let role = Role::Host(own);
    assert!(may_on(role, Action::DataAppend, own));
    assert!(!may_on(role, Action::DataAppend, other));
    assert!(!may_on(role, Action::DataRead, other));
    assert!(may_on(Role::Admin, Action::HostRevoke, other));
}

#[test]
fn names_are_unique_and_said_in_a_refusal() {
    let names: std::collections::BTreeSet<_> =
        Action::ALL.iter().map(|action| action.name()).collect();
    assert_eq!(names.len(), Action::ALL.len());
    let problem = Action::PointDelete.denied(Role::Operator);
    assert!(problem.is("PermissionDenied"));
    assert!(problem.cause.contains("operator") && problem.cause.contains("points.delete"));
}
