//! `tresor verify`

use serde_json::json;
use tresor_host::{VaultPlace, WholeVault, absolute, mark_points};
use tresor_model::{JobId, JobKind};
use tresor_problem::Problem;
use tresor_vault::Choice;
use tresor_workflows::verify::{self, VerifyContext, VerifyOrder, VerifyWhat};

use super::{
    asked, open, partial,
    session::{Session, print_problem},
};
use crate::{
    args::VerifyArgs,
    output::{bytes, note, note_around},
};

pub(super) async fn run(args: VerifyArgs, session: &Session) -> Result<(), Problem> {
    if args.queue || session.is_remote()? {
        return asked::verify(session, &args).await;
    }
    let catalog = session.catalog().await?;
    let place = open::find_vault(&catalog, args.access.vault.as_deref(), None).await?;
    let choice = args.sample.map(Choice::Share);
    if let Some(choice) = choice.or(args.since_last.then_some(Choice::SinceLast)) {
        return partial::run(session, &place, &args.access.key, choice).await;
    }
    let vault = open::open_vault(&place, &args.access).await?;
    let list = open::list(&vault).await?;
    let what = match &args.point {
        Some(selector) => VerifyWhat::Point {
            point: open::point(&catalog, &vault, selector).await?.id,
        },
        None => VerifyWhat::All,
    };
    let whole = match what {
        VerifyWhat::All => Some(WholeVault::before(&place, &list).await?),
        _ => None,
    };
    let points = what.points(&list)?;
    let runner = session.runner(&catalog);
    runner.end_abandoned(JobKind::Verify, None).await?;
    let plan = verify::plan(JobId::generate(), &order(&place, what));
    let mut ctx = VerifyContext::new(vault.clone(), points.clone());
    let cache = absolute(&session.state()?.index_cache());
    if let Err(error) = vault.watch_verified(&cache).await {
        tracing::warn!(%error, "the next backup looks again at what is verified now");
    }
    let verified = runner.run(plan, &mut ctx).await;
    let newly_known = vault.keep_verified();
    for error in &ctx.keys {
        note(&format!("keys: {error}"));
    }
    for (point, report) in &ctx.reports {
        for damage in &report.damaged {
            note(&format!(
                "recovery point {point}: chunk {} of {} at byte {}: {} ({})",
                damage.chunk, damage.stream, damage.offset, damage.object, damage.reason
            ));
        }
    }
    // A vault that cannot be written to now is told by the next verification.
    if let Err(problem) = mark_points(&vault, &ctx).await {
        note(&format!(
            "warning: what is damaged could not be marked in the vault: {problem}"
        ));
    }
    if let Some(whole) = whole {
        note_kept(whole.note(&catalog, &vault, &ctx).await);
    }
    let around = vault.read_around();
    note_around(&around);
    verified?;
    let read: u64 = ctx.reports.iter().map(|(_, report)| report.bytes).sum();
    let result = json!({
        "points": points, "bytes": read, "read_around": around, "newly_known": newly_known,
    });
    session
        .output
        .result("verify", &result, || {
            format!(
                "{} recovery points verified: {} read, {}",
                points.len(),
                bytes(read),
                match around.len() {
                    0 => "no damage".to_owned(),
                    many => format!("nothing lost; {many} damaged objects are superseded"),
                }
            )
        })
        .map_err(print_problem)
}

/// What is asked for of a vault, by its name where it has one here.
pub(super) fn order(place: &VaultPlace, what: VerifyWhat) -> VerifyOrder {
    let location = place.location.to_string();
    VerifyOrder::new(place.name.as_deref().unwrap_or(&location), what)
}

/// Losing what was noted costs reading again.
pub(super) fn note_kept(kept: Result<(), Problem>) {
    if let Err(problem) = kept {
        note(&format!(
            "warning: what was verified could not be noted, and will be read again: {problem}"
        ));
    }
}
