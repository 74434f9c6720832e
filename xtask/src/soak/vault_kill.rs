//! `soak vault-kill`: writers and collectors of a vault killed at random moments, on a directory and on S3. The runs
//! are those of the test `vault_kill` of `tresor-backend-object`, in large numbers.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{Options, report};
use crate::{
    process::{succeeds, tool},
    workspace,
};

/// What the test counted on one kind of storage.
#[derive(Debug, Deserialize)]
struct Figures {
    kills: u64,
    acknowledged: u64,
    committed_unheard: u64,
    open_sessions: u64,
    resumed_bytes: u64,
    restored: u64,
    lost_sessions: u64,
    freed_packs: u64,
}

pub(super) async fn run(options: &Options) -> Result<()> {
    crate::setup::run(true).await?;
    let dir = tempfile::tempdir()?;
    let figures = dir.path().join("figures.json");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut test = tool(cargo);
    test.current_dir(workspace::root()?)
        .args(["test", "--quiet", "--package", "tresor-backend-object"])
        .args(["--test", "vault_kill", "nothing_is_lost_by_kills"])
        .env("TRESOR_KILL_RUNS", options.runs.to_string())
        .env("TRESOR_KILL_SEED", options.seed.to_string())
        .env("TRESOR_KILL_FIGURES", &figures);
    if !succeeds(&mut test)? {
        bail!("something was lost: the test says what, and its seed");
    }
    let text = std::fs::read(&figures).context("the test left no figures")?;
    let rows: BTreeMap<String, Figures> = serde_json::from_slice(&text)?;
    report::publish(options, &page(options, &rows))
}

fn page(options: &Options, rows: &BTreeMap<String, Figures>) -> String {
    let Options { runs, seed, .. } = options;
    let mut text = format!(
        "# Soak: vault-kill, {}\n\n`cargo xtask soak vault-kill --runs {runs} --seed {seed}`\n\n\
         Each run starts a process that writes a vault (8 MiB disk, a quarter of it changed from one\n\
         session to the next, packs of 256 KiB) and one that expires all points but two and collects,\n\
         over and over; it takes sessions older than 60 ms for dead (600 ms on S3). Each is killed by SIGKILL\n\
         up to 0.6 s later (6 s). Then every point whose commit was acknowledged and that was not expired is there,\n\
         every point that is there restores byte-equal, all objects verify, no pack is marked as damaged,\n\
         and the next writer goes on without sending again what is known. S3 is moto, over HTTP.\n\n\
         | storage | kills of both | points acknowledged | committed, killed before it could say so | \
         sessions left open, most | sessions taken for dead | packs freed | points compared | \
         not sent again after a kill, KiB |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        report::today()
    );
    for (store, row) in rows {
        // Writing to a string cannot fail.
        writeln!(
            text,
            "| {store} | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.kills,
            row.acknowledged,
            row.committed_unheard,
            row.open_sessions,
            row.lost_sessions,
            row.freed_packs,
            row.restored,
            row.resumed_bytes >> 10
        )
        .ok();
    }
    text.push_str("\n## Failures\n\nNone: the run ends at the first one.\n");
    text
}
