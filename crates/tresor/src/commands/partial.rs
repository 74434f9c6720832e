//! `tresor verify --sample`, `tresor verify --since-last`, and what follows a backup.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tresor_host::{VaultPlace, history, mark_part, note_learnt};
use tresor_model::{JobId, JobKind, VerifyShare};
use tresor_problem::Problem;
use tresor_vault::{Choice, Coverage};
use tresor_workflows::{
    partial::{self, PartialContext},
    vault_problem,
    verify::VerifyWhat,
};

use super::{
    open,
    session::{Session, print_problem},
    verify::{note_kept, order},
};
use crate::{
    args::KeyArgs,
    output::{bytes, note},
};

/// Verifies a part of a vault and prints what came of it.
pub(super) async fn run(
    session: &Session,
    place: &VaultPlace,
    key: &KeyArgs,
    choice: Choice,
) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let storage = open::storage(place, key).await?;
    let location = place.location.to_string();
    if let Some(error) = &storage.unopened {
        return Err(vault_problem(error, &location));
    }
    let history = history(&catalog, storage.id).await?;
    let runner = session.runner(&catalog);
    runner.end_abandoned(JobKind::Verify, None).await?;
    let what = match choice {
        Choice::Share(share) => VerifyWhat::Share { share },
        Choice::SinceLast => VerifyWhat::SinceLast,
    };
    let plan = partial::plan(JobId::generate(), &order(place, what));
    let (backend, vault) = (storage.backend.clone(), storage.vault.clone());
    let mut ctx = PartialContext::new(backend, vault, choice, history);
    let verified = runner.run(plan, &mut ctx).await;
    let now = Timestamp::now();
    // Also what a run has read that was interrupted, or found damage elsewhere.
    note_kept(note_learnt(&catalog, storage.id, now, &ctx.learnt()).await);
    tell(&ctx);
    if let Err(problem) = mark_part(&storage, &ctx).await {
        note(&format!(
            "warning: what is damaged could not be marked in the vault: {problem}"
        ));
    }
    verified?;
    print(session, &ctx, choice, now)
}

/// What the vault's setting asks for after a backup. The recovery point is there whatever comes of
/// it: damage is told, and does not fail the backup.
pub(super) async fn after_backup(
    session: &Session,
    place: &VaultPlace,
    key: &KeyArgs,
    share: VerifyShare,
) {
    if let Err(problem) = run(session, place, key, Choice::Share(share)).await {
        let mut text = format!("warning: verifying {share} of the vault: {problem}");
        for remedy in &problem.remedy {
            text.push_str(&format!("\n  - {remedy}"));
        }
        note(&text);
    }
}

fn tell(ctx: &PartialContext) {
    for error in &ctx.keys {
        note(&format!("keys: {error}"));
    }
    match ctx.report.marked.len() {
        0 => {}
        many => note(&format!(
            "{many} packs are marked as damaged: they are not read again (`tresor check` says what they affect)"
        )),
    }
    for damaged in &ctx.report.damaged {
        note(&format!(
            "{} is damaged: {}",
            damaged.object, damaged.reason
        ));
    }
    for (point, report) in &ctx.points {
        for damage in &report.damaged {
            note(&format!(
                "recovery point {point}: chunk {} of {} at byte {}: {} ({})",
                damage.chunk, damage.stream, damage.offset, damage.object, damage.reason
            ));
        }
    }
}

fn print(
    session: &Session,
    ctx: &PartialContext,
    choice: Choice,
    now: Timestamp,
) -> Result<(), Problem> {
    let coverage = ctx.coverage(now);
    let waited = coverage.oldest.map(|oldest| now.duration_since(oldest));
    let report = &ctx.report;
    let points: Vec<_> = ctx.points.iter().map(|(point, _)| point).collect();
    let result = json!({
        "sample": match choice {
            Choice::Share(share) => Some(share.to_string()),
            Choice::SinceLast => None,
        },
        "objects": report.objects, "bytes": report.bytes, "points": points,
        "vault_bytes": coverage.bytes, "verified_bytes": coverage.verified,
        "oldest_unverified_since": coverage.oldest,
        "oldest_unverified_seconds": waited.map(|waited| waited.as_secs()),
    });
    session
        .output
        .result("verify", &result, || {
            text(ctx, &coverage, waited.unwrap_or_default())
        })
        .map_err(print_problem)
}

fn text(ctx: &PartialContext, coverage: &Coverage, waited: SignedDuration) -> String {
    let report = &ctx.report;
    let mut text = format!(
        "{} objects read back, {} of {} ({}): no damage",
        report.objects,
        bytes(report.bytes),
        bytes(coverage.bytes),
        percent(report.bytes, coverage.bytes),
    );
    if !ctx.points.is_empty() {
        let points = ctx.points.len();
        text.push_str(&format!(
            "\n{points} new recovery points: all that they refer to is there"
        ));
    }
    text.push_str(&format!(
        "\n{} of the vault has been verified; what waits longest has not been for {}",
        percent(coverage.verified, coverage.bytes),
        days(waited),
    ));
    text
}

fn percent(part: u64, whole: u64) -> String {
    let tenths = u128::from(part) * 1000 / u128::from(whole.max(1));
    format!("{}.{} %", tenths / 10, tenths % 10)
}

fn days(duration: SignedDuration) -> String {
    match duration.as_hours() {
        0 => format!("{} minutes", duration.as_mins()),
        hours @ 1..48 => format!("{hours} hours"),
        hours => format!("{} days", hours / 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_ages_are_short() {
        assert_eq!(percent(0, 0), "0.0 %");
        assert_eq!(percent(1, 3), "33.3 %");
        assert_eq!(percent(u64::MAX, u64::MAX), "100.0 %");
        assert_eq!(days(SignedDuration::from_secs(59)), "0 minutes");
        assert_eq!(days(SignedDuration::from_hours(47)), "47 hours");
        assert_eq!(days(SignedDuration::from_hours(49)), "2 days");
    }
}
