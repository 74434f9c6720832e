//! People log in at an identity provider: a real one, which insists on PKCE.

use std::net::TcpListener;

use serde_json::Value;
use tresor_testkit::login::{Browser, Client, GroupsIn, IdentityProvider};

use crate::{
    lab::{Lab, write_private},
    service::{request, serving},
};

const SECRET: &str = "open sesame";
const GROUPS: &str = r#"{"ann": ["staff", "backup admins"], "rita": ["all"]}"#;
// RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A port that is free now: the provider has to know it before the service has it.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// An ID token as another program would get it.
fn id_token(provider: &IdentityProvider, redirect: &str, user: &str) -> String {
    let issuer = provider.issuer();
    let asked = format!(
        "{issuer}/auth?response_type=code&client_id=tresor&redirect_uri={redirect}\
         &scope=openid%20profile&state=s&code_challenge={CHALLENGE}&code_challenge_method=S256"
    );
    let page = Browser::new().unwrap().log_in(&asked, user).unwrap();
    let (_, code) = page.url.split_once("code=").unwrap();
    let code = code.split('&').next().unwrap();
    let form = format!(
        "grant_type=authorization_code&code={code}&redirect_uri={redirect}\
         &code_verifier={VERIFIER}"
    );
    let url = format!(
        "http://tresor:open+sesame@{}/token",
        issuer.split_once("://").unwrap().1
    );
    let answer = Browser::new().unwrap().send(&url, &form).unwrap();
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    answer["id_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn people_log_in_with_the_role_of_their_groups() {
    let lab = Lab::without_vault();
    let url = format!("https://127.0.0.1:{}", free_port());
    let redirect = format!("{url}/login/oidc/callback");
    let client = Client {
        id: "tresor",
        secret: SECRET,
        redirect: &redirect,
    };
    let provider = IdentityProvider::start(client, GROUPS, GroupsIn::IdToken).unwrap();
    let secret = lab.path("oidc-secret");
    write_private(&secret, SECRET);
    let address = url.split_once("://").unwrap().1;
    let serve = [
        "serve",
        "--listen",
        address,
        "--oidc-issuer",
        provider.issuer(),
        "--oidc-client-id",
        "tresor",
    ];
    let without = lab.run(&serve).await.raises("UsageError");
    assert!(without.to_string().contains("--oidc-admin"), "{without}");
    let secret = secret.to_str().unwrap();
    let roles = [
        "--oidc-client-secret-file",
        secret,
        "--oidc-admin",
        "backup admins",
        "--oidc-reader",
        "all",
    ];
    let mut child = lab
        .command(&[&serve[..], &roles[..]].concat())
        .spawn()
        .unwrap();
    let started = serving(&mut child).await;
    let admin = started["admin_token"].as_str().unwrap().to_owned();
    let bearer = |token: &str| format!("Authorization: Bearer {token}");

    // The page has the way there, and back from there somebody is known.
    let browser = Browser::new().unwrap();
    let page = browser.open(&url).unwrap();
    assert!(
        page.url.ends_with("/login") && page.body.contains("href=\"/login/oidc\""),
        "{page:?}"
    );
    let ann = format!("ann at {}", provider.issuer().split_once("://").unwrap().1);
    let back = browser.log_in(&format!("{url}/login/oidc"), "ann").unwrap();
    assert!(back.body.contains("Go on"), "{back:?}");
    let page = browser.open(&url).unwrap();
    assert!(
        page.body.contains(&format!("login of {ann}")) && page.body.contains("admin"),
        "{page:?}"
    );
    // Brought again, the answer is nobody's: its code counted once, and the cookie is gone.
    let again = browser.open(&back.url).unwrap();
    assert!(again.body.contains("LoginRefused"), "{again:?}");

    let stranger = Browser::new()
        .unwrap()
        .log_in(&format!("{url}/login/oidc"), "bob")
        .unwrap();
    assert!(
        stranger
            .body
            .contains("is in no group that has a role here"),
        "{stranger:?}"
    );

    // What came of it is in the log, and can be taken back.
    let asked = ["--header", &bearer(&admin)];
    let (status, audit) = request(&lab, &url, "/api/v1/audit", &asked).await;
    assert!(
        status == 200 && audit.contains(&format!("\"{ann}\"")),
        "{audit}"
    );
    let (_, tokens) = request(&lab, &url, "/api/v1/tokens", &asked).await;
    let tokens: Value = serde_json::from_str(&tokens).unwrap();
    let of_ann = tokens["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|token| token["name"].as_str().unwrap().contains("ann"));
    let id = of_ann.unwrap()["id"].as_str().unwrap();
    let revoke = [&asked[..], &["--request", "DELETE"]].concat();
    let (status, body) = request(&lab, &url, &format!("/api/v1/tokens/{id}"), &revoke).await;
    assert_eq!(status, 200, "{body}");
    let page = browser.open(&url).unwrap();
    assert!(page.url.ends_with("/login"), "{page:?}");

    // A program shows the provider's token itself.
    let rita = id_token(&provider, &redirect, "rita");
    let header = bearer(&rita);
    let (status, body) = request(&lab, &url, "/api/v1/items", &["--header", &header]).await;
    assert_eq!(status, 200, "{body}");
    let change = ["--header", &header, "--request", "DELETE"];
    let (status, body) = request(&lab, &url, "/api/v1/policies/nightly", &change).await;
    assert!(
        status == 403 && body.contains("PermissionDenied"),
        "{status} {body}"
    );
    let header = bearer(&id_token(&provider, &redirect, "bob"));
    let (status, body) = request(&lab, &url, "/api/v1/items", &["--header", &header]).await;
    assert!(
        status == 401 && body.contains("LoginRefused"),
        "{status} {body}"
    );

    // With the provider away, API tokens are as good as before.
    drop(provider);
    let (status, body) = request(&lab, &url, "/api/v1/items", &asked).await;
    assert_eq!(status, 200, "{body}");
    crate::running::signal(child.id().unwrap(), "TERM");
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn without_the_provider_the_page_says_so_and_tokens_still_open_it() {
    let lab = Lab::without_vault();
    let serve = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--oidc-issuer",
        "http://127.0.0.1:9",
        "--oidc-client-id",
        "tresor",
        "--oidc-admin",
        "staff",
    ];
    let mut child = lab.command(&serve).spawn().unwrap();
    let started = serving(&mut child).await;
    let url = started["url"].as_str().unwrap().trim_end_matches('/');
    let page = Browser::new().unwrap().open(&format!("{url}/login/oidc"));
    let page = page.unwrap().body;
    assert!(page.contains("IdentityProviderUnusable"), "{page}");
    assert!(page.contains("API token"), "{page}");
    let form = format!("token={}", started["admin_token"].as_str().unwrap());
    let page = Browser::new().unwrap().send(&format!("{url}/login"), &form);
    assert!(page.unwrap().body.contains("first administrator"));
    crate::running::signal(child.id().unwrap(), "TERM");
    assert!(child.wait().await.unwrap().success());
}
