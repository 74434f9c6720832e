//! VMs that were discovered, protected or not.

use std::str::FromStr;

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tresor_catalog::{DatasourceFilter, DatasourceKey, DatasourceRecord, Page};
use tresor_model::{HostId, VmId};
use tresor_problem::Problem;
use utoipa::{IntoParams, ToSchema};

use super::problems::ProblemView;
use crate::{
    ApiState,
    body::Asked,
    failure::{Answer, FailureBody},
    page::{Bounds, Paged},
};

/// A VM that was found on a host.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DatasourceView {
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    vm: VmId,
    /// Its host; `null`: the machine that the service runs on.
    #[schema(value_type = Option<String>, format = Uuid)]
    host: Option<HostId>,
    /// Its name there.
    name: String,
    /// What it does there: `running`, `stopped`, ….
    state: String,
    /// Why it cannot be looked at.
    #[schema(value_type = Option<ProblemView>)]
    problem: Option<Problem>,
    /// When it was seen first.
    first_seen: Timestamp,
    /// When it was seen last.
    last_seen: Timestamp,
    /// Since when it is not there any more.
    gone_since: Option<Timestamp>,
    /// Whether it is a protected item.
    protected: bool,
}

/// Which datasources.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DatasourceQuery {
    /// Only those on this host; `local`: on the machine that the service runs on.
    host: Option<String>,
    /// Only those that are protected, or are not.
    protected: Option<bool>,
    /// Only those that are gone, or are not.
    gone: Option<bool>,
    /// At most so many, 1 to 500. Default: 100.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

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
