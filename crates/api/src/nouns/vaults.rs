//! Vaults.

use axum::{Json, extract::State};
use tresor_api_types::{PageQuery, Paged, VaultView};
use tresor_catalog::VaultRecord;

use crate::{
    ApiState,
    body::Asked,
    failure::{Answer, FailureBody},
    page::Bounds,
};

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
