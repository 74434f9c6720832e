//! Tokens: shown once, used, revoked.

use serde_json::json;
use tresor_catalog::TokenRole;

use super::support::Service;

const TOKENS: (&str, &str) = ("POST", "/api/v1/tokens");

#[tokio::test]
async fn a_token_is_shown_once_works_and_is_revoked() {
    let service = Service::new().await;
    let admin = service.token(TokenRole::Admin).await;
    let asked = json!({ "name": "ci", "role": "reader" });
    let made = service.change(&admin, TOKENS, &asked, &[]).await.ok(201);
    let secret = made["secret"].as_str().unwrap();
    let id = made["token"]["id"].as_str().unwrap();
    service.get(secret, "/api/v1/vaults").await.ok(200);
    let refused = service.get(secret, "/api/v1/tokens").await;
    refused.is(403, "PermissionDenied");
    let listed = service.get(&admin, "/api/v1/tokens").await;
    assert!(listed.text.contains(id) && !listed.text.contains(secret));
    assert!(!listed.text.contains("hash"), "{listed:?}");

    let path = format!("/api/v1/tokens/{id}");
    let revoked = service.change(&admin, ("DELETE", &path), &json!(null), &[]);
    assert!(revoked.await.ok(200)["revoked_at"].is_string());
    let refused = service.get(secret, "/api/v1/vaults").await;
    refused.is(401, "ApiTokenInvalid");

    let audit = service.get(&admin, "/api/v1/audit").await.ok(200);
    let actions = |number: usize| audit["items"][number]["action"].clone();
    assert_eq!(
        (actions(0), actions(1)),
        (json!("tokens.revoke"), json!("tokens.add"))
    );
    assert!(!audit.to_string().contains(secret));
}

#[tokio::test]
async fn a_token_that_cannot_be_so_is_refused_by_field() {
    let service = Service::new().await;
    let admin = service.token(TokenRole::Admin).await;
    for (asked, field) in [
        (json!({ "name": "", "role": "reader" }), "name"),
        (json!({ "name": "a\nb", "role": "reader" }), "name"),
        (json!({ "name": "x", "role": "root" }), "role"),
        (
            json!({ "name": "x", "role": "reader", "expires_at": "2020-01-01T00:00:00Z" }),
            "expires_at",
        ),
    ] {
        let answer = service.change(&admin, TOKENS, &asked, &[]).await;
        answer.is(400, "RequestMalformed");
        assert_eq!(answer.json()["errors"][0]["field"], field, "{answer:?}");
    }
    let asked = json!({ "name": "x", "role": "reader" });
    let keyed = service.change(&admin, TOKENS, &asked, &[("idempotency-key", "1")]);
    keyed.await.is(400, "RequestMalformed");
}
