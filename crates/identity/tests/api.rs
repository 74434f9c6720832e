//! Clients of the API, on the hosts' port: without certificates, by the ways in which they know the server.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod support;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose::ServerAuth, KeyPair};
use rustls::ClientConfig;
use support::{
    Service, hours, meet,
    rogue::{dns, serving, signed},
};
use tresor_identity::{
    ApiTrust, Authority, Clock as _, ErrorKind, Fingerprint, GivenFiles,
    HandshakeErrorKind as Failed, Names, OwnCertificate, Peer, PendingHost, ServerCertificates,
    Session, Trust, api_client_config, client_config,
};
use tresor_model::HostId;

fn client(service: &Service, trust: &ApiTrust) -> ClientConfig {
    api_client_config(trust, service.clock.clone()).unwrap()
}

fn by_authority(service: &Service) -> ApiTrust {
    let file = service.dir.path().join("ca.crt");
    ApiTrust::Authorities(Trust::from_file(&file).unwrap())
}

#[tokio::test]
async fn the_api_needs_no_certificate() {
    let service = Service::new();
    let trust = by_authority(&service);
    for name in ["localhost", "127.0.0.1"] {
        let met = meet(service.config(), client(&service, &trust), name).await;
        assert_eq!(met.server.unwrap(), Session::Api(Peer::Anonymous));
        met.client.unwrap();
    }
}

#[tokio::test]
async fn a_server_has_the_name_it_is_reached_by() {
    let service = Service::new();
    let pin = service.authority.fingerprint();
    for trust in [by_authority(&service), ApiTrust::Fingerprint(pin)] {
        let met = meet(
            service.config(),
            client(&service, &trust),
            "elsewhere.example",
        )
        .await;
        assert_eq!(met.client_kind(), Failed::WrongName);
        let problem = met
            .client
            .unwrap_err()
            .client_problem("elsewhere.example", None);
        assert!(problem.is("ServerNotTrusted"), "{problem}");
    }
}

#[tokio::test]
async fn who_does_not_know_the_authority_does_not_come_in() {
    let (service, other) = (Service::new(), Service::new());
    let met = meet(
        service.config(),
        client(&service, &by_authority(&other)),
        "localhost",
    )
    .await;
    assert_eq!(met.client_kind(), Failed::UnknownAuthority);
    let pin = ApiTrust::Fingerprint(other.authority.fingerprint());
    let met = meet(service.config(), client(&service, &pin), "localhost").await;
    assert_eq!(met.client_kind(), Failed::WrongFingerprint);
    // The system's authorities have not signed it, wherever the tests run.
    if let Ok(config) = api_client_config(&ApiTrust::System, service.clock.clone()) {
        let met = meet(service.config(), config, "localhost").await;
        assert_eq!(met.client_kind(), Failed::UnknownAuthority);
    }
}

#[tokio::test]
async fn a_fingerprint_is_enough() {
    let service = Service::new();
    let pin = ApiTrust::Fingerprint(service.authority.fingerprint());
    let met = meet(service.config(), client(&service, &pin), "localhost").await;
    assert_eq!(met.server.unwrap(), Session::Api(Peer::Anonymous));
}

#[tokio::test]
async fn the_own_certificate_is_made_anew_before_it_ends() {
    let service = Service::new();
    let certificates = ServerCertificates::new(service.own(), None);
    let config = service.config_with(certificates);
    let trust = by_authority(&service);
    let mut seen = Vec::new();
    for _ in 0..6 {
        let met = meet(config.clone(), client(&service, &trust), "localhost").await;
        met.client.unwrap();
        let shown = met.shown.unwrap();
        if seen.last() != Some(&shown) {
            seen.push(shown);
        }
        service.clock.forward(hours(3 * 24));
    }
    // 15 days, each for at most 5 of its 7.
    assert_eq!(
        seen.len(),
        3,
        "a certificate was used for too long, or for one connection"
    );
}

/// A certificate that an administrator has, and its key.
struct Given {
    chain: Vec<u8>,
    key: Vec<u8>,
    print: Fingerprint,
    der: Vec<u8>,
}

fn given(days: i64, service: &Service) -> Given {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let seconds = service.clock.now().as_second() + days * 86_400;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_after = epoch + Duration::from_secs(seconds.try_into().unwrap());
    let made = params.self_signed(&key).unwrap();
    Given {
        chain: made.pem().into_bytes(),
        key: key.serialize_pem().into_bytes(),
        print: Fingerprint::of_public_key(&rcgen::PublicKeyData::subject_public_key_info(&key)),
        der: made.der().to_vec(),
    }
}

