//! `tresor verify`

use serde_json::json;
use tresor_jobs::NewJob;
use tresor_model::{JobId, JobKind};
use tresor_problem::Problem;
use tresor_vault::Vault;
use tresor_workflows::verify::{self, VerifyContext};

use super::{
    open,
    session::{Session, print_problem},
};
use crate::{
    args::VerifyArgs,
    output::{bytes, note, note_around},
};

pub(super) async fn run(args: VerifyArgs, session: &Session) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let vault = open::vault(&catalog, &args.access).await?;
    let points = match &args.point {
        Some(selector) => vec![open::point(&catalog, &vault, selector).await?.id],
        None => open::points(&vault)
            .await?
            .into_iter()
            .map(|point| point.id)
            .collect(),
    };
    let make = |job: JobId| {
        let plan = verify::plan(job, &points, vault.location());
        (plan, VerifyContext::new(vault.clone(), points.clone()))
    };
    let runner = session.runner(&catalog);
    let again = |job: &NewJob| make(job.id);
    runner.recover(JobKind::Verify, None, again).await?;
    let (plan, mut ctx) = make(JobId::generate());
    let cache = open::absolute(&session.state()?.index_cache());
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
    mark(&vault, &ctx).await;
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

/// Leaves word of what is damaged, so that the next backup stores it again. A vault that cannot be
/// written to now is told by the next verification.
async fn mark(vault: &Vault, ctx: &VerifyContext) {
    let reports = ctx.reports.iter().map(|(_, report)| report);
    let lost = reports.flat_map(|report| &report.damaged_objects);
    let around = vault.read_around();
    let objects = lost.chain(around.iter().map(|around| &around.object));
    if let Err(error) = vault.mark_damaged(objects.map(String::as_str)).await {
        note(&format!(
            "warning: what is damaged could not be marked in the vault: {error}"
        ));
    }
}
