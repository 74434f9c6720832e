//! Vaults, and what can be done with one as a whole.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tresor_model::{CopyReadBack, PointId, VaultId, VmId};
use utoipa::ToSchema;

/// A vault.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct VaultView {
    /// What it is called here.
    pub name: String,
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    pub id: VaultId,
    /// Where it is.
    pub location: String,
    /// When it was made known here.
    pub created_at: Timestamp,
}

/// What of a vault is to be read back: one of these; none: all recovery points.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Verify {
    /// The recovery points of this VM, by id.
    #[schema(value_type = Option<String>, format = Uuid)]
    pub vm: Option<VmId>,
    /// This recovery point.
    #[schema(value_type = Option<String>, format = Uuid)]
    pub point: Option<PointId>,
    /// What came since the last verification.
    pub since_last: bool,
    /// A share of the vault's bytes, what waits longest: `2.5%`.
    pub share: Option<String>,
}

/// What is to be copied, and where to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Copy {
    /// Name of the vault to copy to.
    pub to: String,
    /// Only recovery points of VMs of these names, and those in `points`; both missing: all.
    #[serde(default)]
    pub vms: Vec<String>,
    /// Only these recovery points, and those of `vms`.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub points: Vec<PointId>,
    /// Of each VM, only so many of the newest.
    pub newest: Option<u32>,
    /// Also recovery points that are older than the newest one that was copied.
    #[serde(default)]
    pub older: bool,
    /// How much is read back from the other vault: `none`, `sample` (the default), `all`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub read_back: CopyReadBack,
    /// Most MiB per second that are read.
    #[schema(minimum = 1)]
    pub read_mib_s: Option<u32>,
    /// Most MiB per second that are stored.
    #[schema(minimum = 1)]
    pub upload_mib_s: Option<u32>,
}
