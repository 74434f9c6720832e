//! Vaults.

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tresor_catalog::VaultRecord;
use tresor_model::VaultId;
use utoipa::{IntoParams, ToSchema};

use crate::{
    ApiState,
    body::Asked,
    failure::{Answer, FailureBody},
    page::{Bounds, Paged},
};

/// A vault.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VaultView {
    /// What it is called here.
    name: String,
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    id: VaultId,
    /// Where it is.
    location: String,
    /// When it was made known here.
    created_at: Timestamp,
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// At most so many, 1 to 500. Default: 100.
    #[param(minimum = 1, maximum = 500)]
    pub(crate) limit: Option<u32>,
    /// `next` of the page before.
    pub(crate) cursor: Option<String>,
}

/// Vaults, by name.
#[utoipa::path(get, path = "/api/v1/vaults", tag = "vaults", params(PageQuery), responses(
    (status = 200, description = "A page of vaults.", body = Paged<VaultView>),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Asked(asked): Asked<PageQuery>,
) -> Answer<Json<Paged<VaultView>>> {
    let bounds = Bounds::<String>::new("vaults", asked.limit, asked.cursor.as_deref())?;
    // There are few, and the catalog gives all.
    let mut vaults = state.catalog.vaults().await?;
    vaults.retain(|vault| {
        bounds
            .after
            .as_ref()
            .is_none_or(|after| vault.name > *after)
    });
    Ok(bounds.page(vaults, |vault| vault.name.clone(), view))
}

fn view(vault: VaultRecord) -> VaultView {
    VaultView {
        name: vault.name,
        id: vault.id,
        location: vault.location,
        created_at: vault.created_at,
    }
}
