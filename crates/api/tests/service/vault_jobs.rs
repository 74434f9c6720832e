//! Jobs that are asked for over HTTP: of vaults, of recovery points.

use jiff::Timestamp;
use serde_json::{Value, json};
use tresor_catalog::{ItemState, PointRecord, TokenRole, VaultRecord};
use tresor_jobs::{JobLog as _, JobQueue as _};
use tresor_model::{Consistency, JobKind, PointId, SessionId, VaultId, VmId};
use tresor_service::LOCAL_LANE;
use tresor_workflows::{
    copy::CopyOrder,
    expire,
    restore::RestoreOrder,
    verify::{VerifyOrder, VerifyWhat},
};

use super::support::{Answered, Service};

const NOTHING: Value = Value::Null;

async fn with_vaults() -> (Service, VmId) {
    let service = Service::new().await;
    let vm = service.vm("web01").await;
    let away = VaultRecord {
        name: "away".to_owned(),
        id: VaultId::generate(),
        location: "/srv/away".to_owned(),
        settings: None,
        key_source: "file:/key".to_owned(),
        created_at: Timestamp::now(),
        verify_share: None,
    };
    service.catalog.add_vault(&away).await.expect("works");
    (service, vm)
}

/// What the only job that waits was told.
async fn waiting(service: &Service, answer: &Answered, kind: JobKind) -> Value {
    let job = answer.ok(202);
    let due = service.catalog.due(LOCAL_LANE, Timestamp::now(), 10).await;
    let [waiting] = <[_; 1]>::try_from(due.expect("works")).expect("works");
    assert_eq!(waiting.job.kind, kind);
    assert_eq!(job["id"], waiting.job.id.to_string());
    assert_eq!(
        answer.headers["location"],
        format!("/api/v1/jobs/{}", waiting.job.id).as_str()
    );
    let cancelled = service.catalog.request_cancel(waiting.job.id).await;
    cancelled.expect("works");
    let later = tresor_jobs::Ticket {
        not_before: Timestamp::MAX,
        ..waiting.ticket
    };
    service
        .catalog
        .requeue(waiting.job.id, &later)
        .await
        .expect("works");
    waiting.job.params
}

#[tokio::test]
async fn a_verification_reads_what_was_asked_for() {
    let (service, vm) = with_vaults().await;
    let operator = service.token(TokenRole::Operator).await;
    let path = ("POST", "/api/v1/vaults/main/verify");
    let point = PointId::from(SessionId::generate());
    let cases = [
        (json!({}), VerifyWhat::All),
        (json!({ "vm": vm }), VerifyWhat::Vm { vm }),
        (json!({ "point": point }), VerifyWhat::Point { point }),
        (json!({ "since_last": true }), VerifyWhat::SinceLast),
        (
            json!({ "share": "3%" }),
            VerifyWhat::Share {
                share: "3%".parse().unwrap(),
            },
        ),
    ];
    for (body, what) in cases {
        let answer = service.change(&operator, path, &body, &[]).await;
        let params = waiting(&service, &answer, JobKind::Verify).await;
        let order = VerifyOrder::of_params(&params).unwrap();
        assert_eq!((order.vault.as_str(), order.what), ("main", what));
    }
    for body in [
        json!({ "vm": vm, "since_last": true }),
        json!({ "share": "much" }),
        json!({ "all": true }),
    ] {
        let refused = service.change(&operator, path, &body, &[]).await;
        refused.is(400, "RequestMalformed");
    }
    let nowhere = ("POST", "/api/v1/vaults/none/verify");
    let refused = service.change(&operator, nowhere, &json!({}), &[]).await;
    refused.is(404, "VaultNotFound");
}

#[tokio::test]
async fn a_copy_goes_from_vault_to_vault() {
    let (service, _) = with_vaults().await;
    let operator = service.token(TokenRole::Operator).await;
    let path = ("POST", "/api/v1/vaults/main/copy");
    let body = json!({ "to": "away", "vms": ["web01"], "newest": 2, "upload_mib_s": 8 });
    let answer = service.change(&operator, path, &body, &[]).await;
    let params = waiting(&service, &answer, JobKind::Copy).await;
    let order = CopyOrder::of_params(&params).unwrap();
    assert_eq!((order.from.as_str(), order.to.as_str()), ("main", "away"));
    assert_eq!((order.vms.len(), order.newest), (1, Some(2)));
    assert_eq!(order.upload_limit.map(u64::from), Some(8 << 20));
    let itself = json!({ "to": "main" });
    let refused = service.change(&operator, path, &itself, &[]).await;
    refused.is(400, "RequestMalformed");
    let nowhere = json!({ "to": "none" });
    let nowhere = service.change(&operator, path, &nowhere, &[]).await;
    nowhere.is(404, "VaultNotFound");
}

