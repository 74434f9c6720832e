//! "Write machine definition": what boots the restored machine without its original host.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Value, json};
use tresor_jobs::{Scope, SubTask};
use tresor_model::{HypervisorSource, MachineDefinition};
use tresor_problem::{Kind, Problem};

use super::{Replacement, RestoreContext, boot_script, plan_boot, tpm::plan_tpm};

pub(super) struct WriteMachine;

#[async_trait]
impl SubTask<RestoreContext> for WriteMachine {
    fn name(&self) -> &'static str {
        "Write machine definition"
    }

    fn limit(&self) -> Option<Duration> {
        Some(Duration::from_secs(60))
    }

    async fn run(&self, ctx: &mut RestoreContext, scope: &Scope) -> Result<Value, Problem> {
        let to = &ctx.order.to;
        let machine = &ctx.point.machine;
        let failed = |error: io::Error| -> Problem {
            Kind::RestoreTargetFailed {
                path: to.display().to_string(),
                reason: error.to_string(),
            }
            .into()
        };
        let text = serde_json::to_string_pretty(machine).map_err(io::Error::from);
        text.and_then(|text| write_file(&to.join("machine.json"), &text, 0o600))
            .map_err(failed)?;
        let replacements = replacements(ctx);
        if replacements.len()
            < machine
                .disks
                .iter()
                .filter(|d| d.excluded.is_none())
                .count()
        {
            scope.warn("not every disk was restored in its own format: no boot.sh was written");
            return Ok(json!({ "boot": false }));
        }
        let to = fs::canonicalize(to).map_err(failed)?;
        let HypervisorSource::Qemu { command_line, .. } = &machine.source;
        let command_line = plan_boot(command_line, &replacements, &to.join("run"));
        let tpm = plan_tpm(&command_line, &machine.attachments, &to);
        let script = boot_script(&command_line, tpm.as_ref());
        write_file(&to.join("boot.sh"), &script, 0o700).map_err(failed)?;
        Ok(json!({ "boot": true }))
    }
}

/// The restored files that can stand in for the original ones: disks in their own format, and all
/// attachments.
fn replacements(ctx: &RestoreContext) -> Vec<Replacement> {
    let MachineDefinition {
        disks, attachments, ..
    } = &ctx.point.machine;
    let disks = disks.iter().filter_map(|disk| {
        let file = ctx.restored.iter().find(|file| file.name == disk.name)?;
        let same = file.path.extension()?.to_str()? == disk.format;
        same.then_some((disk.path.as_ref()?, &file.path))
    });
    let attachments = attachments.iter().filter_map(|attachment| {
        let file = ctx
            .restored
            .iter()
            .find(|file| file.name == attachment.name)?;
        Some((&attachment.path, &file.path))
    });
    disks
        .chain(attachments)
        .map(|(original, restored)| Replacement {
            original: original.clone(),
            restored: fs::canonicalize(restored).unwrap_or_else(|_| restored.clone()),
        })
        .collect()
}

fn write_file(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
