//! Hosts and the service, over real TLS: who comes in, and what both ends learn when somebody does not.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use rustls::sign::CertifiedKey;
use support::{
    Service, TestClock, hours, meet,
    rogue::{blind, dns, of_file, serving, signed, uri},
};
use tresor_identity::{
    AdmitError, Alpn, Clock as _, HandshakeError, HandshakeErrorKind as Failed, HostPeer, Peer,
    PeerError, PendingHost, Roll, Serial, Session, Standing, enrol_config,
};
use tresor_model::HostId;
use tresor_problem::Problem;

#[tokio::test]
async fn an_enrolled_host_comes_in_by_its_id() {
    let service = Service::new();
    let id = HostId::generate();
    let host = service.enrol(id).await;
    // The name it dials does not matter: only the service has a certificate of the service.
    let met = meet(service.config(), host.config(), "10.1.2.3").await;
    let peer = met.host();
    assert_eq!(peer.id, id);
    assert_eq!(peer, host.identity.peer());
    assert_eq!(peer.until, service.clock.now() + hours(24));
}

#[tokio::test]
async fn a_host_of_another_authority_is_refused_and_both_know_why() {
    let (service, other) = (Service::new(), Service::new());
    let stranger = other.enrol(HostId::generate()).await;
    // It sees at once that this is not its service.
    let met = meet(service.config(), stranger.config(), "localhost").await;
    assert_eq!(met.client_kind(), Failed::UnknownAuthority);
    let problem = met.client.unwrap_err().client_problem("localhost", None);
    assert!(problem.is("ServerNotTrusted"), "{problem}");

    // If it does not look, the service does.
    let blind = blind(Some(of_file(&stranger.path)));
    let met = meet(service.config(), blind, "localhost").await;
    assert_eq!(met.server_kind(), Failed::UnknownAuthority);
    assert_eq!(met.client_kind(), Failed::RefusedUnknownAuthority);
    let id = stranger.identity.id();
    let problem = met
        .client
        .unwrap_err()
        .client_problem("localhost", Some(id));
    assert!(problem.is("HostNotEnrolled"), "{problem}");
}

#[tokio::test]
async fn a_certificate_that_ended_is_refused_and_both_know_why() {
    let service = Service::new();
    let host = service.enrol(HostId::generate()).await;
    service.clock.forward(hours(24));
    assert!(
        meet(service.config(), host.config(), "localhost")
            .await
            .server
            .is_ok()
    );
    service.clock.forward(hours(1));
    let met = meet(service.config(), host.config(), "localhost").await;
    assert_eq!(met.server_kind(), Failed::Expired);
    assert_eq!(met.client_kind(), Failed::RefusedExpired);
    let id = host.identity.id();
    let problem = met
        .client
        .unwrap_err()
        .client_problem("localhost", Some(id));
    assert!(problem.is("HostCertificateExpired"), "{problem}");
}

#[tokio::test]
async fn clocks_may_differ_by_an_hour() {
    let service = Service::new();
    let host = service.enrol(HostId::generate()).await;
    // A service whose clock is behind, with the same authority.
    let mut behind = Service::at(TestClock::new());
    std::fs::copy(
        service.dir.path().join("ca.key"),
        behind.dir.path().join("ca.key"),
    )
    .unwrap();
    std::fs::copy(
        service.dir.path().join("ca.crt"),
        behind.dir.path().join("ca.crt"),
    )
    .unwrap();
    behind.reopen();
    service.clock.forward(hours(2));
    host.renew(&service);
    let met = meet(behind.config(), host.config(), "localhost").await;
    assert_eq!(met.server_kind(), Failed::NotValidYet);
    behind.clock.forward(hours(1));
    assert!(
        meet(behind.config(), host.config(), "localhost")
            .await
            .server
            .is_ok()
    );
}

#[tokio::test]
async fn a_server_that_is_not_the_service_is_not_trusted() {
    let (service, other) = (Service::new(), Service::new());
    let host = service.enrol(HostId::generate()).await;
    let met = meet(other.config(), host.config(), "localhost").await;
    assert_eq!(met.client_kind(), Failed::UnknownAuthority);

    // Nor is another host that plays the service with its own certificate of the right authority.
    let bad = service.enrol(HostId::generate()).await;
    let met = meet(serving(of_file(&bad.path)), host.config(), "localhost").await;
    assert_eq!(met.client_kind(), Failed::WrongPurpose);

    // Nor a server of the authority that is not the service, under whatever name.
    let server = signed(&service, ServerAuth, vec![dns("localhost")]);
    let met = meet(serving(server), host.config(), "localhost").await;
    assert_eq!(met.client_kind(), Failed::NotTheService);
}

