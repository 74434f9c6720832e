//! What a verification is asked to do: what the job log keeps of it, on whatever host it runs.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tresor_jobs::{JobPlan, NewJob, RecoveryPolicy, SubTask};
use tresor_model::{JobId, JobKind, PointId, VerifyShare, VmId};
use tresor_problem::{Kind, Problem};
use tresor_vault::{Choice, PointList, PointSummary};

use crate::{Cause, written::seconds};

/// What is wanted. As JSON it is the job's parameters: a field may be added with a default, none may
/// change its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyOrder {
    /// The vault's name; of one that is not known here, where it lies.
    pub vault: String,
    /// What is read.
    #[serde(flatten)]
    pub what: VerifyWhat,
    /// How long it may take.
    #[serde(default = "limit", rename = "limit_s", with = "seconds")]
    pub limit: Duration,
    /// Why there is this job.
    #[serde(default)]
    pub cause: Cause,
}

/// What a verification reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum VerifyWhat {
    /// All recovery points.
    All,
    /// Those of a VM.
    Vm {
        /// Its identity.
        vm: VmId,
    },
    /// One.
    Point {
        /// Its id, or that of the backup that it is a copy of.
        point: PointId,
    },
    /// What came since the last verification.
    SinceLast,
    /// A share of the vault's bytes: what waits longest.
    Share {
        /// How much.
        #[serde(with = "crate::written::text")]
        share: VerifyShare,
    },
}

impl VerifyWhat {
    /// The part of the vault's objects that is read; `None`: recovery points are.
    #[must_use]
    pub fn choice(&self) -> Option<Choice> {
        match self {
            Self::All | Self::Vm { .. } | Self::Point { .. } => None,
            Self::SinceLast => Some(Choice::SinceLast),
            Self::Share { share } => Some(Choice::Share(*share)),
        }
    }

    /// The recovery points that are read, of those that the vault has.
    ///
    /// # Errors
    /// `PointNotFound` when what is named has none.
    pub fn points(&self, list: &PointList) -> Result<Vec<PointId>, Problem> {
        let ids = |wanted: &dyn Fn(&PointSummary) -> bool| -> Vec<PointId> {
            let points = list.points.iter().filter(|point| wanted(point));
            points.map(|point| point.id).collect()
        };
        let none = |point: String| Problem::from(Kind::PointNotFound { point });
        let (found, named) = match self {
            Self::All | Self::SinceLast | Self::Share { .. } => return Ok(ids(&|_| true)),
            Self::Vm { vm } => (ids(&|point| point.vm == *vm), format!("of VM {vm}")),
            Self::Point { point: wanted } => {
                let own = ids(&|point| point.id == *wanted);
                let copy_of = |point: &PointSummary| {
                    point.copied_from.is_some_and(|from| from.point == *wanted)
                };
                let copies = || ids(&copy_of).into_iter().take(1).collect();
                let found = if own.is_empty() { copies() } else { own };
                (found, wanted.to_string())
            }
        };
        if found.is_empty() {
            return Err(none(named));
        }
        Ok(found)
    }
}

impl VerifyOrder {
    /// An order with nothing special about it.
    #[must_use]
    pub fn new(vault: &str, what: VerifyWhat) -> Self {
        Self {
            vault: vault.to_owned(),
            what,
            limit: limit(),
            cause: Cause::Asked,
        }
    }

    /// The order of a job that waits.
    ///
    /// # Errors
    /// `Internal` when the parameters are not a verification's.
    pub fn of_params(params: &serde_json::Value) -> Result<Self, Problem> {
        Self::deserialize(params).map_err(|error| {
            let what = format!("The job's parameters are not those of a verification: {error}.");
            Kind::Internal { what }.into()
        })
    }

    /// The job, as it is recorded.
    #[must_use]
    pub fn new_job(&self, job: JobId, now: Timestamp) -> NewJob {
        super::plan(job, self).new_job(now)
    }

    /// The plan with its only sub-task. It has no lock: readers are in nobody's way.
    pub(crate) fn plan<C>(&self, job: JobId, read_back: Box<dyn SubTask<C>>) -> JobPlan<C> {
        JobPlan {
            id: job,
            kind: JobKind::Verify,
            subject: self.vault.clone(),
            lock: None,
            recovery: RecoveryPolicy::Unwind,
            // Strings, numbers and lists of them: nothing that JSON refuses.
            params: serde_json::to_value(self).unwrap_or_default(),
            sub_tasks: vec![read_back],
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
        let whats = [
            VerifyWhat::All,
            VerifyWhat::Vm {
                vm: VmId::generate(),
            },
            VerifyWhat::Point {
                point: PointId::from(SessionId::generate()),
            },
            VerifyWhat::SinceLast,
            VerifyWhat::Share {
                share: "2.5%".parse().unwrap(),
            },
        ];
        for what in whats {
            let mut order = VerifyOrder::new("main", what);
            order.limit = Duration::from_secs(77);
            order.cause = Cause::Routine;
            let job = order.new_job(JobId::generate(), Timestamp::UNIX_EPOCH);
            assert_eq!(VerifyOrder::of_params(&job.params).unwrap(), order);
            assert_eq!(job.sub_tasks[0].limit_ms, Some(77_000));
        }
    }

    #[test]
    fn other_parameters_are_refused() {
        for params in [
            serde_json::json!({ "points": [] }),
            serde_json::json!({ "share": "3%" }),
        ] {
            let problem = VerifyOrder::of_params(&params).unwrap_err();
            assert!(problem.is("Internal"), "{problem}");
        }
    }
}
