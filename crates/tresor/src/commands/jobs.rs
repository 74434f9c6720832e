//! `tresor jobs …`

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use tresor_host::internal;
use tresor_jobs::{JobFilter, JobHeader, JobLog as _, JobStory, JobView, Progress};
use tresor_model::{JobId, JobKind, JobState, SubTaskState};
use tresor_problem::Problem;

use super::session::{Session, print_problem, state_name, warning_text};
use crate::{
    args::JobsCommand,
    output::{bytes, note, plain_table},
};

pub(super) async fn run(command: JobsCommand, session: &Session) -> Result<(), Problem> {
    match command {
        JobsCommand::List { limit } => list(session, limit).await,
        JobsCommand::Show { job } => show(session, job).await,
        JobsCommand::Cancel { job } => cancel(session, job).await,
    }
}

async fn list(session: &Session, limit: u32) -> Result<(), Problem> {
    let filter = JobFilter {
        limit: Some(limit),
        ..JobFilter::default()
    };
    let jobs = session
        .catalog()
        .await?
        .list(&filter)
        .await
        .map_err(|e| Problem::from(&e))?;
    let rows: Vec<_> = jobs.into_iter().map(Row::from).collect();
    session
        .output
        .list(
            "job",
            &["job", "kind", "about", "state", "created at"],
            &rows,
            |row| {
                vec![
                    row.job.to_string(),
                    kind_name(row.kind).to_owned(),
                    row.subject.clone(),
                    state_name(row.state).to_owned(),
                    row.created_at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
                ]
            },
            "there are no jobs",
        )
        .map_err(print_problem)
}

/// A job in a list.
#[derive(Serialize)]
struct Row {
    job: JobId,
    kind: JobKind,
    subject: String,
    state: JobState,
    created_at: Timestamp,
    progress: Option<Progress>,
}

impl From<JobHeader> for Row {
    fn from(header: JobHeader) -> Self {
        Self {
            job: header.job.id,
            kind: header.job.kind,
            subject: header.job.subject,
            state: header.state,
            created_at: header.job.created_at,
            progress: header.progress,
        }
    }
}

async fn show(session: &Session, job: JobId) -> Result<(), Problem> {
    let story = session
        .catalog()
        .await?
        .load(job)
        .await
        .map_err(|e| Problem::from(&e))?;
    let view = story.view().map_err(|error| internal(error.to_string()))?;
    let result = json!({
        "job": job, "kind": story.header.job.kind, "subject": story.header.job.subject,
        "state": story.header.state, "created_at": story.header.job.created_at,
        "cancel_requested": story.header.cancel_requested, "progress": story.header.progress,
        "view": view,
    });
    session
        .output
        .result("job", &result, || text(&story, &view))
        .map_err(print_problem)
}

fn text(story: &JobStory, view: &JobView) -> String {
    let job = &story.header.job;
    let mut text = format!(
        "Job {}: {} of {}, {}\n  created at {}\n",
        job.id,
        kind_name(job.kind),
        job.subject,
        state_name(story.header.state),
        job.created_at,
    );
    if let Some(progress) = &story.header.progress
        && !story.header.state.is_final()
    {
        let total = progress
            .total
            .map_or(String::new(), |total| format!(" of {}", bytes(total)));
        text.push_str(&format!(
            "  {}{total} {}\n",
            bytes(progress.done),
            progress.message
        ));
    }
    let mut table = plain_table(&["sub-task", "state", "took", "what went wrong"]);
    for task in &view.sub_tasks {
        let took = task.started_at.zip(task.ended_at).map(|(started, ended)| {
            format!("{:.2} s", ended.duration_since(started).as_secs_f64())
        });
        let wrong = task.problem.as_ref().or(task.undo_problem.as_ref());
        table.add_row([
            task.name.clone(),
            task_state_name(task.state).to_owned(),
            took.unwrap_or_default(),
            wrong.map_or(String::new(), |problem| problem.code.clone()),
        ]);
    }
    text.push_str(&table.to_string());
    for warning in &view.warnings {
        text.push_str(&format!("\n{}", warning_text(&warning.warning)));
    }
    if let Some(cause) = &view.cause {
        text.push_str(&format!(
            "\n{} [{}]\n  {}\nwhat to do:",
            cause.title, cause.code, cause.cause
        ));
        for (step, remedy) in (1..).zip(&cause.remedy) {
            text.push_str(&format!("\n  {step}. {remedy}"));
        }
    }
    text
}

async fn cancel(session: &Session, job: JobId) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let header = catalog
        .load(job)
        .await
        .map_err(|e| Problem::from(&e))?
        .header;
    if header.state.is_final() {
        note(&format!(
            "job {job} has ended already: {}",
            state_name(header.state)
        ));
        return Ok(());
    }
    catalog
        .request_cancel(job)
        .await
        .map_err(|e| Problem::from(&e))?;
    let result = json!({ "job": job });
    session
        .output
        .result("cancel_requested", &result, || {
            format!("Job {job} was asked to stop; `tresor jobs show {job}` shows when it has.")
        })
        .map_err(print_problem)
}

fn kind_name(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Backup => "backup",
        JobKind::Restore => "restore",
        JobKind::Verify => "verify",
        JobKind::Copy => "copy",
        JobKind::Repair => "repair",
        JobKind::Check => "check",
        JobKind::Expire => "expire",
        JobKind::Collect => "collect",
        JobKind::Catalog => "catalog",
    }
}

fn task_state_name(state: SubTaskState) -> &'static str {
    match state {
        SubTaskState::Pending => "pending",
        SubTaskState::Started => "in progress",
        SubTaskState::Succeeded => "done",
        SubTaskState::Failed => "failed",
        SubTaskState::UndoStarted => "being undone",
        SubTaskState::Undone => "undone",
        SubTaskState::UndoFailed => "could not be undone",
    }
}