#[tokio::test]
async fn a_first_contact_goes_by_the_fingerprint() {
    let (service, other) = (Service::new(), Service::new());
    let clock = service.clock.clone();
    let config = enrol_config(other.authority.fingerprint(), clock.clone()).unwrap();
    let met = meet(service.config(), config, "localhost").await;
    assert_eq!(met.client_kind(), Failed::WrongFingerprint);
    let problem = met.client.unwrap_err().client_problem("localhost", None);
    assert!(problem.is("ServerNotTrusted"), "{problem}");

    // A host of the authority cannot stand in for the service, with the authority in its chain.
    let bad = service.enrol(HostId::generate()).await;
    let config = enrol_config(service.authority.fingerprint(), clock).unwrap();
    let met = meet(serving(of_file(&bad.path)), config, "localhost").await;
    assert_eq!(met.client_kind(), Failed::WrongPurpose);
}

/// Anybody can put the authority's public key into a certificate, and leave out its bounds on names.
#[tokio::test]
async fn an_authority_that_did_not_sign_itself_is_not_taken() {
    let service = Service::new();
    let good = signed(&service, ServerAuth, vec![uri("urn:tresor:service")]);
    let pin = service.authority.fingerprint();
    let config = || enrol_config(pin, service.clock.clone()).unwrap();
    let met = meet(serving(good.clone()), config(), "localhost").await;
    assert!(met.client.is_ok());

    // Everything of the authority's but the last byte of its signature.
    let mut forged = good.cert[1].to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let chain = vec![good.cert[0].clone(), forged.into()];
    let forged = CertifiedKey::new(chain, good.key);
    let met = meet(serving(forged), config(), "localhost").await;
    assert_eq!(met.client_kind(), Failed::BadCertificate);
}

#[tokio::test]
async fn a_link_needs_a_certificate() {
    let service = Service::new();
    let met = meet(service.config(), blind(None), "localhost").await;
    assert_eq!(met.server_kind(), Failed::CertificateNeeded);
}

#[tokio::test]
async fn the_services_own_certificate_lets_nobody_in() {
    let service = Service::new();
    let names = vec![uri("urn:tresor:service"), uri("urn:tresor:host:x")];
    let client = blind(Some(signed(&service, ServerAuth, names)));
    let met = meet(service.config(), client, "localhost").await;
    assert_eq!(met.server_kind(), Failed::WrongPurpose);
    // Nor one for clients that names no host.
    let client = blind(Some(signed(&service, ClientAuth, vec![dns("x")])));
    let met = meet(service.config(), client, "localhost").await;
    assert_eq!(met.server_kind(), Failed::BadCertificate);
}

#[tokio::test]
async fn nothing_is_resumed() {
    let service = Service::new();
    let host = service.enrol(HostId::generate()).await;
    // A client that would resume if it could.
    let client = blind(Some(of_file(&host.path)));
    let server = service.config();
    for _ in 0..2 {
        assert!(
            meet(server.clone(), client.clone(), "localhost")
                .await
                .server
                .is_ok()
        );
    }
    service.clock.forward(hours(25));
    let met = meet(server, client, "localhost").await;
    assert_eq!(met.server_kind(), Failed::Expired);
}

/// A roll with one answer.
struct Answer(Result<Standing, &'static str>);

#[async_trait]
impl Roll for Answer {
    async fn standing(
        &self,
        _: HostId,
        _: &Serial,
    ) -> Result<Standing, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0?)
    }
}

#[tokio::test]
async fn the_roll_has_the_last_word() {
    let service = Service::new();
    let host = service.enrol(HostId::generate()).await;
    let peer = meet(service.config(), host.config(), "localhost")
        .await
        .host();
    let now = service.clock.now();
    let admit = async |answer| peer.admit(&Answer(answer), now).await;
    admit(Ok(Standing::Enrolled)).await.unwrap();

    let revoked = admit(Ok(Standing::Revoked)).await.unwrap_err();
    assert!(matches!(revoked, AdmitError::Revoked { host } if host == peer.id));
    assert!(Problem::from(&revoked).is("HostNotEnrolled"));
    let unknown = admit(Ok(Standing::Unknown)).await.unwrap_err();
    assert!(matches!(unknown, AdmitError::Unknown { .. }));
    let unusable = admit(Err("no database")).await.unwrap_err();
    assert!(matches!(unusable, AdmitError::RollUnusable { .. }));

    let late = peer.until + hours(1);
    let expired = peer.admit(&Answer(Ok(Standing::Enrolled)), late).await;
    let expired = expired.unwrap_err();
    assert!(matches!(expired, AdmitError::Expired { .. }));
    assert!(Problem::from(&expired).is("HostCertificateExpired"));
}

