//! Recovery points, as the catalog knows them: what is in the vaults counts.

use std::str::FromStr;

use axum::{Json, extract::State};
use jiff::Timestamp;
use tresor_api_types::{Paged, PointQuery, PointView};
use tresor_catalog::{Page, PointFilter, PointKey, PointRecord};

use crate::{
    ApiState,
    body::Asked,
    failure::{Answer, FailureBody},
    page::Bounds,
};

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
