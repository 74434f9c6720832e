//! Which recovery points cannot be read whole, by their manifests: no data is read.

use serde::Serialize;
use tresor_jobs::Scope;
use tresor_model::{PointId, RecoveryPoint, StreamName, StreamRecord};
use tresor_problem::Problem;
use tresor_vault::{Heal, Losses, Vault};

use crate::translate::vault_problem;

/// A disk or attachment of a recovery point that cannot be read whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Affected {
    /// The point.
    pub point: PointId,
    /// Name of its VM.
    pub vm: String,
    /// When it was taken.
    pub taken_at: jiff::Timestamp,
    /// The disk or attachment.
    pub disk: StreamName,
    /// Bytes of it that cannot be read.
    pub bytes: u64,
    /// Objects that are damaged or missing.
    pub objects: Vec<String>,
}

/// The same with what a repair needs of it.
pub(crate) struct Lost {
    pub(crate) point: RecoveryPoint,
    pub(crate) stream: StreamRecord,
    pub(crate) losses: Losses,
}

impl Lost {
    pub(crate) fn affected(&self) -> Affected {
        Affected {
            point: self.point.id,
            vm: self.point.vm_name.clone(),
            taken_at: self.point.taken_at,
            disk: self.stream.name.clone(),
            bytes: self.losses.bytes(),
            objects: self.losses.objects.clone(),
        }
    }
}

/// Looks at all points; `doubted` are packs that count as lost though they are there. Ends as
/// `interrupted` when the job shall end.
pub(crate) async fn find<'a>(
    vault: &Vault,
    doubted: impl IntoIterator<Item = &'a str>,
    scope: &Scope,
    interrupted: impl Fn() -> Problem,
) -> Result<(Vec<Lost>, Heal), Problem> {
    let problem = |error: tresor_vault::Error| vault_problem(&error, vault.location());
    let points = vault.points().await.map_err(problem)?;
    let mut survey = vault.survey().await.map_err(problem)?;
    survey.doubt(doubted);
    let total = points.points.len() as u64;
    let mut all = Vec::new();
    for (number, summary) in (0..).zip(&points.points) {
        if scope.cancel().is_cancelled() {
            return Err(interrupted());
        }
        scope.progress(
            number,
            Some(total),
            format!("recovery point {}", summary.id),
        );
        let point = vault.point(summary.id).await.map_err(problem)?;
        let disks = point.disks.iter().map(|disk| &disk.stream);
        for stream in disks.chain(&point.attachments) {
            let losses = survey.stream(stream).await.map_err(problem)?;
            if losses.bytes() > 0 {
                all.push(Lost {
                    point: point.clone(),
                    stream: stream.clone(),
                    losses,
                });
            }
        }
    }
    Ok((all, survey.heal_nodes()))
}
