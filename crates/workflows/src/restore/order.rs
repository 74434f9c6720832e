//! What a restore is asked to do: what the job log keeps of it, on whatever host it runs.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use tresor_model::{PointId, StreamName};
use tresor_problem::{Kind, Problem};
use tresor_transfer::restore::ImageFormat;

use crate::{
    Cause,
    written::{optional_text, seconds},
};

/// What is wanted. As JSON it is the job's parameters: a field may be added with a default, none may
/// change its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreOrder {
    /// The vault's name; of one that is not known here, where it lies.
    pub vault: String,
    /// The point.
    pub point: PointId,
    /// The name of its VM.
    pub vm_name: String,
    /// The directory. A relative one in a job that waits is below the directory for restores of the
    /// host that takes it up.
    pub to: PathBuf,
    /// Only these disks; empty: all.
    #[serde(default)]
    pub only: Vec<StreamName>,
    /// Format of the images; `None`: as each was.
    #[serde(default, with = "optional_text")]
    pub format: Option<ImageFormat>,
    /// Whether images that are there may be replaced.
    #[serde(default)]
    pub overwrite: bool,
    /// How long "Restore disks" may take.
    #[serde(default = "limit", rename = "limit_s", with = "seconds")]
    pub limit: Duration,
    /// Why there is this job.
    #[serde(default)]
    pub cause: Cause,
}

impl RestoreOrder {
    /// An order for all of a point, where nothing is yet.
    #[must_use]
    pub fn new(vault: &str, (point, vm_name): (PointId, &str), to: PathBuf) -> Self {
        Self {
            vault: vault.to_owned(),
            point,
            vm_name: vm_name.to_owned(),
            to,
            only: Vec::new(),
            format: None,
            overwrite: false,
            limit: limit(),
            cause: Cause::Asked,
        }
    }

    /// The order of a recorded job.
    ///
    /// # Errors
    /// `Internal` when the parameters are not a restore's.
    pub fn of_params(params: &serde_json::Value) -> Result<Self, Problem> {
        Self::deserialize(params).map_err(|error| {
            let what = format!("The job's parameters are not those of a restore: {error}.");
            Kind::Internal { what }.into()
        })
    }

    /// What restores into one directory exclude each other by.
    #[must_use]
    pub fn lock(&self) -> String {
        format!("target:{}", self.to.display())
    }
}

const fn limit() -> Duration {
    Duration::from_secs(24 * 3600)
}

#[cfg(test)]
mod tests {
    use tresor_model::SessionId;

    use super::*;

    #[test]
    fn an_order_comes_back_from_the_log_as_it_was() {
        let mut order = RestoreOrder::new(
            "main",
            (PointId::from(SessionId::generate()), "web01"),
            "/r".into(),
        );
        let bare = super::super::plan(tresor_model::JobId::generate(), &order);
        assert_eq!(RestoreOrder::of_params(&bare.params).unwrap(), order);
        order.only = vec![StreamName::new("vda").unwrap()];
        order.format = Some(ImageFormat::Qcow2);
        order.overwrite = true;
        order.limit = Duration::from_secs(77);
        let plan = super::super::plan(tresor_model::JobId::generate(), &order);
        assert_eq!(RestoreOrder::of_params(&plan.params).unwrap(), order);
        assert_eq!(plan.specs()[1].limit_ms, Some(77_000));
        assert!(RestoreOrder::of_params(&serde_json::json!({ "to": "/r" })).is_err());
    }
}
