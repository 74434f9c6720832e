//! VMs that were discovered, protected or not.

use std::str::FromStr;

use axum::{Json, extract::State};
use tresor_api_types::{DatasourceQuery, DatasourceView, Paged};
use tresor_catalog::{DatasourceFilter, DatasourceKey, DatasourceRecord, Page};

use crate::{
    ApiState,
    body::Asked,
    failure::{Answer, FailureBody},
    page::Bounds,
};

struct Key(DatasourceKey);

impl FromStr for Key {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (vm, host) = text.split_once(' ').ok_or(())?;
        let host = match host {
            "" => None,
            host => Some(host.parse().map_err(|_| ())?),
        };
        Ok(Self((vm.parse().map_err(|_| ())?, host)))
    }
}

/// Discovered VMs, by id.
#[utoipa::path(get, path = "/api/v1/datasources", tag = "datasources", params(DatasourceQuery), responses(
    (status = 200, description = "A page of datasources.", body = Paged<DatasourceView>),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Asked(asked): Asked<DatasourceQuery>,
) -> Answer<Json<Paged<DatasourceView>>> {
    let bounds = Bounds::<Key>::new("datasources", asked.limit, asked.cursor.as_deref())?;
    let filter = DatasourceFilter {
        vm: None,
        host: super::items::host(asked.host.as_deref())?,
        protected: asked.protected,
        gone: asked.gone,
    };
    let page = Page {
        after: bounds.after.as_ref().map(|key| key.0),
        limit: bounds.read(),
    };
    let found = state.catalog.datasources(&filter, &page).await?;
    Ok(bounds.page(found, key, view))
}

fn key(record: &DatasourceRecord) -> String {
    let (vm, host) = record.key();
    let host = host.map(|host| host.to_string()).unwrap_or_default();
    format!("{vm} {host}")
}

fn view(record: DatasourceRecord) -> DatasourceView {
    DatasourceView {
        vm: record.seen.vm,
        host: record.host,
        name: record.seen.name,
        state: record.seen.state,
        problem: record.seen.problem.map(super::problems::without_detail),
        first_seen: record.first_seen,
        last_seen: record.last_seen,
        gone_since: record.gone_since,
        protected: record.protected,
    }
}
