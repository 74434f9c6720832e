//! Protected items.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tresor_model::{HostId, ItemState, VmId};
use utoipa::{IntoParams, ToSchema};

/// A protected item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ItemView {
    /// Its VM.
    #[schema(value_type = String, format = Uuid)]
    pub vm: VmId,
    /// The VM's name.
    pub name: String,
    /// The VM's host; `null`: the machine that the service runs on.
    #[schema(value_type = Option<String>, format = Uuid)]
    pub host: Option<HostId>,
    /// Name of the vault its recovery points go to.
    pub vault: String,
    /// Name of its policy.
    pub policy: String,
    /// `protected`; `stopped-kept`: no backups are made, and the recovery points stay; `stopped-deleted`: no
    /// backups are made, and the recovery points go.
    #[schema(value_type = String)]
    pub state: ItemState,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// How it stands: `fresh`, `waiting` (for its first recovery point), `late`, `vanished` (its VM is not
    /// found any more), `stopped`; `null`: its policy cannot be asked on this machine.
    #[schema(value_type = Option<String>)]
    pub standing: Option<Standing>,
    /// Since when it is late.
    pub late_since: Option<Timestamp>,
    /// Since when its VM is not found any more where it is registered.
    pub gone_since: Option<Timestamp>,
    /// When its last scheduled backup started.
    pub last_started_at: Option<Timestamp>,
    /// The moment whose data its last recovery point has.
    pub last_point_at: Option<Timestamp>,
    /// When its next backup is to start. It may have to wait for others then.
    pub next_start_at: Option<Timestamp>,
    /// The longest gap between recovery points that its policy promises, in seconds.
    pub longest_gap_s: Option<i64>,
}

/// Which items.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ItemQuery {
    /// Only those on this host; `local`: on the machine that the service runs on.
    pub host: Option<String>,
    /// Only those whose recovery points go to this vault, by name.
    pub vault: Option<String>,
    /// Only those with this policy, by name.
    pub policy: Option<String>,
    /// Only those in this state: `protected`, `stopped-kept` or `stopped-deleted`.
    #[param(value_type = Option<String>)]
    pub state: Option<ItemState>,
    /// At most so many, 1 to 500. Default: 100.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// By what to protect.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Protect {
    /// Name of a policy.
    pub policy: String,
    /// Of a VM that was found and is not registered yet: the vault its recovery points go to, by name. Default:
    /// the only one.
    pub vault: Option<String>,
    /// Of such a VM: what it is called from now on. Default: what it is called on its host.
    pub name: Option<String>,
}

/// How a protected item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Its last recovery point is as young as its policy promises.
    Fresh,
    /// It waits for its first one.
    Waiting,
    /// Its next one should be there.
    Late,
    /// Its VM is not found any more.
    Vanished,
    /// No backups are made of it.
    Stopped,
}

impl Standing {
    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Waiting => "waiting",
            Self::Late => "late",
            Self::Vanished => "vanished",
            Self::Stopped => "stopped",
        }
    }
}
