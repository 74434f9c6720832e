//! Over the real port: who is trusted, and what is sent to whom is not.

use std::sync::Arc;

use tresor_api_client::{Client, Https, look, types::JobQuery};
use tresor_catalog::TokenRole;
use tresor_identity::{ApiTrust, Authority, Fingerprint, Names, Trust};
use tresor_problem::Problem;
use zeroize::Zeroizing;

use crate::support::{HASTE, Port, Service};

fn client(port: &Port, trust: &ApiTrust, token: &Zeroizing<String>) -> Client {
    let https = Https::new(&port.address, trust, Some(token)).unwrap();
    Client::new(Arc::new(https)).with_patience(HASTE)
}

#[tokio::test]
async fn a_service_is_known_by_its_authority_or_its_fingerprint() {
    let service = Service::new().await;
    let port = Port::open(service.router.clone(), service.dir.path()).await;
    let token = service.token(TokenRole::Reader).await;
    let shown = look(&port.address).await.unwrap();
    assert_eq!(shown, port.authority.fingerprint());
    for trust in [
        ApiTrust::Authorities(port.trust.clone()),
        ApiTrust::Fingerprint(shown),
    ] {
        let client = client(&port, &trust, &token);
        assert_eq!(
            client.status().await.unwrap().version,
            env!("CARGO_PKG_VERSION")
        );
        let jobs = client.jobs(&JobQuery::default()).all().await;
        assert!(jobs.unwrap().is_empty());
        let denied = client.remove_policy("nightly").await.unwrap_err();
        assert!(denied.is("PermissionDenied"), "{denied}");
    }
    let wrong = Zeroizing::new("tresor-api-1-nonsense".to_owned());
    let trust = ApiTrust::Fingerprint(shown);
    let refused = client(&port, &trust, &wrong).status().await.unwrap_err();
    assert!(refused.is("ApiTokenInvalid"), "{refused}");
    let broken = Zeroizing::new("two\nlines".to_owned());
    let refused = Https::new(&port.address, &trust, Some(&broken)).map(|_| ());
    assert!(refused.unwrap_err().is("ApiTokenInvalid"));
    port.close().await;
}

#[tokio::test]
async fn another_service_is_not_spoken_to() {
    let service = Service::new().await;
    let port = Port::open(service.router.clone(), service.dir.path()).await;
    let token = service.token(TokenRole::Admin).await;
    let other = tempfile::tempdir().unwrap();
    let now = jiff::Timestamp::now();
    Authority::open_or_create(other.path(), &Names::default(), now).unwrap();
    let other = Trust::from_file(&other.path().join("ca.crt")).unwrap();
    for trust in [
        ApiTrust::Authorities(other.clone()),
        ApiTrust::Fingerprint(other.fingerprints()[0]),
        ApiTrust::Fingerprint(Fingerprint::of_public_key(b"nobody's")),
    ] {
        let problem: Problem = client(&port, &trust, &token).status().await.unwrap_err();
        assert!(problem.is("ServerNotTrusted"), "{problem}");
    }
    port.close().await;
}
