//! The authority's files: made once, whatever happens meanwhile, and refused clearly when they are not what they
//! should be.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use jiff::Timestamp;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, PKCS_RSA_SHA256};
use support::hours;
use tresor_identity::{
    Authority, ErrorKind, MAX_REQUEST, Names, PendingHost, RequestError, Serial,
};
use tresor_model::HostId;
use tresor_problem::Problem;

fn now() -> Timestamp {
    "2026-11-28T12:00:00Z".parse().unwrap()
}

fn open(dir: &Path) -> tresor_identity::Result<Authority> {
    Authority::open_or_create(dir, &Names::default(), now())
}

fn refused(dir: &Path, file: &str, kind: ErrorKind) {
    for error in [
        open(dir).unwrap_err(),
        Authority::open(dir, now()).unwrap_err(),
    ] {
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.path().ends_with(file), "{error}");
        let problem = Problem::from(&error);
        assert!(problem.is("IdentityUnusable"));
        assert!(problem.cause.contains(file), "{problem}");
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn it_is_made_once_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("state/identity");
    let made = open(&dir).unwrap();
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("ca.key")), 0o600);
    assert_eq!(mode(&dir.join("ca.crt")), 0o644);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
    assert_eq!(made.until(), now() + hours(10 * 365 * 24));
    let found = open(&dir).unwrap();
    assert_eq!(found.certificate(), made.certificate());
    assert_eq!(found.trust().fingerprints(), [made.fingerprint()]);
    let text = format!("{found:?}");
    assert!(
        text.contains("sha256:") && !text.contains("PRIVATE"),
        "{text}"
    );
}

#[test]
fn where_there_is_none_open_makes_none() {
    let dir = tempfile::tempdir().unwrap();
    let error = Authority::open(dir.path(), now()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Missing);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// What a crash between the two files leaves.
#[test]
fn a_key_without_a_certificate_is_completed() {
    let dir = tempfile::tempdir().unwrap();
    let before = open(dir.path()).unwrap();
    fs::remove_file(dir.path().join("ca.crt")).unwrap();
    let after = open(dir.path()).unwrap();
    assert_eq!(after.fingerprint(), before.fingerprint());
    assert_ne!(after.certificate(), before.certificate());
    // What the first one signed is taken by who knows the second one, and the other way around.
    let pending = PendingHost::generate().unwrap();
    let host = HostId::generate();
    let issued = before.sign_host(host, pending.request(), now()).unwrap();
    let path = dir.path().join("host.pem");
    let pem = issued.to_pem();
    pending
        .enrol(&path, pem.as_bytes(), after.fingerprint())
        .unwrap();
}

const CHILDREN: usize = 8;
const CHILD_DIR: &str = "TRESOR_TEST_IDENTITY_DIR";

/// Not a test by itself: what each process of the next one does.
#[test]
fn child_of_the_race() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let authority = open(Path::new(&dir)).unwrap();
    println!("{}", authority.fingerprint());
    println!(
        "certificate {:?}",
        authority.certificate().last_chunk::<16>().unwrap()
    );
}

#[test]
fn processes_that_start_at_once_agree_on_one() {
    for _ in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let child = || {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "child_of_the_race", "--nocapture"])
                .env(CHILD_DIR, dir.path().join("identity"))
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let children: Vec<_> = (0..CHILDREN).map(|_| child()).collect();
        let mut said = Vec::new();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success());
            let text = String::from_utf8(output.stdout).unwrap();
            let lines = text.lines().filter_map(|line| {
                // The harness writes before it on the same line.
                let at = line.find("sha256:").or(line.find("certificate "))?;
                Some(line[at..].to_owned())
            });
            said.push(lines.collect::<Vec<_>>());
        }
        assert_eq!(said[0].len(), 2, "{said:?}");
        assert!(said.iter().all(|lines| *lines == said[0]), "{said:?}");
        let left = fs::read_dir(dir.path().join("identity")).unwrap().count();
        assert_eq!(left, 2);
    }
}

#[test]
fn what_others_may_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap();
    let key = dir.path().join("ca.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    refused(dir.path(), "ca.key", ErrorKind::ReadableByOthers);
}

