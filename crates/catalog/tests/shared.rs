//! A database that several machines share: what is refused, TLS, and a server that goes away and comes back.

#[path = "support/postgres_server.rs"]
mod server;

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::Path,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use server::{PASSWORD, PostgresServer};
use tresor_catalog::{Catalog, CatalogErrorKind};
use tresor_model::Fact;

fn encoded() -> String {
    let bytes = PASSWORD.bytes();
    bytes.map(|byte| format!("%{byte:02X}")).collect()
}

async fn open(url: &str) -> Result<Catalog, CatalogErrorKind> {
    let url = url.parse().expect("a URL");
    let opened = Catalog::open_shared(&url).await;
    opened.map_err(|error| {
        let told = format!("{error} {error:?}");
        assert!(!told.contains(PASSWORD), "{told}");
        error.kind
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_catalog_or_lets_nobody_in_is_refused_and_left_as_it_is() {
    let server = PostgresServer::start();
    let wrong = open(&server.tcp_url("wrong", "postgres")).await;
    assert_eq!(wrong.err(), Some(CatalogErrorKind::Refused));
    let missing = open(&server.tcp_url(&encoded(), "missing")).await;
    assert_eq!(missing.err(), Some(CatalogErrorKind::Refused));
    server.sql("postgres", "CREATE DATABASE songs");
    server.sql("songs", "CREATE TABLE songs (title TEXT)");
    let songs = server.tcp_url(&encoded(), "songs");
    assert_eq!(
        open(&songs).await.err(),
        Some(CatalogErrorKind::NotACatalog)
    );
    let tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(server.sql("songs", tables), "songs");

    let url = server.tcp_url(&encoded(), "postgres");
    open(&url).await.expect("a catalog is made").close().await;
    open(&url).await.expect("and opened again").close().await;
    server.sql("postgres", "INSERT INTO schema_versions VALUES (99, 0)");
    let newer = open(&url).await.err();
    assert!(
        matches!(
            newer,
            Some(CatalogErrorKind::VersionTooNew { found: 99, .. })
        ),
        "{newer:?}"
    );
    let nobody = open("postgres://postgres@127.0.0.1:1/postgres").await;
    assert_eq!(nobody.err(), Some(CatalogErrorKind::Unreachable));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_away_is_used_again() {
    let mut server = PostgresServer::start();
    let catalog = open(&server.tcp_url(&encoded(), "postgres")).await;
    let catalog = catalog.expect("open");
    let fact = |value: &str| Fact::present("name", value, "test", jiff::Timestamp::UNIX_EPOCH);
    let first = catalog.first_fact("service", &fact("one")).await;
    assert_eq!(first.expect("kept"), fact("one"));
    server.stop();
    for _ in 0..2 {
        let error = catalog.vaults().await.expect_err("it is away");
        assert_eq!(error.kind, CatalogErrorKind::Unreachable, "{error:?}");
        let error = catalog.record_facts("service", &[fact("two")]).await;
        let error = error.expect_err("it is away");
        assert_eq!(error.kind, CatalogErrorKind::Unreachable, "{error:?}");
    }
    server.start_again(&[]);
    let first = catalog.first_fact("service", &fact("three")).await;
    assert_eq!(first.expect("it is back"), fact("one"));
}

/// Writes an authority's certificate, and a key with its certificate for this name.
fn certify(dir: &Path, name: &str) {
    let key = KeyPair::generate().expect("key");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).expect("authority");
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().expect("key");
    let leaf = CertificateParams::new([name.to_owned()]).expect("name");
    let leaf = leaf.signed_by(&own, &issuer).expect("certificate");
    for (file, text) in [
        ("ca.pem", ca.pem()),
        ("server.pem", leaf.pem()),
        ("server.key", own.serialize_pem()),
    ] {
        let path = dir.join(file);
        fs::write(&path, text).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
        // The server's, which runs as the directory's owner.
        let owner = fs::metadata(dir).expect("metadata");
        chown(&path, Some(owner.uid()), None).expect("owner");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_asked_for_by_the_url_and_the_server_must_prove_its_name() {
    let mut server = PostgresServer::start();
    let url = server.tcp_url(&encoded(), "postgres");
    let ca = server.directory().join("ca.pem");
    let full = format!("{url}?sslmode=verify-full&sslrootcert={}", ca.display());
    certify(server.directory(), "localhost");
    let plain = open(&full).await;
    assert_eq!(
        plain.err(),
        Some(CatalogErrorKind::Unreachable),
        "the server has no TLS yet"
    );
    let files = ["server.pem", "server.key"].map(|file| server.directory().join(file));
    let cert = format!("ssl_cert_file={}", files[0].display());
    let key = format!("ssl_key_file={}", files[1].display());
    let with_tls = ["ssl=on", &cert, &key];
    server.stop();
    server.start_again(&with_tls);
    let catalog = open(&full).await.expect("verified");
    let encrypted = "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                     WHERE client_addr IS NOT NULL";
    assert_eq!(server.sql("postgres", encrypted), "t");
    catalog.close().await;
    // Somebody whose certificate is of the same authority, and for another name.
    server.stop();
    certify(server.directory(), "db.example");
    server.start_again(&with_tls);
    let other = open(&full).await;
    assert_eq!(other.err(), Some(CatalogErrorKind::Unreachable));
}
