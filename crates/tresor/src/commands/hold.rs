//! Having the storage itself hold what is immutable, after whatever made it so.

use jiff::Timestamp;
use tresor_backend::ErrorKind as Storage;
use tresor_model::PointId;
use tresor_problem::{Kind, Problem};
use tresor_vault::{Error, ErrorKind, Held, HeldNote, Vault};
use tresor_workflows::vault_problem;

use super::session::Session;
use crate::output::note;

/// Has the storage hold a point; without one, every point that is immutable.
///
/// # Errors
/// `VaultHoldFailed` when the storage refuses, or accepts and does not do it. What was marked stays
/// marked.
pub(super) async fn hold(
    session: &Session,
    vault: &Vault,
    point: Option<PointId>,
) -> Result<Held, Problem> {
    let path = session.state()?.held_note(vault.id());
    let mut known = HeldNote::load(&path).await;
    let before = known.clone();
    let held = match point {
        Some(point) => vault.hold_point(point, None, &mut known).await,
        None => vault.hold_points(&mut known).await,
    };
    if known != before
        && let Err(error) = known.save(&path).await
    {
        note(&format!(
            "warning: what the storage holds could not be noted: {error}"
        ));
    }
    held.map_err(|error| problem(&error, vault.location()))
}

/// The same for points that were just made. They are there whatever the storage says, so it is a
/// warning. Gives until when all of them are held.
pub(super) async fn hold_new(
    session: &Session,
    vault: &Vault,
    points: impl IntoIterator<Item = PointId>,
) -> Option<Timestamp> {
    let mut held_until = None;
    // Most vaults are not locked: one request tells.
    let days = vault.lock_days().await;
    let days = days.map_err(|error| vault_problem(&error, vault.location()));
    for point in points {
        let held = match &days {
            Ok(0) => return None,
            Ok(_) => hold(session, vault, Some(point)).await,
            Err(problem) => Err(problem.clone()),
        };
        match held {
            Ok(Held::ByStore { until, .. }) => {
                held_until = Some(held_until.map_or(until, |other: Timestamp| other.min(until)));
            }
            Ok(Held::NotSupported | Held::Nothing) => return None,
            Err(problem) => {
                note(&format!(
                    "warning: {point} is in the vault, but the storage does not hold it yet: \
                     {problem}. `tresor vault lock` with the same days tries again."
                ));
                return None;
            }
        }
    }
    held_until
}

/// What the storage makes of a mark, behind the sentence that tells of the mark.
pub(super) fn words(held: Held) -> String {
    match held {
        Held::Nothing => String::new(),
        Held::NotSupported => " The storage itself holds nothing: whoever may delete there can \
                               remove it (docs/object-stores.md)."
            .to_owned(),
        Held::ByStore { until, .. } => {
            format!(" The storage itself holds what it needs until {until}.")
        }
    }
}

/// A storage that does not hold, told apart from one that fails.
fn problem(error: &Error, location: &str) -> Problem {
    let ErrorKind::Storage { object, kind } = error.kind() else {
        return vault_problem(error, location);
    };
    match kind {
        Storage::Denied | Storage::Unfit | Storage::Io => {
            let mut reason: &dyn std::error::Error = error;
            while let Some(below) = reason.source() {
                reason = below;
            }
            let kind = Kind::VaultHoldFailed {
                location: location.to_owned(),
                object: object.clone(),
                reason: reason.to_string(),
            };
            Problem::caused_by(kind, error)
        }
        _ => vault_problem(error, location),
    }
}