#[test]
fn what_is_damaged_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    open(dir.path()).unwrap();
    let (key, certificate) = (
        fs::read(at("ca.key")).unwrap(),
        fs::read(at("ca.crt")).unwrap(),
    );
    let other = tempfile::tempdir().unwrap();
    open(other.path()).unwrap();
    let others_certificate = fs::read(other.path().join("ca.crt")).unwrap();
    let cut = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    let twice = [certificate.as_slice(), &certificate].concat();
    let not_an_authority = rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap();
    let not_an_authority = not_an_authority.cert.pem().into_bytes();

    for bytes in [vec![], b"no PEM".to_vec(), cut(&key), certificate.clone()] {
        write_private(&at("ca.key"), &bytes);
        refused(dir.path(), "ca.key", ErrorKind::Damaged);
    }
    write_private(&at("ca.key"), &key);
    for bytes in [
        vec![],
        b"no PEM".to_vec(),
        cut(&certificate),
        twice,
        not_an_authority.clone(),
    ] {
        fs::write(at("ca.crt"), bytes).unwrap();
        refused(dir.path(), "ca.crt", ErrorKind::Damaged);
    }
    fs::write(at("ca.crt"), &others_certificate).unwrap();
    refused(dir.path(), "ca.crt", ErrorKind::KeyMismatch);
    fs::write(at("ca.crt"), &certificate).unwrap();
    open(dir.path()).unwrap();
    fs::write(at("trusted.crt"), not_an_authority).unwrap();
    refused(dir.path(), "trusted.crt", ErrorKind::Damaged);
    fs::write(at("trusted.crt"), others_certificate).unwrap();
    assert_eq!(open(dir.path()).unwrap().trust().certificates().len(), 2);
}

fn write_private(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A new key in its place would shut out every host.
#[test]
fn a_lost_key_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap();
    fs::remove_file(dir.path().join("ca.key")).unwrap();
    refused(dir.path(), "ca.key", ErrorKind::KeyMissing);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn its_time_ends() {
    let dir = tempfile::tempdir().unwrap();
    let authority = open(dir.path()).unwrap();
    let last = authority.until() - hours(1);
    let authority = Authority::open(dir.path(), last).unwrap();
    // Nothing that it signs outlives it.
    let pending = PendingHost::generate().unwrap();
    let issued = authority.sign_host(HostId::generate(), pending.request(), last);
    assert_eq!(issued.unwrap().until, authority.until());
    let error = Authority::open(dir.path(), authority.until() + hours(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Expired);
}

#[test]
fn serial_numbers_are_random() {
    let dir = tempfile::tempdir().unwrap();
    let authority = open(dir.path()).unwrap();
    let pending = PendingHost::generate().unwrap();
    let id = HostId::generate();
    let sign = || authority.sign_host(id, pending.request(), now()).unwrap();
    let serials: std::collections::BTreeSet<Serial> = (0..100).map(|_| sign().serial).collect();
    assert_eq!(serials.len(), 100);
    // Every bit is both at some time.
    let bits = |serial: &Serial| u128::from_be_bytes(*serial.as_bytes());
    assert_eq!(
        serials.iter().fold(0, |all, serial| all | bits(serial)),
        u128::MAX
    );
    assert_eq!(
        serials
            .iter()
            .fold(u128::MAX, |all, serial| all & bits(serial)),
        0
    );
}

#[test]
fn only_good_requests_are_signed() {
    let dir = tempfile::tempdir().unwrap();
    let authority = open(dir.path()).unwrap();
    let sign = |request: &[u8]| authority.sign_host(HostId::generate(), request, now());
    let good = PendingHost::generate().unwrap().request().to_vec();
    assert!(sign(&good).is_ok());
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert!(matches!(sign(&forged), Err(RequestError::BadSignature)));
    for request in [&[][..], b"x", &good[..good.len() - 1]] {
        assert!(matches!(
            sign(request),
            Err(RequestError::Unreadable { .. })
        ));
    }
    let large = vec![0x30; MAX_REQUEST + 1];
    assert!(matches!(sign(&large), Err(RequestError::TooLarge)));
    let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let request = CertificateParams::default()
        .serialize_request(&rsa)
        .unwrap();
    assert!(matches!(sign(request.der()), Err(RequestError::KeyKind)));
}

/// A request asks for more than it gets.
#[test]
fn what_a_request_asks_for_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let authority = open(dir.path()).unwrap();
    let other = HostId::generate();
    let mut params = CertificateParams::default();
    let uri = format!("urn:tresor:host:{other}").try_into().unwrap();
    params.subject_alt_names = vec![rcgen::SanType::URI(uri)];
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().unwrap();
    let request = params.serialize_request(&key).unwrap();
    let id = HostId::generate();
    let issued = authority.sign_host(id, request.der(), now()).unwrap();
    let peer = tresor_identity::HostPeer::of(&issued.certificate).unwrap();
    assert_eq!(peer.id, id);
    // It is taken for no authority.
    let trusted = tresor_identity::Trust::from_pem(Path::new("x"), issued.to_pem().as_bytes());
    assert_eq!(trusted.unwrap_err().kind(), ErrorKind::Damaged);
}