#[tokio::test]
async fn a_host_is_nobody_else() {
    let service = Service::new();
    let (one, two) = (HostId::generate(), HostId::generate());
    let host = service.enrol(one).await;
    let peer = meet(service.config(), host.config(), "localhost")
        .await
        .host();
    peer.claims(one).unwrap();
    let error = peer.claims(two).unwrap_err();
    let expected = (two, one);
    assert!(
        matches!(error, AdmitError::AnotherHost { claimed, actual } if (claimed, actual) == expected)
    );
    assert!(Problem::from(&error).is("HostNotEnrolled"));
}

#[test]
fn only_hosts_are_named_by_certificates() {
    let service = Service::new();
    let authority = service.authority.certificate().clone();
    assert_eq!(Peer::of(Some(&[authority])), Err(PeerError::NotAHost));
    let pending = PendingHost::generate().unwrap();
    let now = service.clock.now();
    let id = HostId::generate();
    let issued = service
        .authority
        .sign_host(id, pending.request(), now)
        .unwrap();
    let peer = HostPeer::of(&issued.certificate).unwrap();
    assert_eq!(
        (peer.id, peer.serial, peer.until),
        (id, issued.serial, issued.until)
    );
    let mut longer = issued.certificate.to_vec();
    longer.push(0);
    assert_eq!(HostPeer::of(&longer), Err(PeerError::Unreadable));
}

#[test]
fn an_id_in_another_spelling_names_nobody() {
    for (uri, error) in [
        ("urn:tresor:host:", PeerError::BadId),
        ("urn:tresor:host:x", PeerError::BadId),
        (
            "urn:tresor:host:67E55044-10B1-426F-9247-BB680E5FE0C8",
            PeerError::BadId,
        ),
        (
            "urn:tresor:host:67e5504410b1426f9247bb680e5fe0c8",
            PeerError::BadId,
        ),
        ("urn:tresor:service", PeerError::NotAHost),
        ("https://example.com", PeerError::NotAHost),
    ] {
        let mut params = rcgen::CertificateParams::default();
        params.serial_number = Some(vec![7; 16].into());
        let uri = rcgen::SanType::URI(uri.try_into().unwrap());
        params.subject_alt_names = vec![uri.clone()];
        let key = rcgen::KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        assert_eq!(HostPeer::of(made.der()), Err(error), "{uri:?}");
        let good = "urn:tresor:host:67e55044-10b1-426f-9247-bb680e5fe0c8";
        params.subject_alt_names = vec![rcgen::SanType::URI(good.try_into().unwrap())];
        assert!(HostPeer::of(params.self_signed(&key).unwrap().der()).is_ok());
        params.serial_number = Some(vec![7; 17].into());
        let longer = params.self_signed(&key).unwrap();
        assert_eq!(HostPeer::of(longer.der()), Err(PeerError::BadSerial));
        params.subject_alt_names.push(uri);
        let two = params.self_signed(&key).unwrap();
        assert_eq!(HostPeer::of(two.der()), Err(PeerError::NotAHost));
    }
}

/// Whoever makes the connection sees that the session is what it came for.
#[tokio::test]
async fn what_is_spoken_says_who_came_for_what() {
    let service = Service::new();
    let host = service.enrol(HostId::generate()).await;
    for alpn in [Some(Alpn::Http2), Some(Alpn::Http1), None] {
        let mut client = blind(Some(of_file(&host.path)));
        client.alpn_protocols = alpn.iter().map(|alpn| alpn.id().to_vec()).collect();
        let met = meet(service.config(), client, "localhost").await;
        match met.server.unwrap() {
            Session::Api(Peer::Host(peer)) => assert_eq!(peer.id, host.identity.id()),
            other => panic!("{other:?}"),
        }
    }
    let mut client = blind(None);
    client.alpn_protocols = vec![b"ftp".to_vec()];
    let met = meet(service.config(), client, "localhost").await;
    assert_eq!(met.server_kind(), Failed::NoCommonProtocol);
    assert_eq!(met.client_kind(), Failed::NoCommonProtocol);
}

#[tokio::test]
async fn what_does_not_speak_tls_is_no_service() {
    use tokio::io::AsyncWriteExt as _;
    let service = Service::new();
    let host = service.enrol(HostId::generate()).await;
    for (answer, kind) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], Failed::Protocol),
        (b"", Failed::Lost),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answer).await.unwrap();
            stream.shutdown().await.unwrap();
            // Kept until the client has gone, so that it reads an end and not a reset.
            let mut hello = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut hello)
                .await
                .ok();
        };
        let call = async {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let name = "localhost".try_into().unwrap();
            let connector = tokio_rustls::TlsConnector::from(Arc::new(host.config()));
            connector.connect(name, stream).await.map(drop)
        };
        let ((), called) = tokio::join!(serve, call);
        let error = HandshakeError::of(&called.unwrap_err());
        assert_eq!(error.kind(), kind);
        let problem = error.client_problem("localhost", Some(host.identity.id()));
        assert!(problem.is("ServiceUnreachable"), "{problem}");
    }
}
