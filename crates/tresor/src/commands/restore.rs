//! `tresor restore`

use serde_json::json;
use tresor_host::{OtherVaults, absolute, no_vms};
use tresor_model::{JobId, JobKind};
use tresor_problem::Problem;
use tresor_transfer::restore::ImageFormat;
use tresor_workflows::restore::{self, RestoreContext, RestoreOrder};

use super::{
    asked, open,
    session::{Session, print_problem},
};
use crate::{
    args::{self, RestoreArgs},
    output::{bytes, note, note_around, plain_table},
};

pub(super) async fn run(args: RestoreArgs, session: &Session) -> Result<(), Problem> {
    if args.queue || session.is_remote()? {
        return asked::restore(session, &args).await;
    }
    let catalog = session.catalog().await?;
    let place = open::find_vault(&catalog, args.access.vault.as_deref(), None).await?;
    let vault = open::open_vault(&place, &args.access).await?;
    let others = OtherVaults::known(&catalog, &vault, note).await?;
    let point = open::point(&catalog, &vault, &args.point).await?;
    if point.vm.is_database() {
        return Err(no_vms(&point));
    }
    let name = place.name.clone();
    let name = name.unwrap_or_else(|| place.location.to_string());
    let mut order = RestoreOrder::new(&name, (point.id, &point.vm_name), absolute(&args.to));
    order.only = args.disk;
    order.format = args.format.map(|format| match format {
        args::ImageFormat::Raw => ImageFormat::Raw,
        args::ImageFormat::Qcow2 => ImageFormat::Qcow2,
    });
    order.overwrite = args.overwrite;
    let copies = others.copies(vault.id(), &point);
    let vault = vault.with_copies(copies);
    let runner = session.runner(&catalog);
    let lock = order.lock();
    runner.end_abandoned(JobKind::Restore, Some(&lock)).await?;
    let plan = restore::plan(JobId::generate(), &order);
    let mut ctx = RestoreContext::new(vault.clone(), point, order.clone());
    runner.run(plan, &mut ctx).await?;

    let around = vault.read_around();
    note_around(&around);
    let result = json!({
        "point": order.point, "to": order.to, "files": ctx.restored, "read_around": around,
    });
    session
        .output
        .result("restore", &result, || text(&order, &ctx))
        .map_err(print_problem)
}

fn text(order: &RestoreOrder, ctx: &RestoreContext) -> String {
    let mut table = plain_table(&["restored", "size", "written", "file"]);
    for file in &ctx.restored {
        table.add_row([
            file.name.to_string(),
            bytes(file.size),
            bytes(file.written),
            file.path.display().to_string(),
        ]);
    }
    let boot = order.to.join("boot.sh");
    let how = if boot.exists() {
        format!("Boot it with {}", boot.display())
    } else {
        format!(
            "The machine definition is in {}",
            order.to.join("machine.json").display()
        )
    };
    format!(
        "Recovery point {} of {}\n{table}\n{how}",
        order.point, order.vm_name
    )
}
