//! A job, followed to its end.

use std::time::Duration;

use tresor_api_types::{JobDetail, JobNews};
use tresor_model::JobId;
use tresor_problem::Problem;

use crate::{Client, Events, News};

/// The job itself is looked at so often whatever events say: one may have happened before the service began to
/// look for us.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Client {
    /// Waits for the end of a job; `told` hears each time how far it is.
    ///
    /// # Errors
    /// `JobNotFound`, and whatever keeps the service from answering. The job goes on all the same.
    pub async fn follow(
        &self,
        job: JobId,
        mut told: impl FnMut(&JobNews),
    ) -> Result<JobDetail, Problem> {
        let mut events = self.events();
        loop {
            events.open().await?;
            let detail = self.job(job).await?;
            if detail.job.state.is_final() {
                return Ok(detail);
            }
            told(&news_of(&detail));
            // A final state is read anew: the event does not have the whole story.
            let listened = listen(&mut events, job, &mut told);
            if let Ok(ended) = tokio::time::timeout(LOOK_EVERY, listened).await {
                ended?;
            }
        }
    }
}

/// Until the job has ended, or must be looked at anew.
async fn listen(
    events: &mut Events,
    job: JobId,
    told: &mut impl FnMut(&JobNews),
) -> Result<(), Problem> {
    loop {
        match events.next().await? {
            News::Job(news) if news.job.id == job => {
                if news.job.state.is_final() {
                    return Ok(());
                }
                told(&news);
            }
            News::Reset => return Ok(()),
            _ => {}
        }
    }
}

/// The same as an event says it.
fn news_of(detail: &JobDetail) -> JobNews {
    use tresor_model::SubTaskState::{Started, UndoStarted};
    let mut tasks = detail.sub_tasks.iter().enumerate();
    let current = tasks.rfind(|(_, task)| matches!(task.state, Started | UndoStarted));
    JobNews {
        job: detail.job.clone(),
        sub_task: current.map(|(index, task)| tresor_api_types::SubTaskNews {
            index,
            name: task.name.clone(),
            state: task.state,
            started_at: task.started_at,
        }),
    }
}
