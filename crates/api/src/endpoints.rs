//! Every endpoint, and what it needs.

use axum::http::Method;
use tresor_identity::Action;

/// What a request must be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// A token of a role that may do this.
    Action(Action),
    /// Nothing: it tells nothing of this installation.
    Nothing,
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// `GET`, `POST`, …
    pub method: &'static str,
    /// The path, as the router and the OpenAPI document have it.
    pub path: &'static str,
    /// What it needs.
    pub needs: Needs,
    /// Its answer has a secret that is kept nowhere, so that it cannot be given twice.
    pub secret: bool,
}

const fn row(method: &'static str, path: &'static str, action: Action) -> Endpoint {
    Endpoint {
        method,
        path,
        needs: Needs::Action(action),
        secret: false,
    }
}

/// All of them.
pub const ENDPOINTS: &[Endpoint] = &[
    row("GET", "/api/v1/vaults", Action::VaultView),
    row("POST", "/api/v1/vaults/{vault}/verify", Action::JobStart),
    row("POST", "/api/v1/vaults/{vault}/copy", Action::JobStart),
    row(
        "POST",
        "/api/v1/vaults/{vault}/expire",
        Action::JobStartRemoval,
    ),
    row(
        "POST",
        "/api/v1/vaults/{vault}/collect",
        Action::JobStartRemoval,
    ),
    row("GET", "/api/v1/hosts", Action::HostView),
    Endpoint {
        secret: true,
        ..row("POST", "/api/v1/hosts/tokens", Action::HostEnrol)
    },
    row("POST", "/api/v1/hosts/{id}/revoke", Action::HostRevoke),
    row("DELETE", "/api/v1/hosts/{id}", Action::HostRemove),
    row("GET", "/api/v1/datasources", Action::DatasourceView),
    row("GET", "/api/v1/items", Action::ItemView),
    row("GET", "/api/v1/items/{vm}", Action::ItemView),
    // Another policy for one that has one needs ItemChange as well.
    row("PUT", "/api/v1/items/{vm}", Action::ItemProtect),
    row("POST", "/api/v1/items/{vm}/stop", Action::ItemStop),
    row(
        "POST",
        "/api/v1/items/{vm}/delete-data",
        Action::ItemDeleteData,
    ),
    row("POST", "/api/v1/items/{vm}/resume", Action::ItemProtect),
    row("POST", "/api/v1/items/{vm}/backup", Action::JobStart),
    row("GET", "/api/v1/policies", Action::PolicyView),
    row("GET", "/api/v1/policies/{name}", Action::PolicyView),
    row("PUT", "/api/v1/policies/{name}", Action::PolicyChange),
    row("DELETE", "/api/v1/policies/{name}", Action::PolicyChange),
    row("GET", "/api/v1/jobs", Action::JobView),
    row("GET", "/api/v1/jobs/{id}", Action::JobView),
    row("POST", "/api/v1/jobs/{id}/cancel", Action::JobCancel),
    row("GET", "/api/v1/points", Action::PointView),
    // To replace what is there needs RestoreOver.
    row("POST", "/api/v1/points/{point}/restore", Action::Restore),
    row("GET", "/api/v1/problems", Action::ProblemView),
    row("GET", "/api/v1/problems/{code}", Action::ProblemView),
    row("GET", "/api/v1/alerts", Action::AlertView),
    row("GET", "/api/v1/audit", Action::AuditView),
    row("GET", "/api/v1/tokens", Action::TokenView),
    Endpoint {
        secret: true,
        ..row("POST", "/api/v1/tokens", Action::TokenAdd)
    },
    row("DELETE", "/api/v1/tokens/{id}", Action::TokenRevoke),
    row("GET", "/api/v1/status", Action::MetricsView),
    row("GET", "/api/v1/channels", Action::ConfigView),
    row("PUT", "/api/v1/channels/{name}", Action::ConfigChange),
    row("DELETE", "/api/v1/channels/{name}", Action::ConfigChange),
    row("POST", "/api/v1/channels/{name}/test", Action::ConfigChange),
    row("GET", "/metrics", Action::MetricsView),
    row("GET", "/api/v1/events", Action::EventView),
    Endpoint {
        needs: Needs::Nothing,
        ..row("GET", "/api/v1/openapi.json", Action::ProblemView)
    },
];

/// The row of a request.
pub(crate) fn find(method: &Method, path: &str) -> Option<&'static Endpoint> {
    let method = match method {
        &Method::HEAD => "GET",
        method => method.as_str(),
    };
    ENDPOINTS
        .iter()
        .find(|row| row.method == method && row.path == path)
}

/// What can be done with a path.
pub(crate) fn methods(path: &str) -> Vec<&'static str> {
    let rows = ENDPOINTS.iter().filter(|row| row.path == path);
    rows.map(|row| row.method).collect()
}
