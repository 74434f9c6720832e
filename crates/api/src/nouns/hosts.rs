//! Hosts that have enrolled.

use axum::{Json, extract::State};
use tresor_api_types::{HostView, PageQuery, Paged};
use tresor_catalog::{HostRecord, Page};

use crate::{
    ApiState,
    body::Asked,
    failure::{Answer, FailureBody},
    page::Bounds,
};

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
