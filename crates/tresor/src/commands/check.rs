//! `tresor check`

use serde_json::json;
use tresor_jobs::NewJob;
use tresor_model::{JobId, JobKind};
use tresor_problem::Problem;
use tresor_workflows::check::{self, CheckContext, Finding};

use super::{
    open,
    repair::affected_table,
    session::{Session, print_problem},
};
use crate::{
    args::CheckArgs,
    output::{bytes, note},
};

pub(super) async fn run(args: CheckArgs, session: &Session) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let place = open::find_vault(&catalog, args.vault.as_deref(), None).await?;
    let storage = open::storage(&place, &args.key).await?;
    let location = place.location.to_string();
    let make = |job: JobId| {
        let (backend, vault) = (storage.backend.clone(), storage.vault.clone());
        let mut context = CheckContext::new(backend, vault, args.deep);
        if let Some(error) = &storage.unopened {
            context.does_not_open(error);
        }
        (check::plan(job, &location, args.deep), context)
    };
    let runner = session.runner(&catalog);
    let again = |job: &NewJob| Ok(make(job.id));
    runner.recover(JobKind::Check, None, again).await?;
    let (plan, mut ctx) = make(JobId::generate());
    runner.run(plan, &mut ctx).await?;
    print(session, &ctx, &location)?;
    match ctx.findings.first() {
        Some(finding) => Err(finding.problem.clone()),
        None => Ok(()),
    }
}

fn print(session: &Session, ctx: &CheckContext, location: &str) -> Result<(), Problem> {
    let output = &session.output;
    let rows: Vec<_> = ctx.findings.iter().map(row).collect();
    if !rows.is_empty() {
        let header = ["code", "what", "recovery point"];
        let printed = output.list("finding", &header, &rows, cells, "");
        printed.map_err(print_problem)?;
    }
    let report = &ctx.report;
    for foreign in &report.foreign {
        note(&format!("{foreign} is no object of a vault"));
    }
    let affected = ctx.affected.as_deref();
    let result = json!({
        "objects": report.objects, "bytes": report.bytes, "findings": ctx.findings.len(),
        "affected": affected, "open_sessions": report.open_sessions, "foreign": report.foreign,
        "marked": report.marked,
    });
    output
        .result("check", &result, || {
            let mut text = format!(
                "{} objects of {location} were looked at, {} read: {}",
                report.objects,
                bytes(report.bytes),
                match ctx.findings.len() {
                    0 => "nothing is wrong".to_owned(),
                    1 => "one thing is wrong".to_owned(),
                    many => format!("{many} things are wrong"),
                },
            );
            if !report.open_sessions.is_empty() {
                let open = report.open_sessions.len();
                text.push_str(&format!(
                    "\n{open} sessions have not ended: they run, or died"
                ));
            }
            match affected {
                None => {}
                Some([]) => {
                    text.push_str("\nEvery recovery point can be read, as far as manifests tell");
                }
                Some(affected) => {
                    text.push_str(&format!(
                        "\nCannot be read whole:\n{}",
                        affected_table(affected)
                    ));
                }
            }
            text
        })
        .map_err(print_problem)
}

fn row(finding: &Finding) -> serde_json::Value {
    json!({
        "code": finding.problem.code, "cause": finding.problem.cause, "object": finding.object,
        "point": finding.point,
    })
}

fn cells(row: &serde_json::Value) -> Vec<String> {
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    vec![text("code"), text("cause"), text("point")]
}
