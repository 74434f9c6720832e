//! Hosts that have enrolled.

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tresor_catalog::{HostRecord, HostState, Page};
use tresor_model::HostId;
use utoipa::ToSchema;

use super::vaults::PageQuery;
use crate::{
    ApiState,
    body::Asked,
    failure::{Answer, FailureBody},
    page::{Bounds, Paged},
};

/// A host. The machine that the service runs on is none.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HostView {
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    id: HostId,
    /// What it is called.
    name: String,
    /// `enrolled` or `revoked`.
    #[schema(value_type = String)]
    state: HostState,
    /// When it enrolled.
    enrolled_at: Timestamp,
    /// Its last sign of life.
    last_seen: Option<Timestamp>,
    /// The version of its Tresor.
    version: Option<String>,
    /// What it can do.
    #[schema(value_type = Object)]
    capabilities: Value,
}

/// Hosts, by name.
#[utoipa::path(get, path = "/api/v1/hosts", tag = "hosts", params(PageQuery), responses(
    (status = 200, description = "A page of hosts.", body = Paged<HostView>),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Asked(asked): Asked<PageQuery>,
) -> Answer<Json<Paged<HostView>>> {
    let bounds = Bounds::new("hosts", asked.limit, asked.cursor.as_deref())?;
    let page = Page {
        after: bounds.after.clone(),
        limit: bounds.read(),
    };
    let hosts = state.catalog.hosts(&page).await?;
    Ok(bounds.page(hosts, |host| host.name.clone(), view))
}

fn view(host: HostRecord) -> HostView {
    HostView {
        id: host.id,
        name: host.name,
        state: host.state,
        enrolled_at: host.enrolled_at,
        last_seen: host.last_seen,
        version: host.version,
        capabilities: host.capabilities,
    }
}
