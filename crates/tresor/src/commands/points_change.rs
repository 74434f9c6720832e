//! `tresor points pin`, `unpin`, `lock`, `delete`, `undelete`.

use jiff::Timestamp;
use serde_json::json;
use tresor_model::PointId;
use tresor_problem::{Kind, Problem};
use tresor_vault::{Held, Vault};
use tresor_workflows::expire::grace;
use tresor_workflows::vault_problem;

use super::{
    hold, open,
    session::{Session, print_problem},
};
use crate::args::{PointSelector, PointsCommand, VaultAccess};

/// What is to be done with a point.
enum Change {
    Pin,
    Unpin,
    Lock(Timestamp),
    Delete { grace: String, even_newest: bool },
    Undelete,
}

pub(super) async fn run(command: PointsCommand, session: &Session) -> Result<(), Problem> {
    let (point, change, access) = match command {
        PointsCommand::Pin { point, access } => (point, Change::Pin, access),
        PointsCommand::Unpin { point, access } => (point, Change::Unpin, access),
        PointsCommand::Lock {
            point,
            duration,
            until,
            access,
        } => (
            point,
            Change::Lock(end(duration.as_deref(), until)?),
            access,
        ),
        PointsCommand::Delete {
            point,
            grace,
            even_newest,
            access,
        } => {
            let change = Change::Delete { grace, even_newest };
            (PointSelector::Id(point), change, access)
        }
        PointsCommand::Undelete { point, access } => {
            (PointSelector::Id(point), Change::Undelete, access)
        }
        // Those only look; `points::run` takes them.
        PointsCommand::List { .. } | PointsCommand::Show { .. } => return Ok(()),
    };
    apply(session, &point, change, &access).await
}

fn end(duration: Option<&str>, until: Option<Timestamp>) -> Result<Timestamp, Problem> {
    match (until, duration) {
        (Some(until), _) => Ok(until),
        (None, duration) => {
            let long = grace(duration.unwrap_or_default())?;
            Ok(Timestamp::now()
                .saturating_add(long)
                .unwrap_or(Timestamp::MAX))
        }
    }
}

async fn apply(
    session: &Session,
    selector: &PointSelector,
    change: Change,
    access: &VaultAccess,
) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let vault = open::vault(&catalog, access).await?;
    let point = match selector {
        PointSelector::Id(id) => *id,
        PointSelector::Latest(_) => open::point(&catalog, &vault, selector).await?.id,
    };
    let (what, changed) = match change {
        Change::Pin => ("pinned", vault.pin(point).await),
        Change::Unpin => ("not pinned any more", vault.unpin(point).await),
        Change::Lock(until) => ("locked", vault.lock_point(point, until).await),
        Change::Undelete => ("back", vault.undelete_point(point).await),
        Change::Delete {
            grace: text,
            even_newest,
        } => {
            if !even_newest {
                refuse_newest(&vault, point).await?;
            }
            let grace = grace(&text)?;
            ("deleted", vault.delete_point(point, grace).await)
        }
    };
    let failed = |error| vault_problem(&error, vault.location());
    changed.map_err(failed)?;
    let marks = vault.marks_of(point).await.map_err(failed)?;
    let held = match what {
        "locked" => hold::hold(session, &vault, Some(point)).await?,
        _ => Held::Nothing,
    };
    let result = json!({ "point": point, "what": what, "marks": marks, "held": held });
    session
        .output
        .result("point_changed", &result, || {
            let mut text = format!("Recovery point {point} is {what}.");
            if let Some(until) = marks.immutable_until.filter(|_| what == "locked") {
                text.push_str(&format!(" It is immutable until {until}."));
                text.push_str(&hold::words(held));
            }
            if let Some(deletion) = marks.deleted {
                let until = deletion.until;
                text.push_str(&format!(
                    " Until {until} it can be brought back for sure: tresor points undelete {point}"
                ));
            }
            text
        })
        .map_err(print_problem)
}

/// The newest point of a VM is what its owner would want first.
async fn refuse_newest(vault: &Vault, point: PointId) -> Result<(), Problem> {
    let points = open::points(vault).await?;
    let Some(found) = points.iter().find(|other| other.id == point) else {
        return Ok(());
    };
    let of_vm = points.iter().filter(|other| other.vm == found.vm);
    let newest = of_vm.max_by_key(|other| other.age());
    if newest.is_some_and(|newest| newest.id == point) {
        let reason =
            "it is the newest of its VM (--even-newest deletes it all the same)".to_owned();
        let point = point.to_string();
        return Err(Kind::PointHeld { point, reason }.into());
    }
    Ok(())
}
