//! Certificates of hosts, and sessions that began through the gateway.

use tresor_catalog::{Catalog, HostRecord, HostStanding};
use tresor_model::{HostId, SessionId, VaultId};

use super::{hosts::host, now, seconds};

pub(super) async fn check(catalog: &Catalog) {
    a_certificate_counts_until_the_next_is_shown(catalog).await;
    a_session_is_of_who_began_it(catalog).await;
}

async fn a_certificate_counts_until_the_next_is_shown(catalog: &Catalog) {
    let enrolled = HostRecord {
        serial: Some("s1".to_owned()),
        ..host("links1")
    };
    let id = enrolled.id;
    let standing = async |serial| catalog.host_standing(id, serial).await.expect("look");
    assert_eq!(standing("s1").await, HostStanding::Unknown);
    catalog.enrol_host(&enrolled).await.expect("enrol");
    assert_eq!(standing("s1").await, HostStanding::Current);
    assert_eq!(standing("s0").await, HostStanding::Replaced);

    // The answer was lost: the old one still counts, and gets another one.
    let renew = async |shown, next| catalog.renew_host(id, shown, next).await.expect("renew");
    assert!(renew("s1", "s2").await);
    assert_eq!(standing("s1").await, HostStanding::Current);
    assert!(renew("s1", "s3").await);
    assert_eq!(standing("s2").await, HostStanding::Replaced);
    assert_eq!(standing("s3").await, HostStanding::Current);
    // Shown once, the one before is over.
    assert_eq!(standing("s1").await, HostStanding::Replaced);
    assert!(!renew("s1", "s4").await);

    let again = HostRecord {
        serial: Some("s5".to_owned()),
        ..enrolled
    };
    catalog.revoke_host(id).await.expect("revoke");
    assert_eq!(standing("s3").await, HostStanding::Revoked);
    assert!(!renew("s3", "s4").await);
    catalog.enrol_host(&again).await.expect("enrol again");
    assert_eq!(standing("s3").await, HostStanding::Replaced);
    assert_eq!(standing("s5").await, HostStanding::Current);
    let taken = HostRecord {
        id: HostId::generate(),
        ..again
    };
    catalog
        .enrol_host(&taken)
        .await
        .expect_err("the name is taken");
    catalog.remove_host(id).await.expect("remove");
}

async fn a_session_is_of_who_began_it(catalog: &Catalog) {
    let (vault, other) = (VaultId::generate(), VaultId::generate());
    let sessions: Vec<_> = (0..450).map(|_| SessionId::generate()).collect();
    let at = now();
    let claim = async |session, host| {
        let claimed = catalog.claim_session(vault, session, host, at).await;
        claimed.expect("claim")
    };
    assert!(claim(sessions[0], "a").await);
    assert!(claim(sessions[0], "a").await, "again");
    assert!(!claim(sessions[0], "b").await);
    assert!(claim(sessions[449], "b").await);
    let owners = catalog
        .session_owners(vault, &sessions)
        .await
        .expect("look");
    assert_eq!(owners.len(), 450);
    assert_eq!(owners[0].as_deref(), Some("a"));
    assert_eq!(owners[449].as_deref(), Some("b"));
    assert!(owners[1..449].iter().all(Option::is_none));
    let elsewhere = catalog.session_owners(other, &sessions[..1]).await;
    assert_eq!(elsewhere.expect("look"), [None]);
    let forgotten = catalog.forget_sessions_before(at).await;
    assert_eq!(forgotten.expect("forget"), 0);
    let forgotten = catalog.forget_sessions_before(at + seconds(1)).await;
    assert_eq!(forgotten.expect("forget"), 2);
}
