//! Enrolment, renewal, and hosts that are not welcome any more.

use std::time::Duration;

use tokio::time::timeout;
use tresor_catalog::HostStanding;
use tresor_channel::{ErrorKind, codes};
use tresor_identity::HostIdentity;

use crate::site::{HANGS, Site};

#[tokio::test(flavor = "multi_thread")]
async fn a_host_enrols_once_and_a_new_token_for_it_is_for_the_same_host() {
    let site = Site::new().await;
    let token = site.token("node1").await;
    let enrol = async |token, name: &str, file: &str| {
        tresor_uplink::enrol(&site.server(), token, name, &site.file(file)).await
    };
    // A name that it is not for does not use it up.
    let wrong = enrol(&token, "node2", "x.pem").await.unwrap_err();
    assert!(wrong.is("EnrolmentTokenUsed"), "{wrong}");
    let first = enrol(&token, "node1", "a.pem").await.unwrap();
    let again = enrol(&token, "node1", "b.pem").await.unwrap_err();
    assert!(again.is("EnrolmentTokenUsed"), "{again}");
    assert!(!site.file("b.pem").exists());
    assert_eq!(
        HostIdentity::open(&site.file("a.pem")).unwrap().id(),
        first.id()
    );

    let serial = first.peer().serial.to_string();
    let linked = site.uplink(first);
    linked.connection().await;
    let second = site.enrol("node1").await.unwrap();
    assert_eq!(second.id(), linked.identity.id());
    let standing = site
        .catalog
        .host_standing(second.id(), &serial)
        .await
        .unwrap();
    assert_eq!(standing, HostStanding::Replaced);
    // Its connection ends, and it does not come back with what it has.
    let mut connections = linked.connections.clone();
    let gone = connections.wait_for(Option::is_none);
    timeout(HANGS, gone).await.unwrap().unwrap();
    let linked = site.uplink(second);
    linked.connection().await;
    let audit = site
        .catalog
        .audit(&Default::default(), &tresor_catalog::Page::first(10))
        .await;
    let enrolled = audit.unwrap();
    assert_eq!(
        enrolled
            .iter()
            .filter(|entry| entry.action == "host.enrol")
            .count(),
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_before_it_ends_and_calls_go_on() {
    let site = Site::new().await;
    let old = site.enrolled("node1", Duration::from_secs(20 * 3600)).await;
    let (serial, until) = (old.peer().serial, old.until());
    let linked = site.uplink(old);
    let first = linked.connection().await;
    let mut connections = linked.connections.clone();
    connections.mark_unchanged();
    let renewed = async {
        while linked.identity.peer().serial == serial {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(HANGS, renewed).await.unwrap();
    assert!(linked.identity.until() > until);
    // The next connection takes the first one's place without a gap.
    let next = connections.wait_for(Option::is_some);
    drop(timeout(HANGS, next).await.unwrap().unwrap());
    timeout(HANGS, first.ended()).await.unwrap();
    let next = linked.connection().await;
    let standing = async |serial: String| {
        let standing = site.catalog.host_standing(linked.identity.id(), &serial);
        standing.await.unwrap()
    };
    assert_eq!(
        standing(linked.identity.peer().serial.to_string()).await,
        HostStanding::Current
    );
    assert_eq!(standing(serial.to_string()).await, HostStanding::Replaced);
    let stranger = next.call("uplink.nothing", b"{}").await.unwrap_err();
    assert_eq!(stranger.kind(), ErrorKind::Refused);
    // What is on the disk is what counts after a restart.
    let file = HostIdentity::open(&site.file("node1.pem")).unwrap();
    assert_eq!(file.peer(), linked.identity.peer());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_shut_out_leaves_and_is_told_why() {
    let site = Site::new().await;
    let linked = site.uplink(site.enrol("node1").await.unwrap());
    let connection = linked.connection().await;
    site.catalog
        .revoke_host(linked.identity.id())
        .await
        .unwrap();
    timeout(HANGS, connection.ended()).await.unwrap();
    let farewell = connection.farewell().unwrap();
    assert_eq!(farewell.code, codes::DISMISSED);
    assert!(farewell.text.contains("revoked"), "{farewell:?}");
    let mut connections = linked.connections.clone();
    let gone = connections.wait_for(Option::is_none);
    timeout(HANGS, gone).await.unwrap().unwrap();
}
