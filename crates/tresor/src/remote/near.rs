//! This machine's catalog, asked by the same client as a service elsewhere: the API's own router without a
//! port. So commands have one way to ask, and what is changed here is in the audit log too.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{Router, body::Body};
use bytes::Bytes;
use futures::StreamExt as _;
use http::{Request, header};
use tokio::sync::Notify;
use tower::ServiceExt as _;
use tresor_api::{Access, ApiOptions, ApiState, Principal, router};
use tresor_api_client::{Client, Patience, Reply, SendError, Transport};
use tresor_catalog::Catalog;
use tresor_identity::Role;
use tresor_problem::Problem;

use crate::enrolment::Enrolments;

/// Who can open the catalog may do everything: the token says nothing.
const NO_TOKEN: &str = "Bearer here";
/// Nobody else waits for what is asked here.
const ANSWER: Duration = Duration::from_secs(600);

/// A client of this machine's catalog. Hosts are let in where its service has run.
pub(crate) fn near(catalog: Arc<Catalog>, enrolments: Option<Enrolments>) -> Client {
    let options = ApiOptions {
        answer_limit: ANSWER,
        burst: u32::MAX,
        per_second: u32::MAX,
        ..ApiOptions::default()
    };
    // The service sees in the catalog what has changed.
    let changed = Arc::new(Notify::new());
    let state = ApiState::new(catalog, changed, Arc::new(Here), options);
    let state = match enrolments {
        Some(enrolments) => state.with_enrolment(Arc::new(enrolments)),
        None => state,
    };
    let client = Client::new(Arc::new(Near(router(state))));
    client.with_patience(Patience {
        sends: 1,
        ..Patience::default()
    })
}

/// Whoever runs this program here.
struct Here;

#[async_trait]
impl Access for Here {
    async fn authenticate(&self, _: &str) -> Result<Principal, Problem> {
        let user = rustix::process::getuid().as_raw();
        let machine = rustix::system::uname();
        let machine = machine.nodename().to_string_lossy();
        Ok(Principal {
            name: format!("user {user} on {machine}"),
            role: Role::Admin,
        })
    }
}

struct Near(Router);

#[async_trait]
impl Transport for Near {
    fn server(&self) -> &'static str {
        "this machine"
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Reply, SendError> {
        let (mut parts, body) = request.into_parts();
        let token = header::HeaderValue::from_static(NO_TOKEN);
        parts.headers.insert(header::AUTHORIZATION, token);
        let request = Request::from_parts(parts, Body::from(body));
        let answered = match self.0.clone().oneshot(request).await {
            Ok(answered) => answered,
            Err(never) => match never {},
        };
        let (parts, body) = answered.into_parts();
        let lost =
            |error: axum::Error| SendError::lost("This machine's catalog", error.to_string());
        let body = body.into_data_stream();
        Ok(Reply {
            status: parts.status,
            headers: parts.headers,
            body: Box::pin(body.map(move |chunk| chunk.map_err(lost))),
        })
    }
}
