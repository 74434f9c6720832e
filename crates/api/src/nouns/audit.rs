//! The audit log.

use axum::{Json, extract::State};
use tresor_api_types::{AuditQuery, AuditView, Paged};
use tresor_catalog::{AuditFilter, AuditRecord, Page};

use crate::{
    ApiState,
    body::Asked,
    failure::{Answer, FailureBody},
    page::Bounds,
};

/// Who changed what, newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(AuditQuery), responses(
    (status = 200, description = "A page of the audit log.", body = Paged<AuditView>),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Asked(asked): Asked<AuditQuery>,
) -> Answer<Json<Paged<AuditView>>> {
    let bounds = Bounds::new("audit", asked.limit, asked.cursor.as_deref())?;
    let filter = AuditFilter {
        actor: asked.actor,
        object: asked.object,
    };
    let page = Page {
        after: bounds.after,
        limit: bounds.read(),
    };
    let entries = state.catalog.audit(&filter, &page).await?;
    Ok(bounds.page(entries, |entry| entry.id.to_string(), view))
}

fn view(entry: AuditRecord) -> AuditView {
    AuditView {
        id: entry.id,
        at: entry.at,
        actor: entry.actor,
        action: entry.action,
        object: entry.object,
        before: entry.before,
        after: entry.after,
    }
}
