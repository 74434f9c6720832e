//! Every operation of the API has a method of the client, or stands here with the reason; and every method asks
//! for one that there is.

use std::{collections::BTreeSet, future::Future, sync::Arc};

use tresor_api_client::{Client, types::*};
use tresor_model::{CopyReadBack, HostId, JobId, PointId, TokenId, TokenRole, VmId};
use tresor_policy::Policy;

use crate::support::{HASTE, Service};

/// Operations that no method asks for, each with the reason.
const NOT_FOR_CLIENTS: &[(&str, &str, &str)] = &[(
    "GET",
    "/metrics",
    "it is Prometheus' own format, for Prometheus",
)];

/// Whether it succeeds does not matter here: it is asked for.
async fn asked<T>(method: impl Future<Output = T>) {
    method.await;
}

/// Every method, once.
async fn every_method(client: &Client) {
    let (vm, job) = (VmId::from_uuid(uuid()), JobId::generate());
    asked(client.vaults(&PageQuery::default()).next()).await;
    asked(client.verify("main", &Verify::default())).await;
    let copy = Copy {
        to: "other".to_owned(),
        vms: Vec::new(),
        points: Vec::new(),
        newest: None,
        older: false,
        read_back: CopyReadBack::Sample,
        read_mib_s: None,
        upload_mib_s: None,
    };
    asked(client.copy("main", &copy)).await;
    asked(client.expire("main")).await;
    asked(client.collect("main")).await;
    asked(client.hosts(&PageQuery::default()).next()).await;
    let enrolment = NewEnrolment {
        name: "node7".to_owned(),
        valid_s: None,
    };
    asked(client.make_enrolment(&enrolment)).await;
    asked(client.revoke_host(HostId::generate())).await;
    asked(client.remove_host(HostId::generate())).await;
    asked(client.datasources(&DatasourceQuery::default()).next()).await;
    asked(client.items(&ItemQuery::default()).next()).await;
    asked(client.item(vm)).await;
    let protect = Protect {
        policy: "nightly".to_owned(),
        vault: None,
        name: None,
    };
    asked(client.protect(vm, &protect)).await;
    asked(client.stop_protection(vm)).await;
    asked(client.delete_data(vm)).await;
    asked(client.resume_protection(vm)).await;
    asked(client.back_up(vm)).await;
    asked(client.policies(&PageQuery::default()).next()).await;
    asked(client.policy("nightly")).await;
    asked(client.set_policy(&Policy::ready_made()[0], None)).await;
    asked(client.remove_policy("none")).await;
    asked(client.jobs(&JobQuery::default()).next()).await;
    asked(client.job(job)).await;
    asked(client.cancel_job(job)).await;
    asked(client.points(&PointQuery::default()).next()).await;
    asked(client.restore(PointId::from_uuid(uuid()), &Restore::default())).await;
    asked(client.problems(&PageQuery::default()).next()).await;
    asked(client.problem("Internal")).await;
    asked(client.alerts(&AlertQuery::default()).next()).await;
    asked(client.audit(&AuditQuery::default()).next()).await;
    asked(client.tokens(&PageQuery::default()).next()).await;
    let token = NewToken {
        name: "one".to_owned(),
        role: TokenRole::Reader,
        expires_at: None,
    };
    asked(client.make_token(&token)).await;
    asked(client.revoke_token(TokenId::generate())).await;
    asked(client.status()).await;
    asked(client.channels()).await;
    let channel = NewChannel {
        settings: serde_json::json!({}),
        secret: None,
    };
    asked(client.set_channel("ops", &channel)).await;
    asked(client.remove_channel("ops")).await;
    asked(client.test_channel("ops")).await;
    asked(client.events().open()).await;
    asked(client.description()).await;
}

fn uuid() -> uuid::Uuid {
    *JobId::generate().as_uuid()
}

/// The operation of the document that a request is for.
fn operation<'a>(
    paths: &'a serde_json::Value,
    method: &str,
    path: &str,
) -> Option<(String, &'a String)> {
    let matches = |template: &str| {
        let (template, path) = (template.split('/'), path.split('/'));
        template.clone().count() == path.clone().count()
            && template
                .zip(path)
                .all(|(one, other)| one == other || one.starts_with('{'))
    };
    let paths = paths.as_object().unwrap();
    let fits = |(template, item): &(&'a String, &serde_json::Value)| {
        matches(template) && item.get(method.to_lowercase()).is_some()
    };
    // One without a name in it comes first.
    let mut fitting: Vec<_> = paths
        .iter()
        .filter(fits)
        .map(|(template, _)| template)
        .collect();
    fitting.sort_by_key(|template| template.matches('{').count());
    fitting
        .first()
        .map(|template| (method.to_owned(), *template))
}

#[tokio::test]
async fn every_operation_has_a_method_and_every_method_an_operation() {
    let service = Service::new().await;
    let direct = Arc::new(service.direct().await);
    let client = Client::new(Arc::clone(&direct) as _).with_patience(HASTE);
    every_method(&client).await;

    let document = serde_json::to_value(tresor_api::document()).unwrap();
    let paths = &document["paths"];
    let seen = direct.seen.lock().unwrap();
    let mut reached = BTreeSet::new();
    for (method, path, headers) in seen.iter() {
        let found = operation(paths, method, path);
        let (method, template) = found.unwrap_or_else(|| panic!("there is no {method} {path}"));
        let keyed = headers.contains_key("idempotency-key");
        let secret = ["/api/v1/tokens", "/api/v1/hosts/tokens"].contains(&template.as_str());
        let takes_key = method != "GET" && !(method == "POST" && secret);
        assert_eq!(keyed, takes_key, "{method} {path}");
        reached.insert((method, template.clone()));
    }
    let mut missing = Vec::new();
    for (path, item) in paths.as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let method = method.to_uppercase();
            let exempt = NOT_FOR_CLIENTS
                .iter()
                .any(|row| (row.0, row.1) == (&method, path));
            let reached = reached.contains(&(method.clone(), path.clone()));
            assert!(
                !(exempt && reached),
                "{method} {path} has a method: take it off the list"
            );
            if !exempt && !reached {
                missing.push(format!("{method} {path}"));
            }
        }
    }
    assert!(missing.is_empty(), "without a method: {missing:?}");
}
