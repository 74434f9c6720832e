//! Lists: pages, filters, and what is refused.

use jiff::{SignedDuration, Timestamp};
use tresor_catalog::{Datasource, PointRecord, TokenRole};
use tresor_model::{Consistency, PointId, SessionId, VmId};

use super::support::Service;

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repetition() {
    let service = Service::new().await;
    let token = service.token(TokenRole::Reader).await;
    for number in 0..5 {
        let vm = service.vm(&format!("vm{number}")).await;
        let now = Timestamp::now();
        service.catalog.protect(vm, "nightly", now).await.unwrap();
    }
    let whole = service.get(&token, "/api/v1/items").await.ok(200);
    assert!(whole["next"].is_null());
    let (mut seen, mut path) = (Vec::new(), "/api/v1/items?limit=2".to_owned());
    loop {
        let page = service.get(&token, &path).await.ok(200);
        seen.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/api/v1/items?limit=2&cursor={next}");
    }
    let ids = |items: &[serde_json::Value]| -> Vec<String> {
        items.iter().map(|item| item["vm"].to_string()).collect()
    };
    assert_eq!(ids(&seen), ids(whole["items"].as_array().unwrap()));
    assert_eq!(seen.len(), 5);
    assert_eq!(seen[0]["standing"], "waiting");
    assert!(seen[0]["next_start_at"].is_string());
}

#[tokio::test]
async fn points_are_paged_and_filtered() {
    let service = Service::new().await;
    let token = service.token(TokenRole::Reader).await;
    let vm = service.vm("web01").await;
    let vault = service.catalog.vault("main").await.unwrap().id;
    for age_s in 0..3 {
        let at = Timestamp::now() - SignedDuration::from_secs(age_s);
        let point = PointRecord {
            id: PointId::from(SessionId::generate()),
            vault,
            vm,
            vm_name: "web01".to_owned(),
            taken_at: at,
            committed_at: at,
            consistency: Consistency::FileSystem,
            size: 1 << 30,
            stored: 5,
            stats: std::collections::BTreeMap::new(),
            copied_from: None,
        };
        service.catalog.upsert_point(&point).await.unwrap();
    }
    let path = format!("/api/v1/points?vm={vm}&vault=main&limit=2");
    let first = service.get(&token, &path);
    let first = first.await.ok(200);
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    assert_eq!(first["items"][0]["size_bytes"], 1 << 30);
    let next = first["next"].as_str().unwrap();
    let path = format!("/api/v1/points?cursor={next}");
    let last = service.get(&token, &path);
    assert_eq!(last.await.ok(200)["items"].as_array().unwrap().len(), 1);
    let other = format!("/api/v1/points?vm={}", VmId::generate());
    let other = service.get(&token, &other).await.ok(200);
    assert_eq!(other["items"], serde_json::json!([]));
    let unknown = service.get(&token, "/api/v1/points?vault=none").await;
    unknown.is(404, "VaultNotFound");
}

#[tokio::test]
async fn what_is_no_query_is_refused() {
    let service = Service::new().await;
    let token = service.token(TokenRole::Reader).await;
    for path in [
        "/api/v1/jobs?limit=0",
        "/api/v1/jobs?limit=501",
        "/api/v1/jobs?limit=many",
        "/api/v1/jobs?cursor=bm90aGluZw",
        "/api/v1/jobs?state=lost",
        "/api/v1/jobs?limt=5",
        "/api/v1/jobs/7",
        "/api/v1/items?host=somewhere",
        "/api/v1/points?vm=web01",
    ] {
        let answer = service.get(&token, path).await;
        answer.is(400, "RequestMalformed");
    }
}

#[tokio::test]
async fn the_other_lists_show_what_there_is() {
    let service = Service::new().await;
    let token = service.token(TokenRole::Admin).await;
    service.vm("web01").await;
    let seen = Datasource {
        vm: VmId::generate(),
        name: "found".to_owned(),
        qmp_socket: "/run/found".into(),
        agent_socket: None,
        machine: None,
        state: "running".to_owned(),
        problem: None,
    };
    let seen = [seen];
    let report = service.catalog.report(None, &seen, Timestamp::now());
    report.await.unwrap();
    let one = |path: &'static str| {
        let (service, token) = (&service, &token);
        async move { service.get(token, path).await.ok(200)["items"][0].clone() }
    };
    assert_eq!(one("/api/v1/vaults").await["name"], "main");
    assert_eq!(one("/api/v1/datasources?host=local").await["name"], "found");
    assert!(one("/api/v1/datasources?protected=true").await.is_null());
    assert_eq!(one("/api/v1/policies").await["policy"]["name"], "hourly");
    assert_eq!(
        one("/api/v1/problems").await["code"],
        "AnotherServiceWrites"
    );
    assert!(one("/api/v1/hosts").await.is_null());
    assert!(one("/api/v1/alerts?open=true").await.is_null());
    let entry = service.get(&token, "/api/v1/problems/VmNotFound").await;
    assert_eq!(entry.ok(200)["exit"], "not_found");
    let status = service.get(&token, "/api/v1/status").await.ok(200);
    assert_eq!(status["jobs_queued"], 0);
}
