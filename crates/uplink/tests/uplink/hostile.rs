//! Who comes to the port and is no host, or a bad one.

use std::sync::Arc;

use jiff::Timestamp;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;
use tresor_channel::{Connection, ErrorKind, Options, Role, codes, failures};
use tresor_identity::{PendingHost, SystemClock, client_config, enrol_config};
use tresor_model::HostId;

use crate::site::{HANGS, Site};

async fn connect(site: &Site, config: ClientConfig) -> Connection {
    let stream = TcpStream::connect(site.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let secured = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let options = Options::new(Role::Host, &[Role::Service], "0.0.0");
    Connection::open(secured.await.unwrap(), options)
        .await
        .unwrap()
}

fn enrolling(site: &Site) -> ClientConfig {
    enrol_config(site.authority.fingerprint(), Arc::new(SystemClock)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_enrols_can_do_nothing_else() {
    let site = Site::new().await;
    let methods = [
        "uplink.renew",
        "uplink.vault",
        "jobs.due",
        "store.open",
        "host.alive",
        "x",
    ];
    for method in methods {
        let connection = connect(&site, enrolling(&site)).await;
        let error = connection.call(method, b"{}").await.unwrap_err();
        assert_eq!(
            error.failure().unwrap().code,
            failures::METHOD_UNKNOWN,
            "{method}"
        );
        // One request, whatever it was.
        timeout(HANGS, connection.ended()).await.unwrap();
    }
    let long = vec![b'x'; 60_000];
    let heads: [&[u8]; 5] = [b"", b"{}", b"[1]", b"{\"token\":1}", &long];
    for head in heads {
        let connection = connect(&site, enrolling(&site)).await;
        let error = connection.call("uplink.enrol", head).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    }
    assert!(
        site.catalog
            .hosts(&tresor_catalog::Page::first(10))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_no_signing_request_costs_no_token() {
    let site = Site::new().await;
    let token = site.token("node1").await;
    for request in ["", "!", "AAAA", &"A".repeat(20_000)] {
        let asked = serde_json::json!({
            "token": *token.to_text(), "name": "node1", "request": request, "version": "1",
        });
        let connection = connect(&site, enrolling(&site)).await;
        let head = serde_json::to_vec(&asked).unwrap();
        let error = connection.call("uplink.enrol", &head).await.unwrap_err();
        assert_eq!(error.failure().unwrap().code, "UsageError", "{error}");
    }
    let file = site.file("a.pem");
    tresor_uplink::enrol(&site.server(), &token, "node1", &file)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_the_authority_is_not_enough() {
    let site = Site::new().await;
    // A host that the catalog does not know: forgotten, or of a catalog that was lost.
    let pending = PendingHost::generate().unwrap();
    let (id, now) = (HostId::generate(), Timestamp::now());
    let issued = site
        .authority
        .sign_host(id, pending.request(), now)
        .unwrap();
    let pem = issued.to_pem();
    let identity = pending.enrol(
        &site.file("x.pem"),
        pem.as_bytes(),
        site.authority.fingerprint(),
    );
    let config = client_config(Arc::new(identity.unwrap()), Arc::new(SystemClock)).unwrap();
    let connection = connect(&site, config).await;
    connection.call("host.alive", b"{}").await.unwrap_err();
    timeout(HANGS, connection.ended()).await.unwrap();
    assert_eq!(connection.farewell().unwrap().code, codes::DISMISSED);
}
