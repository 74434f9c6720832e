//! Logins at a real provider, which insists on PKCE.

use tresor_oidc::{OidcError, Pending, Provider};
use tresor_testkit::login::{Browser, Client, GroupsIn, IdentityProvider};

use crate::{CLIENT, REDIRECT, SECRET, provider, settings};

const GROUPS: &str = r#"{"ann": ["staff", "backup admins"]}"#;

fn start(groups_in: GroupsIn) -> IdentityProvider {
    let client = Client {
        id: CLIENT,
        secret: SECRET,
        redirect: REDIRECT,
    };
    IdentityProvider::start(client, GROUPS, groups_in).unwrap()
}

/// A parameter of an address.
fn parameter(url: &str, name: &str) -> String {
    let url: url::Url = url.parse().unwrap();
    let found = url.query_pairs().find(|(key, _)| key == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {url}"))
        .1
        .into_owned()
}

/// Somebody logs in: what the browser keeps, and the state and code it comes back with.
async fn come_back(provider: &Provider, user: &str) -> (Pending, String, String) {
    let (url, pending) = provider.begin().await.unwrap();
    let page = Browser::new().unwrap().log_in(url.as_str(), user).unwrap();
    assert!(page.url.starts_with(REDIRECT), "{page:?}");
    (
        pending,
        parameter(&page.url, "state"),
        parameter(&page.url, "code"),
    )
}

fn refused<T: std::fmt::Debug>(result: Result<T, OidcError>) -> String {
    match result {
        Err(OidcError::Refused { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn somebody_logs_in_with_their_groups() {
    for groups_in in [GroupsIn::IdToken, GroupsIn::Userinfo] {
        let server = start(groups_in);
        let provider = provider(server.issuer());
        let (pending, state, code) = come_back(&provider, "ann").await;
        let identity = provider.finish(&pending, &state, &code).await.unwrap();
        assert_eq!(
            (identity.subject.as_str(), identity.name.as_str()),
            ("ann", "ann")
        );
        assert_eq!(identity.groups, ["staff", "backup admins"]);

        let (pending, state, code) = come_back(&provider, "bob").await;
        let identity = provider.finish(&pending, &state, &code).await.unwrap();
        assert!(identity.groups.is_empty() && identity.name == "bob");
    }
}

#[tokio::test]
async fn a_code_counts_once_and_in_its_own_browser() {
    let server = start(GroupsIn::IdToken);
    let provider = provider(server.issuer());
    let (pending, state, code) = come_back(&provider, "ann").await;
    let (_, other) = provider.begin().await.unwrap();
    // Somebody is sent another's answer.
    refused(provider.finish(&other, &state, &code).await);
    // The state is right, and the verifier is another's.
    let parts = [pending.to_text(), other.to_text()]
        .map(|text| text.split('.').map(str::to_owned).collect::<Vec<_>>());
    let mixed = format!("{}.{}.{}", parts[0][0], parts[0][1], parts[1][2]);
    let mixed = Pending::from_text(&mixed).unwrap();
    refused(provider.finish(&mixed, &state, &code).await);

    let (pending, state, code) = come_back(&provider, "ann").await;
    provider.finish(&pending, &state, &code).await.unwrap();
    let again = refused(provider.finish(&pending, &state, &code).await);
    assert!(again.contains("invalid_grant"), "{again}");
}

#[tokio::test]
async fn a_wrong_secret_and_a_wrong_issuer_are_told_apart() {
    let server = start(GroupsIn::IdToken);
    let right = provider(server.issuer());
    let mut settings = settings(server.issuer());
    settings.client_secret = Some("guessed".to_owned().into());
    let wrong = Provider::new(settings).unwrap();
    let (pending, state, code) = come_back(&right, "ann").await;
    let reason = refused(wrong.finish(&pending, &state, &code).await);
    assert!(
        reason.contains("invalid_client") && !reason.contains("guessed"),
        "{reason}"
    );

    let named = server.issuer().replace("127.0.0.1", "localhost");
    let error = provider(&named).begin().await.unwrap_err();
    assert!(matches!(error, OidcError::Provider { .. }), "{error}");
    let issuer = server.issuer().to_owned();
    drop(server);
    let error = provider(&issuer).begin().await.unwrap_err();
    assert!(matches!(error, OidcError::Provider { .. }), "{error}");
}