#[tokio::test]
async fn what_removes_is_the_administrators() {
    let (service, vm) = with_vaults().await;
    let admin = service.token(TokenRole::Admin).await;
    let collect = ("POST", "/api/v1/vaults/main/collect");
    let answer = service.change(&admin, collect, &NOTHING, &[]).await;
    waiting(&service, &answer, JobKind::Collect).await;
    let expire = ("POST", "/api/v1/vaults/main/expire");
    let nothing = service.change(&admin, expire, &NOTHING, &[]).await;
    nothing.is(422, "NothingExpires");
    let now = Timestamp::now();
    service.catalog.protect(vm, "nightly", now).await.unwrap();
    let answer = service.change(&admin, expire, &NOTHING, &[]).await;
    let params = waiting(&service, &answer, JobKind::Expire).await;
    let (vault, request) = expire::of_params(&params).unwrap();
    assert_eq!(vault, "main");
    assert!(request.rules.contains_key(&vm) && request.unwanted.is_empty());
}

#[tokio::test]
async fn protection_is_stopped_and_the_data_goes() {
    let (service, vm) = with_vaults().await;
    let admin = service.token(TokenRole::Admin).await;
    let path = format!("/api/v1/items/{vm}/delete-data");
    let missing = service.change(&admin, ("POST", &path), &NOTHING, &[]).await;
    missing.is(404, "ObjectNotFound");
    let now = Timestamp::now();
    service.catalog.protect(vm, "nightly", now).await.unwrap();
    let answer = service.change(&admin, ("POST", &path), &NOTHING, &[]).await;
    let params = waiting(&service, &answer, JobKind::Expire).await;
    let (_, request) = expire::of_params(&params).unwrap();
    assert!(request.unwanted.contains(&vm) && request.rules.is_empty());
    let item = service.catalog.item(vm).await.unwrap();
    assert_eq!(item.state, ItemState::StoppedDeleted);
    let shown = service
        .get(&admin, &format!("/api/v1/items/{vm}"))
        .await
        .ok(200);
    assert_eq!(
        (&shown["state"], &shown["standing"]),
        (&json!("stopped-deleted"), &json!("stopped"))
    );
    // The hourly run goes on with it.
    let expire = ("POST", "/api/v1/vaults/main/expire");
    let answer = service.change(&admin, expire, &NOTHING, &[]).await;
    let params = waiting(&service, &answer, JobKind::Expire).await;
    assert!(expire::of_params(&params).unwrap().1.unwanted.contains(&vm));
    let backup = format!("/api/v1/items/{vm}/backup");
    let refused = service
        .change(&admin, ("POST", &backup), &NOTHING, &[])
        .await;
    refused.is(409, "ProtectionStopped");
    let resume = format!("/api/v1/items/{vm}/resume");
    let resumed = service
        .change(&admin, ("POST", &resume), &NOTHING, &[])
        .await;
    assert_eq!(resumed.ok(200)["state"], "protected");
}

#[tokio::test]
async fn a_restore_is_told_where_to_and_what() {
    let (service, vm) = with_vaults().await;
    let operator = service.token(TokenRole::Operator).await;
    let vault = service.catalog.vault("main").await.unwrap();
    let point = PointRecord {
        id: PointId::from(SessionId::generate()),
        vault: vault.id,
        vm,
        vm_name: "web01".to_owned(),
        taken_at: Timestamp::now(),
        committed_at: Timestamp::now(),
        consistency: Consistency::Crash,
        size: 1,
        stored: 1,
        stats: std::collections::BTreeMap::new(),
        copied_from: None,
    };
    service.catalog.upsert_point(&point).await.unwrap();
    let path = format!("/api/v1/points/{}/restore", point.id);
    let path = ("POST", path.as_str());
    let answer = service.change(&operator, path, &json!({}), &[]).await;
    let params = waiting(&service, &answer, JobKind::Restore).await;
    let order = RestoreOrder::of_params(&params).unwrap();
    let expected = (point.id, "web01");
    assert_eq!(
        order,
        RestoreOrder::new("main", expected, point.id.to_string().into())
    );

    let body = json!({ "to": "/srv/x", "disks": ["vda"], "format": "raw", "vault": "away" });
    let answer = service.change(&operator, path, &body, &[]).await;
    let params = waiting(&service, &answer, JobKind::Restore).await;
    let order = RestoreOrder::of_params(&params).unwrap();
    assert_eq!(
        (order.vault.as_str(), order.to.to_str()),
        ("away", Some("/srv/x"))
    );
    assert_eq!((order.only.len(), order.overwrite), (1, false));

    let over = json!({ "overwrite": true });
    let answer = service.change(&operator, path, &over, &[]).await;
    waiting(&service, &answer, JobKind::Restore).await;
    for body in [
        json!({ "to": "" }),
        json!({ "to": "a\u{0}b" }),
        json!({ "format": "vmdk" }),
        json!({ "disks": ["../x"] }),
    ] {
        let refused = service.change(&operator, path, &body, &[]).await;
        refused.is(400, "RequestMalformed");
    }
    let host = json!({ "host": uuid::Uuid::nil() });
    let refused = service.change(&operator, path, &host, &[]).await;
    refused.is(404, "ObjectNotFound");
    let nobody = (
        "POST",
        "/api/v1/points/00000000-0000-0000-0000-000000000000/restore",
    );
    let refused = service.change(&operator, nobody, &json!({}), &[]).await;
    refused.is(404, "PointNotFound");
}
