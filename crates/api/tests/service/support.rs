//! A service without a port: its router, on a catalog in a temporary directory.

use std::{path::PathBuf, sync::Arc};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use http_body_util::BodyExt as _;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Notify;
use tower::ServiceExt as _;
use tresor_api::{Access, ApiOptions, ApiState, TokenAccess, router};
use tresor_catalog::{Catalog, SecretHash, TokenRecord, TokenRole, VaultRecord, VmRecord};
use tresor_identity::ApiToken;
use tresor_model::{TokenId, VaultId, VmId};
use tresor_policy::Policy;

pub(crate) struct Service {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) changed: Arc<Notify>,
    pub(crate) router: Router,
    _directory: Option<TempDir>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// It is this problem, with this status.
    #[track_caller]
    pub(crate) fn is(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{self:?}");
        assert!(problem["remedy"][0].is_string(), "{self:?}");
    }

    #[track_caller]
    pub(crate) fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.json()
    }
}

impl Service {
    pub(crate) async fn new() -> Self {
        Self::with(ApiOptions::default()).await
    }

    pub(crate) async fn with(options: ApiOptions) -> Self {
        let access = |catalog: &Arc<Catalog>| Arc::new(TokenAccess::new(Arc::clone(catalog))) as _;
        Self::behind(access, options).await
    }

    pub(crate) async fn behind(
        access: impl FnOnce(&Arc<Catalog>) -> Arc<dyn Access>,
        options: ApiOptions,
    ) -> Self {
        let directory = tempfile::tempdir().expect("works");
        let catalog = Catalog::open(&directory.path().join("catalog.db")).await;
        let mut service = Self::over(catalog.expect("works"), access, options).await;
        service._directory = Some(directory);
        service
    }

    /// On a catalog that is somewhere else.
    pub(crate) async fn over(
        catalog: Catalog,
        access: impl FnOnce(&Arc<Catalog>) -> Arc<dyn Access>,
        options: ApiOptions,
    ) -> Self {
        let catalog = Arc::new(catalog);
        let changed = Arc::new(Notify::new());
        let access = access(&catalog);
        let options = ApiOptions {
            zone: TimeZone::UTC,
            ..options
        };
        let state = ApiState::new(Arc::clone(&catalog), Arc::clone(&changed), access, options);
        for policy in Policy::ready_made() {
            let added = catalog.add_policy(&policy, Timestamp::now()).await;
            added.expect("works");
        }
        Self {
            catalog,
            changed,
            router: router(state),
            _directory: None,
        }
    }

    /// A new token.
    pub(crate) async fn token(&self, role: TokenRole) -> String {
        self.token_until(role, None).await.1
    }

    pub(crate) async fn token_until(
        &self,
        role: TokenRole,
        expires_at: Option<Timestamp>,
    ) -> (TokenId, String) {
        let token = ApiToken::generate(TokenId::generate()).expect("works");
        let record = TokenRecord {
            id: token.id(),
            name: "test".to_owned(),
            hash: SecretHash::from(*token.hash().as_bytes()),
            role,
            created_at: Timestamp::now(),
            expires_at,
            last_used_at: None,
            revoked_at: None,
        };
        self.catalog.add_token(&record).await.expect("works");
        (token.id(), token.to_text().as_str().to_owned())
    }

    /// A VM that is registered, and not protected.
    pub(crate) async fn vm(&self, name: &str) -> VmId {
        if self.catalog.vault("main").await.is_err() {
            let vault = VaultRecord {
                name: "main".to_owned(),
                id: VaultId::generate(),
                location: "/srv/vault".to_owned(),
                settings: None,
                key_source: "file:/key".to_owned(),
                created_at: Timestamp::now(),
                verify_share: None,
            };
            self.catalog.add_vault(&vault).await.expect("works");
        }
        let vm = VmRecord {
            name: name.to_owned(),
            id: VmId::generate(),
            qmp_socket: PathBuf::from("/run/qmp"),
            agent_socket: None,
            excluded_disks: Vec::new(),
            included_disks: Vec::new(),
            machine: None,
            host: None,
            vault: "main".to_owned(),
            retention: None,
            created_at: Timestamp::now(),
        };
        self.catalog.add_vm(&vm).await.expect("works");
        vm.id
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answered {
        let response = self.router.clone().oneshot(request).await.expect("works");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("works").to_bytes();
        Answered {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).expect("works"),
        }
    }

    pub(crate) async fn get(&self, token: &str, path: &str) -> Answered {
        let request = Request::get(path).header("authorization", format!("Bearer {token}"));
        self.send(request.body(Body::empty()).expect("works")).await
    }

    /// A change, with further headers.
    pub(crate) async fn change(
        &self,
        token: &str,
        (method, path): (&str, &str),
        body: &Value,
        headers: &[(&str, &str)],
    ) -> Answered {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Body::from(body.to_string());
        self.send(request.body(body).expect("works")).await
    }
}
