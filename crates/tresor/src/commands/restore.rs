//! `tresor restore`

use serde_json::json;
use tresor_host::absolute;
use tresor_jobs::NewJob;
use tresor_model::{JobId, JobKind};
use tresor_problem::Problem;
use tresor_transfer::restore::ImageFormat;
use tresor_workflows::restore::{self, RestoreContext, RestoreRequest};

use super::{
    copies::OtherVaults,
    open,
    session::{Session, print_problem},
};
use crate::{
    args::{self, RestoreArgs},
    output::{bytes, note_around, plain_table},
};

pub(super) async fn run(args: RestoreArgs, session: &Session) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let vault = open::vault(&catalog, &args.access).await?;
    let others = OtherVaults::known(&catalog, &vault).await?;
    let request = RestoreRequest {
        point: open::point(&catalog, &vault, &args.point).await?,
        to: absolute(&args.to),
        only: args.disk,
        format: args.format.map(|format| match format {
            args::ImageFormat::Raw => ImageFormat::Raw,
            args::ImageFormat::Qcow2 => ImageFormat::Qcow2,
        }),
        overwrite: args.overwrite,
    };
    let vault = vault.with_copies(others.copies(vault.id(), &request.point));
    let make = |job: JobId| {
        (
            restore::plan(job, &request),
            RestoreContext::new(vault.clone(), request.clone()),
        )
    };
    let runner = session.runner(&catalog);
    let lock = restore::lock_of(&request);
    let again = |job: &NewJob| Ok(make(job.id));
    runner.recover(JobKind::Restore, Some(&lock), again).await?;
    let (plan, mut ctx) = make(JobId::generate());
    runner.run(plan, &mut ctx).await?;

    let around = vault.read_around();
    note_around(&around);
    let result = json!({
        "point": request.point.id, "to": request.to, "files": ctx.restored, "read_around": around,
    });
    session
        .output
        .result("restore", &result, || text(&request, &ctx))
        .map_err(print_problem)
}

fn text(request: &RestoreRequest, ctx: &RestoreContext) -> String {
    let mut table = plain_table(&["restored", "size", "written", "file"]);
    for file in &ctx.restored {
        table.add_row([
            file.name.to_string(),
            bytes(file.size),
            bytes(file.written),
            file.path.display().to_string(),
        ]);
    }
    let boot = request.to.join("boot.sh");
    let how = if boot.exists() {
        format!("Boot it with {}", boot.display())
    } else {
        format!(
            "The machine definition is in {}",
            request.to.join("machine.json").display()
        )
    };
    format!(
        "Recovery point {} of {}\n{table}\n{how}",
        request.point.id, request.point.vm_name
    )
}
