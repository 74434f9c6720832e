//! A host's certificate over time: renewed, lost, and moved from one authority to the next.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod support;

use std::{fs, os::unix::fs::PermissionsExt as _};

use support::{Service, hours, meet};
use tresor_identity::{Clock as _, ErrorKind, HostIdentity, PendingHost};
use tresor_model::HostId;

#[tokio::test]
async fn a_host_renews_before_its_time_is_over() {
    let service = Service::new();
    let host = service.enrol(HostId::generate()).await;
    let before = host.identity.peer();
    let renew_at = host.identity.renew_at();
    assert!(renew_at > service.clock.now() + hours(12));
    assert!(renew_at < service.clock.now() + hours(17));
    // One configuration for the host's life: each connection uses what is there then.
    let config = host.config();
    service.clock.forward(hours(16));
    host.renew(&service);
    let after = meet(service.config(), config.clone(), "localhost")
        .await
        .host();
    assert_eq!(after.id, before.id);
    assert_ne!(after.serial, before.serial);
    assert_eq!(after.until, service.clock.now() + hours(24));
    service.clock.forward(hours(20));
    meet(service.config(), config, "localhost").await.host();
    // And it is in the file.
    let again = HostIdentity::open(&host.path).unwrap();
    assert_eq!(again.peer(), after);
    assert_eq!(
        fs::metadata(&host.path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        fs::read_dir(host.path.parent().unwrap()).unwrap().count(),
        1
    );
}

#[tokio::test]
async fn a_wrong_answer_changes_nothing() {
    let service = Service::new();
    let host = service.enrol(HostId::generate()).await;
    let before = fs::read(&host.path).unwrap();
    let now = service.clock.now();
    let sign = |id, request: &[u8]| service.authority.sign_host(id, request, now).unwrap();
    let (pending, other) = (
        PendingHost::generate().unwrap(),
        PendingHost::generate().unwrap(),
    );
    let id = host.identity.id();

    let for_another_key = sign(id, other.request()).to_pem();
    let for_another_host = sign(HostId::generate(), pending.request()).to_pem();
    let good = sign(id, pending.request());
    let without_authorities = tresor_identity::Issued {
        authorities: Vec::new(),
        ..good.clone()
    };
    let cut = &good.to_pem()[..good.to_pem().len() / 2];
    for (answer, kind) in [
        (for_another_key.as_str(), ErrorKind::KeyMismatch),
        (&for_another_host, ErrorKind::Damaged),
        (&without_authorities.to_pem(), ErrorKind::Damaged),
        (cut, ErrorKind::Damaged),
        ("", ErrorKind::Damaged),
    ] {
        let error = host
            .identity
            .renewed(&pending, answer.as_bytes())
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(fs::read(&host.path).unwrap(), before);
    }
    meet(service.config(), host.config(), "localhost")
        .await
        .host();
}

#[tokio::test]
async fn an_enrolment_takes_only_the_authority_of_its_token() {
    let (service, other) = (Service::new(), Service::new());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("host.pem");
    let pending = PendingHost::generate().unwrap();
    let now = service.clock.now();
    let issued = service
        .authority
        .sign_host(HostId::generate(), pending.request(), now);
    let pem = issued.unwrap().to_pem();
    let error = pending.enrol(&path, pem.as_bytes(), other.authority.fingerprint());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Damaged);
    assert!(!path.exists());
    assert_eq!(
        HostIdentity::open(&path).unwrap_err().kind(),
        ErrorKind::Missing
    );
}

#[tokio::test]
async fn a_hosts_file_is_read_with_care() {
    let service = Service::new();
    let host = service.enrol(HostId::generate()).await;
    let open = || HostIdentity::open(&host.path).unwrap_err().kind();
    let whole = fs::read(&host.path).unwrap();
    for length in [0, 10, whole.len() / 3, whole.len() / 2] {
        fs::write(&host.path, &whole[..length]).unwrap();
        assert_eq!(open(), ErrorKind::Damaged, "{length}");
    }
    let other = service.enrol(HostId::generate()).await;
    let text = String::from_utf8(whole).unwrap();
    let others = fs::read_to_string(&other.path).unwrap();
    let key_end = "-----END PRIVATE KEY-----\n";
    let key = &others[..others.find(key_end).unwrap() + key_end.len()];
    let rest = &text[text.find(key_end).unwrap() + key_end.len()..];
    fs::write(&host.path, format!("{key}{rest}")).unwrap();
    assert_eq!(open(), ErrorKind::KeyMismatch);
    fs::write(&host.path, &text).unwrap();
    HostIdentity::open(&host.path).unwrap();
    fs::set_permissions(&host.path, fs::Permissions::from_mode(0o604)).unwrap();
    assert_eq!(open(), ErrorKind::ReadableByOthers);
}

/// As docs/identity.md tells an administrator to do it.
#[tokio::test]
async fn the_authority_is_changed_without_enrolling_anybody_again() {
    let mut service = Service::new();
    let host = service.enrol(HostId::generate()).await;
    let away = service.enrol(HostId::generate()).await;
    let next = Service::at(service.clock.clone());
    let (old_dir, new_dir) = (service.dir.path().to_owned(), next.dir.path().to_owned());

    // 1. Everybody gets to know the next one.
    fs::copy(new_dir.join("ca.crt"), old_dir.join("trusted.crt")).unwrap();
    service.reopen();
    service.clock.forward(hours(16));
    host.renew(&service);
    assert_eq!(host.identity.trust().certificates().len(), 2);

    // 2. It takes over; the old one is still taken.
    fs::copy(old_dir.join("ca.crt"), old_dir.join("trusted.crt")).unwrap();
    fs::copy(new_dir.join("ca.crt"), old_dir.join("ca.crt")).unwrap();
    fs::copy(new_dir.join("ca.key"), old_dir.join("ca.key")).unwrap();
    service.reopen();
    meet(service.config(), host.config(), "localhost")
        .await
        .host();
    service.clock.forward(hours(16));
    host.renew(&service);

    // 3. The old one goes.
    fs::remove_file(old_dir.join("trusted.crt")).unwrap();
    service.reopen();
    meet(service.config(), host.config(), "localhost")
        .await
        .host();
    // Who was away the whole time has to enrol again.
    assert!(
        meet(service.config(), away.config(), "localhost")
            .await
            .client
            .is_err()
    );
}
