//! Backups cut off at every moment by every fault, and what that leaves.
//!
//! The schedule is made from the seed and the program's own kill points
//! (`tresor_testkit::interrupts`). A run that finds something wrong is noted with what reproduces
//! it; its lab is thrown away and the soak goes on with a new one.

mod report;

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use tresor_jobs::KillPoint;
use tresor_testkit::{
    Guest,
    interrupts::{Lab, Report, Turn, schedule},
};

use super::{
    Options,
    lab::build,
    report::{Machine, publish},
};
use crate::term::say;

/// A lab is used so often: its vault grows, and each run verifies all of it.
const RUNS_PER_LAB: u32 = 12;
/// A run, or the making of a lab, that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(900);

/// What the runs came to.
#[derive(Debug)]
struct Results {
    points: Vec<KillPoint>,
    runs: Vec<(Turn, Report)>,
    failures: Vec<String>,
}

/// Runs the soak, prints and leaves its report.
pub(super) async fn run(options: &Options) -> Result<()> {
    crate::setup::run(false).await?;
    let program = build(&["kill-points"]).await?;
    let points = Lab::kill_points(&program).await?;
    let runs = usize::try_from(options.runs)?;
    let only: Option<usize> = options.only.as_deref().map(str::parse).transpose()?;
    let turns = schedule(points.len(), runs, options.seed);
    let machine = Machine::observe(&Guest::builder().start().await?);
    let mut results = Results {
        points,
        runs: Vec::new(),
        failures: Vec::new(),
    };
    let mut lab = None;
    for (number, turn) in turns.iter().enumerate() {
        if only.is_some_and(|only| only != number) {
            continue;
        }
        let point = &results.points[turn.point];
        let what = format!(
            "run {number}: {} at {} of \"{}\"",
            turn.fault, point.moment, point.name
        );
        match one(&program, &mut lab, point, *turn).await {
            Ok(report) => {
                say(&format!("{what}: {}", report.outcome));
                results.runs.push((*turn, report));
            }
            Err(error) => {
                lab = None;
                let text = format!("{what}: {error:#}");
                say(&text);
                results.failures.push(text);
            }
        }
    }
    let failures = results.failures.len();
    let text = report::text(options, &machine, &results);
    publish(options, &text)?;
    if failures > 0 {
        bail!("{failures} failures: see the report");
    }
    Ok(())
}

/// One run, in the lab that is there or in a new one.
async fn one(
    program: &Path,
    lab: &mut Option<Lab>,
    point: &KillPoint,
    turn: Turn,
) -> Result<Report> {
    lab.take_if(|lab| lab.runs() >= RUNS_PER_LAB);
    let run = async {
        let lab = match lab {
            Some(lab) => lab,
            None => lab.insert(Lab::new(program).await.context("making a lab")?),
        };
        lab.interrupt(point, turn).await
    };
    tokio::time::timeout(LIMIT, run)
        .await
        .context("the run hangs")?
}
