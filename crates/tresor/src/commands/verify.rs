//! `tresor verify`

use serde_json::json;
use tresor_jobs::NewJob;
use tresor_model::{JobId, JobKind};
use tresor_problem::Problem;
use tresor_workflows::verify::{self, VerifyContext};

use super::{
    open,
    session::{Session, print_problem},
};
use crate::{
    args::VerifyArgs,
    output::{bytes, note},
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
    let verified = runner.run(plan, &mut ctx).await;
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
    verified?;
    let read: u64 = ctx.reports.iter().map(|(_, report)| report.bytes).sum();
    let result = json!({ "points": points, "bytes": read });
    session
        .output
        .result("verify", &result, || {
            format!(
                "{} recovery points verified: {} read, no damage",
                points.len(),
                bytes(read)
            )
        })
        .map_err(print_problem)
}
