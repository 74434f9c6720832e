//! A check: the structure of a vault, without reading what is stored.
//!
//! | sub-task | action | undo |
//! | --- | --- | --- |
//! | Check structure | the list of all objects against what they say of each other; with a key, the rings opened | none: changes nothing |
//! | Find what is affected | with a key, when a pack is lost or everything shall be looked at: all points by their manifests | none |

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};
use tresor_backend::Backend;
use tresor_jobs::{JobPlan, RecoveryPolicy, Scope, SubTask};
use tresor_model::{JobId, JobKind, PointId};
use tresor_problem::{Kind, Problem};
use tresor_vault::{ObjectsReport, Vault, check_structure};

use crate::{Affected, affected, translate::vault_problem};

/// Something that is wrong.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What, why, and what to do.
    pub problem: Problem,
    /// The object.
    pub object: Option<String>,
    /// The recovery point that it is a part of, where that can be told without reading more.
    pub point: Option<PointId>,
}

/// A check's services and result.
pub struct CheckContext {
    backend: Arc<dyn Backend>,
    location: String,
    vault: Option<Vault>,
    deep: bool,
    /// What the objects say.
    pub report: ObjectsReport,
    /// All that is wrong.
    pub findings: Vec<Finding>,
    /// What cannot be read whole; `None`: it was not looked at.
    pub affected: Option<Vec<Affected>>,
}

impl CheckContext {
    /// A context for a run that has not begun. `backend` is the storage itself, not copies of what
    /// is in it; without keys `vault` is none; `deep` looks at all manifests whatever is found.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>, vault: Option<Vault>, deep: bool) -> Self {
        Self {
            location: backend.properties().location,
            backend,
            vault,
            deep,
            report: ObjectsReport::default(),
            findings: Vec::new(),
            affected: None,
        }
    }

    fn problem(&self, error: &tresor_vault::Error) -> Problem {
        vault_problem(error, &self.location)
    }

    fn add(&mut self, problem: Problem, object: Option<String>, point: Option<PointId>) {
        // A ring that does not open may have been found without a key already.
        let known = |finding: &Finding| object.is_some() && finding.object == object;
        if !self.findings.iter().any(known) {
            self.findings.push(Finding {
                problem,
                object,
                point,
            });
        }
    }

    fn add_damage(&mut self, object: &str, reason: &str, point: Option<PointId>) {
        let kind = Kind::VaultDamaged {
            location: self.location.clone(),
            object: object.to_owned(),
            reason: reason.to_owned(),
        };
        self.add(kind.into(), Some(object.to_owned()), point);
    }

    /// Notes what a vault said that did not open: the rest is checked without a key.
    pub fn does_not_open(&mut self, error: &tresor_vault::Error) {
        let object = object_of(error);
        self.add(self.problem(error), object, None);
    }

    /// What a point may miss: packs that are not there whole, or that are marked.
    fn suspects(&self) -> BTreeSet<String> {
        let damaged = self.report.damaged.iter().map(|damaged| &damaged.object);
        let packs = damaged.filter(|object| object.starts_with("packs/"));
        packs.chain(&self.report.marked).cloned().collect()
    }
}

fn object_of(error: &tresor_vault::Error) -> Option<String> {
    match error.kind() {
        tresor_vault::ErrorKind::Damaged { object, .. }
        | tresor_vault::ErrorKind::KeyMissing { object, .. }
        | tresor_vault::ErrorKind::VersionUnknown { object, .. } => Some(object.clone()),
        _ => None,
    }
}

/// The table of sub-tasks.
#[must_use]
pub fn plan(job: JobId, location: &str, deep: bool) -> JobPlan<CheckContext> {
    JobPlan {
        id: job,
        kind: JobKind::Check,
        subject: location.to_owned(),
        lock: None,
        recovery: RecoveryPolicy::Unwind,
        params: json!({ "deep": deep }),
        sub_tasks: vec![Box::new(Structure), Box::new(FindAffected)],
    }
}

const LIMIT: Duration = Duration::from_secs(24 * 3600);

struct Structure;

#[async_trait]
impl SubTask<CheckContext> for Structure {
    fn name(&self) -> &'static str {
        "Check structure"
    }

    fn limit(&self) -> Option<Duration> {
        Some(LIMIT)
    }

    async fn run(&self, ctx: &mut CheckContext, scope: &Scope) -> Result<Value, Problem> {
        let progress = |at: tresor_vault::Progress| {
            scope.progress(at.done, Some(at.total), "objects");
        };
        let checked = tokio::select! {
            biased;
            () = scope.cancel().cancelled() => return Err(interrupted()),
            checked = check_structure(Arc::clone(&ctx.backend), progress) => checked,
        };
        ctx.report = checked.map_err(|error| ctx.problem(&error))?;
        for damaged in ctx.report.damaged.clone() {
            ctx.add_damage(&damaged.object, &damaged.reason, damaged.point);
        }
        if let Some(vault) = ctx.vault.clone() {
            let strange = vault.verify_keys().await;
            for error in strange.map_err(|error| ctx.problem(&error))? {
                ctx.add(ctx.problem(&error), object_of(&error), None);
            }
        } else {
            // Whether its content lies elsewhere as well is in manifests and the index.
            for pack in ctx.report.marked.clone() {
                let reason = "it is marked as damaged, and without a key nothing tells whether its \
                              content is stored elsewhere";
                ctx.add_damage(&pack, reason, None);
            }
        }
        Ok(json!({ "objects": ctx.report.objects, "findings": ctx.findings.len() }))
    }
}

struct FindAffected;

#[async_trait]
impl SubTask<CheckContext> for FindAffected {
    fn name(&self) -> &'static str {
        "Find what is affected"
    }

    fn limit(&self) -> Option<Duration> {
        Some(LIMIT)
    }

    async fn run(&self, ctx: &mut CheckContext, scope: &Scope) -> Result<Value, Problem> {
        let suspects = ctx.suspects();
        let wanted = ctx.deep || !suspects.is_empty();
        let Some(vault) = ctx.vault.clone().filter(|_| wanted) else {
            return Ok(Value::Null);
        };
        let doubted = suspects.iter().map(String::as_str);
        let (lost, _) = affected::find(&vault, doubted, scope, interrupted).await?;
        let affected: Vec<_> = lost.iter().map(affected::Lost::affected).collect();
        for lost in &affected {
            for object in &lost.objects {
                let reason = format!(
                    "{} of recovery point {} cannot be read whole without it",
                    lost.disk, lost.point
                );
                ctx.add_damage(object, &reason, Some(lost.point));
            }
        }
        let output = json!({ "affected": affected });
        ctx.affected = Some(affected);
        Ok(output)
    }
}

fn interrupted() -> Problem {
    Kind::Interrupted {
        what: "The check".to_owned(),
    }
    .into()
}
