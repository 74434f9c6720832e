//! The first page: who gets in, what it shows, and that names stay text.

use axum::{body::Body, http::Request};
use jiff::Timestamp;
use tresor_catalog::TokenRole;

use super::support::{Answered, Service};

const HOSTILE: &str = "<script>alert(1)</script>\"'&";

async fn open(service: &Service, path: &str, cookie: Option<&str>) -> Answered {
    let mut request = Request::get(path);
    if let Some(cookie) = cookie {
        request = request.header("cookie", cookie);
    }
    service
        .send(request.body(Body::empty()).expect("request"))
        .await
}

async fn log_in(service: &Service, token: &str, site: &str) -> Answered {
    let request = Request::post("/login")
        .header("content-type", "application/x-www-form-urlencoded")
        // What browsers send where pages name no referrer.
        .header("origin", "null")
        .header("sec-fetch-site", site);
    let body = Body::from(format!("token={token}"));
    service.send(request.body(body).expect("request")).await
}

#[tokio::test]
async fn a_token_opens_the_page_by_a_cookie_that_scripts_do_not_see() {
    let service = Service::new().await;
    let token = service.token(TokenRole::Reader).await;
    let sent_off = open(&service, "/", None).await;
    assert_eq!(
        (sent_off.status.as_u16(), &sent_off.headers["location"]),
        (303, &"/login".parse().unwrap())
    );
    let form = open(&service, "/login", None).await;
    assert!(
        form.text
            .contains("<form method=\"post\" action=\"/login\">")
    );
    let policy = form.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));

    let entered = log_in(&service, &token, "same-origin").await;
    assert_eq!(entered.status, 303);
    let cookie = entered.headers["set-cookie"].to_str().unwrap();
    for word in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/"] {
        assert!(cookie.contains(word), "{cookie}");
    }
    let pair = cookie.split(';').next().unwrap();
    let page = open(&service, "/", Some(pair)).await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("No VM is protected yet."));
    assert_eq!(page.headers["cache-control"], "no-store");
    // The cookie is the page's: the API does not take it.
    let api = open(&service, "/api/v1/vaults", Some(pair)).await;
    api.is(401, "ApiTokenInvalid");
}

#[tokio::test]
async fn who_may_not_in_stays_out() {
    let service = Service::new().await;
    let token = service.token(TokenRole::Reader).await;
    let wrong = log_in(&service, "tresor_x", "same-origin").await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.text.contains("ApiTokenInvalid") && !wrong.headers.contains_key("set-cookie"));
    let foreign = log_in(&service, &token, "cross-site").await;
    assert_eq!(foreign.status, 403);
    assert!(!foreign.headers.contains_key("set-cookie"));
    let old = open(&service, "/", Some("tresor_token=tresor_old")).await;
    assert_eq!(old.status, 303);
}

#[tokio::test]
async fn what_others_named_is_text_on_every_page() {
    let service = Service::new().await;
    let token = service.token(TokenRole::Reader).await;
    let vm = service.vm(HOSTILE).await;
    let now = Timestamp::now();
    service.catalog.protect(vm, "nightly", now).await.unwrap();
    let job = super::events::failed_job(&service.catalog, HOSTILE).await;
    let cookie = format!("other=1; tresor_token={token}");
    let home = open(&service, "/", Some(&cookie)).await;
    let detail = open(&service, &format!("/jobs/{job}"), Some(&cookie)).await;
    for page in [&home, &detail] {
        assert_eq!(page.status, 200, "{page:?}");
        assert!(page.text.contains("&lt;script&gt;alert(1)"), "{page:?}");
        assert!(!page.text.contains("<script"), "{page:?}");
    }
    assert!(home.text.contains(">waiting</span>"), "{home:?}");
    assert!(home.text.contains(&format!("href=\"/jobs/{job}\"")));
    assert!(detail.text.contains("VmNotFound") && detail.text.contains("<ol><li>"));
    assert!(detail.text.contains("(7 s in the queue)"));
    let none = open(&service, "/jobs/7", Some(&cookie)).await;
    assert_eq!(none.status, 400);
    let unknown = format!("/jobs/{}", uuid::Uuid::nil());
    let unknown = open(&service, &unknown, Some(&cookie)).await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.text.contains("JobNotFound"));
}