fn write(path: &Path, bytes: &[u8], mode: u32) {
    // As renewing programs do it: a new file in the old one's place.
    let new = path.with_extension("new");
    fs::write(&new, bytes).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(mode)).unwrap();
    fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn a_given_certificate_is_for_the_api_and_hosts_see_the_own_one() {
    let service = Service::new();
    let dir = tempfile::tempdir().unwrap();
    let (chain, key) = (dir.path().join("server.crt"), dir.path().join("server.key"));
    let first = given(90, &service);
    write(&chain, &first.chain, 0o644);
    write(&key, &first.key, 0o600);
    let files = GivenFiles::open(&chain, &key, Duration::ZERO, service.clock.clone()).unwrap();
    let config = service.config_with(ServerCertificates::new(service.own(), Some(files)));
    let pinned = |given: &Given| client(&service, &ApiTrust::Fingerprint(given.print));

    let met = meet(config.clone(), pinned(&first), "localhost").await;
    assert_eq!(met.shown.unwrap(), first.der);
    let host = service.enrol(HostId::generate()).await;
    meet(config.clone(), host.config(), "localhost")
        .await
        .host();

    // Replaced while it runs, the chain first: until both fit, the ones before stay.
    let second = given(90, &service);
    write(&chain, &second.chain, 0o644);
    let met = meet(config.clone(), pinned(&first), "localhost").await;
    assert_eq!(met.shown.unwrap(), first.der);
    write(&key, &second.key, 0o600);
    let met = meet(config.clone(), pinned(&second), "localhost").await;
    assert_eq!(met.shown.unwrap(), second.der);

    // What cannot be used is not taken.
    let ended = given(-1, &service);
    write(&chain, &ended.chain, 0o644);
    write(&key, &ended.key, 0o600);
    let met = meet(config.clone(), pinned(&second), "localhost").await;
    assert_eq!(met.shown.unwrap(), second.der);
    fs::remove_file(&chain).unwrap();
    let met = meet(config.clone(), pinned(&second), "localhost").await;
    assert_eq!(met.shown.unwrap(), second.der);

    // Its time is looked at, though its key is the one that was asked for.
    service.clock.forward(hours(91 * 24));
    let met = meet(config, pinned(&second), "localhost").await;
    assert_eq!(met.client_kind(), Failed::Expired);
}

#[test]
fn given_files_are_refused_by_name() {
    let service = Service::new();
    let dir = tempfile::tempdir().unwrap();
    let (chain, key) = (dir.path().join("server.crt"), dir.path().join("server.key"));
    let open = || {
        let opened = GivenFiles::open(&chain, &key, Duration::ZERO, service.clock.clone());
        let error = opened.unwrap_err();
        let file = error.path().rsplit('/').next().unwrap().to_owned();
        (file, error.kind())
    };
    let good = given(90, &service);
    assert_eq!(open(), ("server.key".to_owned(), ErrorKind::Missing));
    write(&key, &good.key, 0o600);
    assert_eq!(open(), ("server.crt".to_owned(), ErrorKind::Missing));
    write(&chain, b"x", 0o644);
    assert_eq!(open(), ("server.crt".to_owned(), ErrorKind::Damaged));
    write(&chain, &given(90, &service).chain, 0o644);
    assert_eq!(open(), ("server.key".to_owned(), ErrorKind::KeyMismatch));
    let ended = given(-1, &service);
    write(&chain, &ended.chain, 0o644);
    assert_eq!(open(), ("server.crt".to_owned(), ErrorKind::Expired));
    write(&chain, &good.chain, 0o644);
    write(&key, &good.key, 0o644);
    assert_eq!(
        open(),
        ("server.key".to_owned(), ErrorKind::ReadableByOthers)
    );
    write(&key, b"x", 0o600);
    assert_eq!(open(), ("server.key".to_owned(), ErrorKind::Damaged));
    // Both in one file, as some programs write them.
    write(&key, &[good.key, good.chain].concat(), 0o600);
    GivenFiles::open(&key, &key, Duration::ZERO, service.clock.clone()).unwrap();
}

/// Whoever puts a bounded authority into a browser risks no other site by it.
#[tokio::test]
async fn a_bounded_authority_vouches_for_its_names_only() {
    let mut service = Service::new();
    let bounded = service.dir.path().join("bounded");
    let only = Names::new(["tresor.example.com"]).unwrap();
    let authority = Authority::open_or_create(&bounded, &only, service.clock.now());
    service.authority = Arc::new(authority.unwrap());
    fs::copy(bounded.join("ca.key"), service.dir.path().join("ca.key")).unwrap();
    let file = Trust::from_file(&bounded.join("ca.crt")).unwrap();
    let trust = ApiTrust::Authorities(file);
    let reach = async |name: &'static str, subject| {
        let server = serving(signed(&service, ServerAuth, vec![subject]));
        meet(server, client(&service, &trust), name).await.client
    };
    reach("tresor.example.com", dns("tresor.example.com"))
        .await
        .unwrap();
    reach("a.tresor.example.com", dns("a.tresor.example.com"))
        .await
        .unwrap();
    let refused = reach("bank.example", dns("bank.example"))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), Failed::BadCertificate);
    let address = rcgen::SanType::IpAddress([127, 0, 0, 1].into());
    let refused = reach("127.0.0.1", address).await.unwrap_err();
    assert_eq!(refused.kind(), Failed::BadCertificate);
    // Hosts do not go by names, and come in as with any other.
    let pending = PendingHost::generate().unwrap();
    let (host, now) = (HostId::generate(), service.clock.now());
    let issued = service.authority.sign_host(host, pending.request(), now);
    let path = service.dir.path().join("host.pem");
    let (pem, pin) = (issued.unwrap().to_pem(), service.authority.fingerprint());
    let identity = pending.enrol(&path, pem.as_bytes(), pin).unwrap();
    let own = OwnCertificate::new(service.authority.clone(), only, service.clock.clone());
    let server = service.config_with(ServerCertificates::new(own.unwrap(), None));
    let link = client_config(Arc::new(identity), service.clock.clone()).unwrap();
    assert_eq!(meet(server, link, "localhost").await.host().id, host);
}
