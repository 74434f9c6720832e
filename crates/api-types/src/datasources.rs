//! VMs that were discovered, protected or not.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tresor_model::{HostId, VmId};
use tresor_problem::Problem;
use utoipa::{IntoParams, ToSchema};

use crate::ProblemView;

/// A VM that was found on a host.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DatasourceView {
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    pub vm: VmId,
    /// Its host; `null`: the machine that the service runs on.
    #[schema(value_type = Option<String>, format = Uuid)]
    pub host: Option<HostId>,
    /// Its name there.
    pub name: String,
    /// What it does there: `running`, `stopped`, ….
    pub state: String,
    /// Why it cannot be looked at.
    #[schema(value_type = Option<ProblemView>)]
    pub problem: Option<Problem>,
    /// When it was seen first.
    pub first_seen: Timestamp,
    /// When it was seen last.
    pub last_seen: Timestamp,
    /// Since when it is not there any more.
    pub gone_since: Option<Timestamp>,
    /// Whether it is a protected item.
    pub protected: bool,
}

/// Which datasources.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DatasourceQuery {
    /// Only those on this host; `local`: on the machine that the service runs on.
    pub host: Option<String>,
    /// Only those that are protected, or are not.
    pub protected: Option<bool>,
    /// Only those that are gone, or are not.
    pub gone: Option<bool>,
    /// At most so many, 1 to 500. Default: 100.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}
