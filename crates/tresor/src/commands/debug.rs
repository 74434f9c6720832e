//! `tresor debug …`: what the tests and the packages of this program need to know of it.

use std::path::Path;

use clap::CommandFactory as _;
use tresor_problem::Problem;
use tresor_workflows::backup;

use super::session::{Session, print_problem};
use crate::args::{Cli, CutOffJob, DebugCommand};

pub(super) fn run(command: &DebugCommand, session: &Session) -> Result<(), Problem> {
    match command {
        DebugCommand::Manuals { dir } => manuals(dir),
        DebugCommand::KillPoints { job } => kill_points(*job, session),
    }
}

/// A page for each command that the help shows.
fn manuals(dir: &Path) -> Result<(), Problem> {
    clap_mangen::generate_to(Cli::command(), dir).map_err(print_problem)
}

fn kill_points(job: CutOffJob, session: &Session) -> Result<(), Problem> {
    let points = match job {
        CutOffJob::Backup => backup::kill_points(),
    };
    session
        .output
        .list(
            "kill_point",
            &["sub-task", "name", "moment"],
            &points,
            |point| {
                vec![
                    point.sub_task.to_string(),
                    point.name.clone(),
                    point.moment.to_string(),
                ]
            },
            "the job has no sub-task",
        )
        .map_err(print_problem)
}
