//! The audit log.

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tresor_catalog::{AuditFilter, AuditRecord, Page};
use tresor_model::AuditId;
use utoipa::{IntoParams, ToSchema};

use crate::{
    ApiState,
    body::Asked,
    failure::{Answer, FailureBody},
    page::{Bounds, Paged},
};

/// A change that somebody asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditView {
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    id: AuditId,
    /// When.
    at: Timestamp,
    /// Who: the name and the id of a token.
    actor: String,
    /// What was done, as `docs/permissions.md` names it.
    action: String,
    /// To what: `item:<id>`, `policy:<name>`, `job:<id>`, `token:<id>`.
    object: String,
    /// How it was before.
    #[schema(value_type = Option<Object>)]
    before: Option<Value>,
    /// How it is after.
    #[schema(value_type = Option<Object>)]
    after: Option<Value>,
}

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// Only those by this one.
    actor: Option<String>,
    /// Only those about this.
    object: Option<String>,
    /// At most so many, 1 to 500. Default: 100.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

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
