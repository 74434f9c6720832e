//! Recovery points, as the catalog knows them: what is in the vaults counts.

use std::str::FromStr;

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tresor_catalog::{Page, PointFilter, PointKey, PointRecord};
use tresor_model::{Consistency, CopiedFrom, PointId, VaultId, VmId};
use utoipa::{IntoParams, ToSchema};

use crate::{
    ApiState,
    body::Asked,
    failure::{Answer, FailureBody},
    page::{Bounds, Paged},
};

/// A recovery point.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PointView {
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    pub(crate) id: PointId,
    /// Its vault.
    #[schema(value_type = String, format = Uuid)]
    pub(crate) vault: VaultId,
    /// The VM's id.
    #[schema(value_type = String, format = Uuid)]
    vm: VmId,
    /// The VM's name when it was made.
    pub(crate) vm_name: String,
    /// The moment whose data it has.
    pub(crate) taken_at: Timestamp,
    /// When it was complete.
    committed_at: Timestamp,
    /// How consistent it is: `crash`, `file-system` or `application`.
    #[schema(value_type = String)]
    pub(crate) consistency: Consistency,
    /// The disks' sizes, in bytes.
    pub(crate) size_bytes: u64,
    /// What was written to the vault for it, in bytes.
    pub(crate) stored_bytes: u64,
    /// The backup that it is a copy of.
    #[schema(value_type = Option<Object>)]
    copied_from: Option<CopiedFrom>,
}

/// Which points.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PointQuery {
    /// Only those of this VM, by id.
    #[param(value_type = Option<String>, format = Uuid)]
    vm: Option<VmId>,
    /// Only those in this vault, by name.
    vault: Option<String>,
    /// At most so many, 1 to 500. Default: 100.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

struct Key(PointKey);

impl FromStr for Key {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split(' ');
        let mut part = || parts.next().ok_or(());
        let micros = part()?.parse().map_err(|_| ())?;
        Ok(Self(PointKey {
            taken_at: Timestamp::from_microsecond(micros).map_err(|_| ())?,
            id: part()?.parse().map_err(|_| ())?,
            vault: part()?.parse().map_err(|_| ())?,
        }))
    }
}

/// Recovery points, newest first.
#[utoipa::path(get, path = "/api/v1/points", tag = "points", params(PointQuery), responses(
    (status = 200, description = "A page of recovery points.", body = Paged<PointView>),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Asked(asked): Asked<PointQuery>,
) -> Answer<Json<Paged<PointView>>> {
    let bounds = Bounds::<Key>::new("points", asked.limit, asked.cursor.as_deref())?;
    let vault = match asked.vault {
        Some(name) => Some(state.catalog.vault(&name).await?.id),
        None => None,
    };
    let filter = PointFilter {
        vm: asked.vm,
        vm_name: None,
        vault,
    };
    let page = Page {
        after: bounds.after.as_ref().map(|key| key.0),
        limit: bounds.read(),
    };
    let points = state.catalog.points_page(&filter, &page).await?;
    Ok(bounds.page(points, key, view))
}

fn key(point: &PointRecord) -> String {
    let key = point.key();
    format!("{} {} {}", key.taken_at.as_microsecond(), key.id, key.vault)
}

pub(crate) fn view(point: PointRecord) -> PointView {
    PointView {
        id: point.id,
        vault: point.vault,
        vm: point.vm,
        vm_name: point.vm_name,
        taken_at: point.taken_at,
        committed_at: point.committed_at,
        consistency: point.consistency,
        size_bytes: point.size,
        stored_bytes: point.stored,
        copied_from: point.copied_from,
    }
}
