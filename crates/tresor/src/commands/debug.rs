//! `tresor debug …`: what the tests of this program need to know of it.

use tresor_problem::Problem;
use tresor_workflows::backup;

use super::session::{Session, print_problem};
use crate::args::{CutOffJob, DebugCommand};

pub(super) fn run(command: &DebugCommand, session: &Session) -> Result<(), Problem> {
    let DebugCommand::KillPoints { job } = command;
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
