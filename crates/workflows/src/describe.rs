//! What a vault knows of a VM.

use tresor_model::{RecoveryPoint, VmId};
use tresor_vault::{Error, PointSummary, Vault};

/// The newest recovery point of a VM, whole.
///
/// # Errors
/// When the vault cannot be read.
pub async fn last_point_of(vault: &Vault, vm: VmId) -> Result<Option<RecoveryPoint>, Error> {
    let newest = vault
        .points()
        .await?
        .points
        .into_iter()
        .filter(|point| point.vm == vm)
        .max_by_key(PointSummary::age);
    match newest {
        Some(point) => vault.point(point.id).await.map(Some),
        None => Ok(None),
    }
}
