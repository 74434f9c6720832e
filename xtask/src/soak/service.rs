//! `soak service`: the service and its hosts killed at random moments of their jobs, lines cut between them; with
//! `--database postgres`, two services on one PostgreSQL. The runs are those of end-to-end tests, in large numbers.

use std::{collections::BTreeMap, fmt::Write as _, fs, time::Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tresor_testkit::Guest;

use super::{
    Options,
    report::{Machine, machine_section, publish_as, today},
};
use crate::{
    process::{succeeds, tool},
    workspace,
};

/// Where the catalog is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Database {
    /// In a file: one service, two hosts with three VMs
    Sqlite,
    /// In a server: two services with a VM each
    Postgres,
}

impl Database {
    fn test(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "remote_hosts::killed::vms_of_two_hosts_are_backed_up_whatever_is_killed_and_cut"
            }
            Self::Postgres => "postgres::killed::two_services_are_killed_in_turn",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "A service and two hosts, each in a network namespace of its own, the hosts without the vault's directory;\n\
                 three guests, due each minute. In rounds of another order each, the service and the hosts are killed by\n\
                 SIGKILL up to 3 s into a backup of theirs, and a line is cut; each is back up to 6 s later."
            }
            Self::Postgres => {
                "Two services on one PostgreSQL, a guest each, due each minute. In rounds of another order each, a service is\n\
                 killed by SIGKILL up to 3 s into a backup of its VM, and started again up to 6 s later."
            }
        }
    }

    fn report(self) -> &'static str {
        match self {
            Self::Sqlite => "service",
            Self::Postgres => "service-postgres",
        }
    }
}

/// What the test counted.
#[derive(Debug, Deserialize)]
struct Figures {
    blows: BTreeMap<String, u64>,
    jobs: BTreeMap<String, u64>,
    causes: BTreeMap<String, u64>,
    points: BTreeMap<String, u64>,
}

pub(super) async fn run(options: &Options) -> Result<()> {
    crate::setup::run(true).await?;
    let machine = Machine::observe(&Guest::builder().start().await?);
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("figures.json");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut test = tool(cargo);
    test.current_dir(workspace::root()?)
        .args(["test", "--quiet", "--package", "tresor", "--test", "e2e"])
        .args(["--", "--exact", options.database.test()])
        .env("TRESOR_KILL_RUNS", options.runs.to_string())
        .env("TRESOR_KILL_SEED", options.seed.to_string())
        .env("TRESOR_KILL_FIGURES", &file);
    let begun = Instant::now();
    if !succeeds(&mut test)? {
        bail!("something was lost, or did not go on: the test says what");
    }
    let minutes = begun.elapsed().as_secs() / 60;
    let text = fs::read(&file).context("the test left no figures")?;
    let figures: Figures = serde_json::from_slice(&text)?;
    let page = page(options, &machine, &figures, minutes);
    publish_as(options, options.database.report(), &page)
}

fn page(options: &Options, machine: &Machine, figures: &Figures, minutes: u64) -> String {
    let Options {
        runs,
        seed,
        database,
        ..
    } = options;
    let which = match database {
        Database::Sqlite => "",
        Database::Postgres => " --database postgres",
    };
    let mut text = format!(
        "# Soak: {}, {}\n\n`cargo xtask soak service --runs {runs} --seed {seed}{which}`: {runs} kills in {minutes} minutes\n\n{}\n\n\
         After each of these every guest writes and syncs. At the end each VM gets one more point; then all that ran has ended, each\n\
         backup that succeeded has its point, each that failed says why and what to do, no point is less consistent than was\n\
         wanted, nothing of Tresor is left in QEMU, no guest met an I/O error, and `check` and `verify` find nothing.\n\n",
        database.report(),
        today(),
        database.about(),
    );
    for (title, counts) in [
        ("what was done", &figures.blows),
        ("backups that ended so", &figures.jobs),
        ("causes of those that failed", &figures.causes),
        ("recovery points", &figures.points),
    ] {
        // Writing to a string cannot fail.
        writeln!(text, "| {title} | times |\n| --- | ---: |").ok();
        for (name, count) in counts {
            writeln!(text, "| {} | {count} |", name.replace('_', " ")).ok();
        }
        if counts.is_empty() {
            text.push_str("| none | |\n");
        }
        text.push('\n');
    }
    text + "## Failures\n\nNone: the run ends at the first one.\n\n" + &machine_section(machine)
}
