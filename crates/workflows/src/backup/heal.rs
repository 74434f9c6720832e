//! What the vault has lost of the last point: read from the VM's disks again.

use tresor_jobs::Scope;
use tresor_model::RecoveryPoint;
use tresor_problem::Problem;
use tresor_vault::Heal;

use super::BackupContext;

/// Looks for losses of the parent when packs were marked as damaged since it was made; else that
/// costs one list. Notes what is to be read again; gives what is to be written anew.
pub(super) async fn heal(
    ctx: &mut BackupContext,
    scope: &Scope,
    parent: Option<&RecoveryPoint>,
) -> Result<Heal, Problem> {
    let vault = ctx.services.vault.clone();
    let failed = |error| crate::translate::vault_problem(&error, vault.location());
    let marked = vault.marked_packs().await.map_err(failed)?;
    ctx.damage_seen = marked.iter().cloned().collect();
    let Some(parent) = parent else {
        return Ok(Heal::default());
    };
    if marked.iter().all(|pack| parent.damage_seen.contains(pack)) {
        return Ok(Heal::default());
    }
    let mut survey = vault.survey().await.map_err(failed)?;
    for disk in &parent.disks {
        let losses = survey.stream(&disk.stream).await.map_err(failed)?;
        if losses.bytes() > 0 {
            let text = format!(
                "{} bytes of {} are lost in the vault ({}): they are read from the disk again",
                losses.bytes(),
                disk.stream.name,
                losses.objects.join(", "),
            );
            ctx.warn(scope, text);
            let name = disk.stream.name.clone();
            ctx.lost.insert(name, losses.extents);
        }
    }
    Ok(survey.heal())
}
