//! `tresor points list` over a service elsewhere: what its catalog knows. The vault itself, with marks and
//! warnings, is read where its key is.

use jiff::Timestamp;
use serde::Serialize;
use tresor_api_client::Client;
use tresor_api_types::{PageQuery, PointQuery, PointView};
use tresor_host::usage;
use tresor_model::{Consistency, CopiedFrom, PointId, VaultId, VmId};
use tresor_problem::Problem;

use super::{
    lookup,
    points::moment,
    session::{Session, print_problem},
};
use crate::{args::VaultAccess, output::bytes};

pub(super) async fn list(
    session: &Session,
    vm: Option<&str>,
    deleted: bool,
    access: &VaultAccess,
) -> Result<(), Problem> {
    if deleted {
        return Err(usage(
            "Deleted recovery points are in the vault only: run this on the machine of the service.",
        ));
    }
    let client = session.client().await?;
    let vault = match &access.vault {
        None => None,
        vault => Some(lookup::vault(&client, vault.as_deref(), &access.key).await?),
    };
    let id = match vm {
        Some(name) => match lookup::vm(&client, name).await {
            Ok(vm) => Some(vm),
            Err(problem) if problem.is("VmNotFound") => None,
            Err(problem) => return Err(problem),
        },
        None => None,
    };
    let asked = PointQuery {
        vm: id,
        vault,
        limit: Some(500),
        ..PointQuery::default()
    };
    let mut points = client.points(&asked).all().await?;
    if id.is_none()
        && let Some(name) = vm
    {
        points.retain(|point| point.vm_name == name);
    }
    points.reverse();
    print(session, &client, points).await
}

/// A point in the list. What the vault's own list has too has its names.
#[derive(Serialize)]
struct Row {
    id: PointId,
    vm: VmId,
    vm_name: String,
    taken_at: Timestamp,
    committed_at: Timestamp,
    consistency: Consistency,
    size: u64,
    stored: u64,
    copied_from: Option<CopiedFrom>,
    vault: VaultId,
    vault_name: String,
}

async fn print(session: &Session, client: &Client, points: Vec<PointView>) -> Result<(), Problem> {
    let vaults = client.vaults(&PageQuery::default()).all().await?;
    let name = |id: VaultId| {
        let known = vaults.iter().find(|vault| vault.id == id);
        known.map_or_else(|| id.to_string(), |vault| vault.name.clone())
    };
    let row = |point: PointView| Row {
        id: point.id,
        vm: point.vm,
        vm_name: point.vm_name,
        taken_at: point.taken_at,
        committed_at: point.committed_at,
        consistency: point.consistency,
        size: point.size_bytes,
        stored: point.stored_bytes,
        copied_from: point.copied_from,
        vault: point.vault,
        vault_name: name(point.vault),
    };
    let rows: Vec<Row> = points.into_iter().map(row).collect();
    let header = [
        "point",
        "VM",
        "taken at",
        "consistency",
        "size",
        "stored",
        "vault",
        "copy of",
    ];
    let cells = |row: &Row| {
        let from = row.copied_from.map(|from| from.point.to_string());
        vec![
            row.id.to_string(),
            row.vm_name.clone(),
            moment(row.taken_at),
            row.consistency.to_string(),
            bytes(row.size),
            bytes(row.stored),
            row.vault_name.clone(),
            from.unwrap_or_default(),
        ]
    };
    let none = "there are no recovery points";
    let printed = session.output.list("point", &header, &rows, cells, none);
    printed.map_err(print_problem)
}
