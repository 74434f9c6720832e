//! What verifications leave to know: in the catalog what was read, in the vault what is damaged.

use std::collections::BTreeSet;

use jiff::Timestamp;
use tresor_backend::ObjectMeta;
use tresor_catalog::{Catalog, VerifiedChange};
use tresor_model::VaultId;
use tresor_problem::Problem;
use tresor_vault::{History, Learnt, PointList, Seen, Vault};
use tresor_workflows::{
    partial::PartialContext, storage_problem, vault_problem, verify::VerifyContext,
};

use crate::{place::VaultPlace, storage::Storage};

/// What is known from earlier runs.
///
/// # Errors
/// What the catalog says.
pub async fn history(catalog: &Catalog, vault: VaultId) -> Result<History, Problem> {
    let known = catalog.verified(vault).await;
    let known = known.map_err(|error| Problem::from(&error))?;
    let seen = |(first, verified)| Seen { first, verified };
    Ok(known
        .into_iter()
        .map(|(object, times)| (object, seen(times)))
        .collect())
}

/// Notes what a run learnt. Losing it costs reading again.
///
/// # Errors
/// What the catalog says.
pub async fn note_learnt(
    catalog: &Catalog,
    vault: VaultId,
    now: Timestamp,
    learnt: &Learnt,
) -> Result<(), Problem> {
    let change = VerifiedChange {
        new: &learnt.new,
        gone: &learnt.gone,
        verified: &learnt.verified,
    };
    let noted = catalog.note_verified(vault, now, change).await;
    noted.map_err(|error| Problem::from(&error))
}

/// Leaves word of what a partial verification found damaged, so that the next backup stores it again.
///
/// # Errors
/// What the vault says.
pub async fn mark_part(storage: &Storage, ctx: &PartialContext) -> Result<(), Problem> {
    let objects: Vec<&str> = ctx.damaged_objects().collect();
    if objects.is_empty() {
        return Ok(());
    }
    let marked = tresor_vault::mark_damaged(storage.backend.clone(), objects).await;
    let location = storage.backend.properties().location;
    marked.map_err(|error| vault_problem(&error, &location))?;
    Ok(())
}

/// The same of a verification of recovery points.
///
/// # Errors
/// What the vault says.
pub async fn mark_points(vault: &Vault, ctx: &VerifyContext) -> Result<(), Problem> {
    let reports = ctx.reports.iter().map(|(_, report)| report);
    let lost = reports.flat_map(|report| &report.damaged_objects);
    let around = vault.read_around();
    let objects = lost.chain(around.iter().map(|around| &around.object));
    let marked = vault.mark_damaged(objects.map(String::as_str)).await;
    marked.map_err(|error| vault_problem(&error, vault.location()))?;
    Ok(())
}

/// The objects that are there when a verification of the whole vault begins.
pub struct WholeVault {
    listed: Vec<ObjectMeta>,
    /// Whether the points that are read are all that is in the vault, so that what none of them refers
    /// to is needed by nobody.
    is_all: bool,
}

impl WholeVault {
    /// What is there now, beside the points that are to be read.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn before(place: &VaultPlace, list: &PointList) -> Result<Self, Problem> {
        let backend = place.location.open(None).await?;
        let listed = backend.list("").await;
        let failed = |error| storage_problem(&error, &place.location.to_string());
        Ok(Self {
            listed: listed.map_err(failed)?,
            is_all: list.deleted.is_empty() && list.unreadable.is_empty() && list.elsewhere == 0,
        })
    }

    /// Partial verifications go on behind this one. Of all points every pack was read in which there
    /// is anything.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn note(
        &self,
        catalog: &Catalog,
        vault: &Vault,
        ctx: &VerifyContext,
    ) -> Result<(), Problem> {
        if !ctx.read_all {
            return Ok(());
        }
        let history = history(catalog, vault.id()).await?;
        let mut learnt = Learnt::from_list(&self.listed, &history);
        if self.is_all {
            let around = vault.read_around();
            let reports = ctx.reports.iter().map(|(_, report)| report);
            let damaged: BTreeSet<&str> = reports
                .flat_map(|report| &report.damaged_objects)
                .chain(around.iter().map(|around| &around.object))
                .map(String::as_str)
                .collect();
            let names = self.listed.iter().map(|meta| meta.name.as_str());
            let packs = names.filter(|name| name.starts_with("packs/"));
            let right = packs.filter(|name| !damaged.contains(name));
            learnt.verified = right.map(str::to_owned).collect();
        }
        note_learnt(catalog, vault.id(), Timestamp::now(), &learnt).await
    }
}
