//! A job with its story.

use jiff::Timestamp;
use tresor_api_types::{JobDetail, SubTask, WarningView};
use tresor_jobs::{JobStory, SubTaskView, Warning};
use tresor_problem::{Kind, Problem};

use super::jobs;
use crate::failure::Answer;

/// The story of a job as it is shown.
pub(crate) fn of(story: JobStory) -> Answer<JobDetail> {
    let view = story.view().map_err(|error| {
        let what = format!("The job's story cannot have happened: {error}.");
        Problem::from(Kind::Internal { what })
    })?;
    let created_at = story.header.job.created_at;
    let waited = |begun: Timestamp| begun.duration_since(created_at).as_secs().max(0);
    let warnings = view.warnings.into_iter().map(|recorded| WarningView {
        sub_task: recorded.sub_task,
        at: recorded.at,
        text: recorded.warning.to_string(),
        problem: match recorded.warning {
            Warning::Problem(problem) => Some(problem),
            Warning::Text(_) => None,
        },
    });
    Ok(JobDetail {
        warnings: warnings.collect(),
        job: jobs::view(story.header),
        begun_at: view.begun_at,
        ended_at: view.ended_at,
        queued_s: view.begun_at.map(waited),
        sub_tasks: view.sub_tasks.into_iter().map(sub_task).collect(),
        unwinding: view.unwinding,
        problem: view.cause,
    })
}

fn sub_task(task: SubTaskView) -> SubTask {
    SubTask {
        name: task.name,
        state: task.state,
        limit_ms: task.limit_ms,
        commits: task.commits,
        started_at: task.started_at,
        ended_at: task.ended_at,
        problem: task.problem,
        undo_problem: task.undo_problem,
    }
}
