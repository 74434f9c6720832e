//! `tresor points …`

use jiff::Timestamp;
use serde::Serialize;
use tresor_model::{ReadMode, RecoveryPoint};
use tresor_problem::Problem;
use tresor_vault::{PointMarks, PointSummary};

use super::{
    open, points_change, points_known,
    session::{Session, print_problem},
};
use crate::{
    args::{PointSelector, PointsCommand, VaultAccess},
    output::{bytes, micros, plain_table},
};

pub(super) async fn run(command: PointsCommand, session: &Session) -> Result<(), Problem> {
    match command {
        PointsCommand::List {
            vm,
            deleted,
            access,
        } if session.is_remote()? => {
            points_known::list(session, vm.as_deref(), deleted, &access).await
        }
        PointsCommand::List {
            vm,
            deleted,
            access,
        } => list(session, vm.as_deref(), deleted, &access).await,
        PointsCommand::Show { point, access } => show(session, &point, &access).await,
        change => points_change::run(change, session).await,
    }
}

/// A point in a list.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    point: PointSummary,
    #[serde(flatten)]
    marks: PointMarks,
}

async fn list(
    session: &Session,
    vm: Option<&str>,
    deleted: bool,
    access: &VaultAccess,
) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let vault = open::vault(&catalog, access).await?;
    let mut list = open::list(&vault).await?;
    let mut points = list.points;
    if deleted {
        points.append(&mut list.deleted);
    }
    match vm {
        Some(vm) => open::retain_named(&catalog, &mut points, vm).await?,
        // Of databases: `tresor catalog restore --list`.
        None => points.retain(|point| !point.vm.is_database()),
    }
    let rows = points.into_iter().map(|point| {
        let marks = list.marks.get(&point.id).copied().unwrap_or_default();
        Row { point, marks }
    });
    let rows: Vec<Row> = rows.collect();
    session
        .output
        .list(
            "point",
            &[
                "point",
                "VM",
                "taken at",
                "consistency",
                "size",
                "stored",
                "warnings",
                "marks",
                "copy of",
            ],
            &rows,
            |row| {
                let point = &row.point;
                vec![
                    point.id.to_string(),
                    point.vm_name.clone(),
                    moment(point.taken_at),
                    point.consistency.to_string(),
                    bytes(point.size),
                    bytes(point.stored),
                    point.warnings.to_string(),
                    marks(&row.marks),
                    point
                        .copied_from
                        .map_or_else(String::new, |from| from.point.to_string()),
                ]
            },
            "there are no recovery points",
        )
        .map_err(print_problem)
}

pub(super) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// What is marked of a point, in words.
fn marks(marks: &PointMarks) -> String {
    let mut words = Vec::new();
    if marks.pinned {
        words.push("pinned".to_owned());
    }
    let immutable = marks.immutable_until.filter(|at| *at > Timestamp::now());
    words.extend(immutable.map(|at| format!("immutable until {}", moment(at))));
    if let Some(deletion) = marks.deleted {
        words.push(format!("deleted, kept until {}", moment(deletion.until)));
    }
    if marks.ended {
        words.push("ended: goes when nothing holds it".to_owned());
    }
    if marks.unclear {
        words.push("marks cannot be read".to_owned());
    }
    words.join(", ")
}

async fn show(
    session: &Session,
    selector: &PointSelector,
    access: &VaultAccess,
) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let vault = open::vault(&catalog, access).await?;
    let point = open::point(&catalog, &vault, selector).await?;
    session
        .output
        .result("point", &point, || text(&point))
        .map_err(print_problem)
}

fn text(point: &RecoveryPoint) -> String {
    let consistency = &point.consistency;
    let mut text = format!(
        "Recovery point {} of {} ({})\n  taken at {}, by job {}\n  {}: {}\n",
        point.id,
        point.vm_name,
        point.vm,
        point.taken_at,
        point.job,
        consistency.achieved,
        consistency.proof,
    );
    if let Some(from) = point.copied_from {
        text.push_str(&format!(
            "  a copy, made at {}, of recovery point {} in vault {}\n",
            from.at, from.point, from.vault
        ));
    }
    if let Some(frozen) = consistency.frozen_us {
        text.push_str(&format!("  guest held for {}\n", micros(frozen)));
    }
    for attempt in &consistency.attempts {
        if let Some(failure) = &attempt.failure {
            text.push_str(&format!("  tried in vain: {failure}\n"));
        }
    }
    let machine = &point.machine;
    text.push_str(&format!(
        "  machine: {}, {} CPUs, {}\n",
        machine.machine,
        machine.cpus,
        bytes(machine.memory)
    ));
    for warning in &point.warnings {
        text.push_str(&format!("  warning: {warning}\n"));
    }
    text.push_str(&disks(point));
    text
}

fn disks(point: &RecoveryPoint) -> String {
    let mut table = plain_table(&[
        "disk",
        "size",
        "how it was read",
        "changed",
        "read",
        "new",
        "stored",
    ]);
    for disk in &point.disks {
        let how = match &disk.read_mode {
            ReadMode::Incremental { bitmap } => format!("changes in {bitmap}"),
            ReadMode::Full { reason } => format!("all data: {reason}"),
        };
        table.add_row([
            disk.stream.name.to_string(),
            bytes(disk.stream.size),
            how,
            bytes(disk.stats.changed),
            bytes(disk.stats.read),
            bytes(disk.stats.new),
            bytes(disk.stats.stored),
        ]);
    }
    table.to_string()
}
