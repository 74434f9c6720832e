//! What a copy is asked to do: what the job log keeps of it, on whatever host it runs.

use std::{num::NonZeroU64, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use tresor_model::{CopyReadBack, PointId, VaultId};
use tresor_problem::{Kind, Problem};
use tresor_vault::{CopyChoice, PointList, PointSummary, ReadBack, Vault, plan_copies};

use super::CopyRequest;
use crate::{Cause, translate::vault_problem, written::seconds};

/// A sixteenth of the parts of 4 MiB is read back.
const SAMPLE: u64 = 16;

/// What is wanted. As JSON it is the job's parameters: a field may be added with a default, none may
/// change its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyOrder {
    /// The vault that is read: its name; of one that is not known here, where it lies.
    pub from: String,
    /// Its id.
    pub from_id: VaultId,
    /// The vault that is written.
    pub to: String,
    /// Its id.
    pub to_id: VaultId,
    /// Only points of VMs of these names, and those in `points`; both empty: all.
    #[serde(default)]
    pub vms: Vec<String>,
    /// Only these points, and those of `vms`.
    #[serde(default)]
    pub points: Vec<PointId>,
    /// Of each VM, only so many of the newest; `None`: all.
    #[serde(default)]
    pub newest: Option<usize>,
    /// Also points that are older than the newest one that was copied.
    #[serde(default)]
    pub older: bool,
    /// How much is read back from the vault that was written.
    #[serde(default)]
    pub read_back: CopyReadBack,
    /// Most bytes per second that are read.
    #[serde(default)]
    pub read_limit: Option<NonZeroU64>,
    /// Most bytes per second that are stored.
    #[serde(default)]
    pub upload_limit: Option<NonZeroU64>,
    /// How long it may take.
    #[serde(default = "limit", rename = "limit_s", with = "seconds")]
    pub limit: Duration,
    /// Why there is this job.
    #[serde(default)]
    pub cause: Cause,
}

impl CopyOrder {
    /// An order with nothing special about it: everything that is newer than what was copied before.
    #[must_use]
    pub fn new(from: (&str, VaultId), to: (&str, VaultId)) -> Self {
        Self {
            from: from.0.to_owned(),
            from_id: from.1,
            to: to.0.to_owned(),
            to_id: to.1,
            vms: Vec::new(),
            points: Vec::new(),
            newest: None,
            older: false,
            read_back: CopyReadBack::default(),
            read_limit: None,
            upload_limit: None,
            limit: limit(),
            cause: Cause::Asked,
        }
    }

    /// The order of a recorded job.
    ///
    /// # Errors
    /// `Internal` when the parameters are not a copy's.
    pub fn of_params(params: &serde_json::Value) -> Result<Self, Problem> {
        Self::deserialize(params).map_err(|error| {
            let what = format!("The job's parameters are not those of a copy: {error}.");
            Kind::Internal { what }.into()
        })
    }

    /// What copies between two vaults exclude each other by.
    #[must_use]
    pub fn lock(&self) -> String {
        format!("copy:{}:{}", self.from_id, self.to_id)
    }

    /// What it is about, as users name it.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("{} to {}", self.from, self.to)
    }

    /// What is to be done, from what both vaults have now. `index_cache`: where this machine keeps what
    /// it knows of the other vault's index.
    ///
    /// # Errors
    /// What reading the vaults says; `PointNotFound` of what is named and not there.
    pub async fn request(
        &self,
        source: &Vault,
        target: &Vault,
        index_cache: Option<PathBuf>,
    ) -> Result<CopyRequest, Problem> {
        let here = source.points().await;
        let here = here.map_err(|error| vault_problem(&error, source.location()))?;
        let PointList {
            points: mut here,
            others,
            ..
        } = here;
        // Copied, a forged one would be sealed by the owner himself.
        here.retain(|point| !point.vm.is_database() || !others.contains(&point.id));
        self.expect_named(&here)?;
        let ever = target.points_ever().await;
        let (ever, expired) = ever.map_err(|error| vault_problem(&error, target.location()))?;
        let planned = plan_copies(
            (source.id(), &here),
            (target.id(), &ever.points, &expired),
            &self.choice(),
        );
        let mut there = ever.points;
        there.retain(|point| !expired.contains(&point.id));
        Ok(CopyRequest {
            planned,
            there,
            read_back: match self.read_back {
                CopyReadBack::None => ReadBack::None,
                CopyReadBack::Sample => ReadBack::Sample(SAMPLE),
                CopyReadBack::All => ReadBack::All,
            },
            index_cache,
        })
    }

    fn choice(&self) -> CopyChoice {
        CopyChoice {
            names: self.vms.clone(),
            points: self.points.clone(),
            newest: self.newest,
            older: self.older,
        }
    }

    /// A slip is not taken for "nothing to do".
    fn expect_named(&self, here: &[PointSummary]) -> Result<(), Problem> {
        let missing = |point: String| Err(Kind::PointNotFound { point }.into());
        let vm = |name: &&String| !here.iter().any(|point| point.vm_name == **name);
        if let Some(name) = self.vms.iter().find(vm) {
            return missing(format!("of VM {name}"));
        }
        let id = |id: &&PointId| !here.iter().any(|point| point.id == **id);
        match self.points.iter().find(id) {
            Some(id) => missing(id.to_string()),
            None => Ok(()),
        }
    }
}

const fn limit() -> Duration {
    Duration::from_secs(7 * 24 * 3600)
}

#[cfg(test)]
mod tests {
    use tresor_model::SessionId;

    use super::*;

    #[test]
    fn an_order_comes_back_from_the_log_as_it_was() {
        let vaults = (VaultId::generate(), VaultId::generate());
        let mut order = CopyOrder::new(("main", vaults.0), ("away", vaults.1));
        order.vms = vec!["web01".to_owned()];
        order.points = vec![PointId::from(SessionId::generate())];
        order.newest = Some(3);
        order.read_back = CopyReadBack::All;
        order.upload_limit = NonZeroU64::new(1 << 20);
        order.limit = Duration::from_secs(77);
        order.cause = Cause::Routine;
        let plan = super::super::plan(tresor_model::JobId::generate(), &order);
        assert_eq!(CopyOrder::of_params(&plan.params).unwrap(), order);
        assert_eq!(plan.specs()[0].limit_ms, Some(77_000));
        assert!(CopyOrder::of_params(&serde_json::json!({ "points": [] })).is_err());
    }
}
