//! Recovery points, and their restore.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tresor_model::{Consistency, CopiedFrom, HostId, PointId, StreamName, VaultId, VmId};
use utoipa::{IntoParams, ToSchema};

/// A recovery point.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PointView {
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    pub id: PointId,
    /// Its vault.
    #[schema(value_type = String, format = Uuid)]
    pub vault: VaultId,
    /// The VM's id.
    #[schema(value_type = String, format = Uuid)]
    pub vm: VmId,
    /// The VM's name when it was made.
    pub vm_name: String,
    /// The moment whose data it has.
    pub taken_at: Timestamp,
    /// When it was complete.
    pub committed_at: Timestamp,
    /// How consistent it is: `crash`, `file-system` or `application`.
    #[schema(value_type = String)]
    pub consistency: Consistency,
    /// The disks' sizes, in bytes.
    pub size_bytes: u64,
    /// What was written to the vault for it, in bytes.
    pub stored_bytes: u64,
    /// The backup that it is a copy of.
    #[schema(value_type = Option<Object>)]
    pub copied_from: Option<CopiedFrom>,
}

/// Which points.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PointQuery {
    /// Only those of this VM, by id.
    #[param(value_type = Option<String>, format = Uuid)]
    pub vm: Option<VmId>,
    /// Only those in this vault, by name.
    pub vault: Option<String>,
    /// At most so many, 1 to 500. Default: 100.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// Where a recovery point is to be restored to, and what of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Restore {
    /// The directory for the images and the machine definition, below one that the host's administrator
    /// allowed (`--restore-dir`); a relative one is below the first of them. Default: the point's id.
    pub to: Option<String>,
    /// The host; missing: the machine that the service runs on.
    #[schema(value_type = Option<String>, format = Uuid)]
    pub host: Option<HostId>,
    /// Name of the vault, where several have the recovery point.
    pub vault: Option<String>,
    /// Only these disks; missing: all, and what the machine has besides.
    #[schema(value_type = Vec<String>)]
    pub disks: Vec<StreamName>,
    /// Format of the images: `raw` or `qcow2`; missing: as each was.
    pub format: Option<String>,
    /// Whether images that are there may be replaced (which needs `points.restore-over`); never one that
    /// is in use.
    pub overwrite: bool,
}
