//! `tresor jobs …`

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tresor_api_client::Client;
use tresor_api_types::{JobDetail, JobQuery, JobView, ProgressView, WarningView};
use tresor_model::{JobId, JobKind, JobState, SubTaskState};
use tresor_problem::Problem;

use super::{
    asked,
    session::{Session, print_problem, state_name, with_remedies},
};
use crate::{
    args::JobsCommand,
    output::{bytes, note, plain_table},
};

/// A page has no more.
const PAGE: u32 = 500;

pub(super) async fn run(command: JobsCommand, session: &Session) -> Result<(), Problem> {
    let client = session.client().await?;
    match command {
        JobsCommand::List { limit } => list(session, &client, limit).await,
        JobsCommand::Show { job } => print(session, &client.job(job).await?),
        JobsCommand::Follow { job } => asked::follow(session, &client, job).await,
        JobsCommand::Cancel { job } => cancel(session, &client, job).await,
    }
}

async fn list(session: &Session, client: &Client, limit: u32) -> Result<(), Problem> {
    let asked = JobQuery {
        limit: Some(limit.clamp(1, PAGE)),
        ..JobQuery::default()
    };
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let jobs = client.jobs(&asked).first(most).await?;
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
    progress: Option<Value>,
}

impl From<JobView> for Row {
    fn from(job: JobView) -> Self {
        Self {
            job: job.id,
            kind: job.kind,
            subject: job.subject,
            state: job.state,
            created_at: job.created_at,
            progress: job.progress.as_ref().map(progress),
        }
    }
}

fn progress(progress: &ProgressView) -> Value {
    json!({
        "sub_task": progress.sub_task, "done": progress.done_bytes,
        "total": progress.total_bytes, "message": progress.message,
    })
}

/// Prints a job with its story.
pub(super) fn print(session: &Session, detail: &JobDetail) -> Result<(), Problem> {
    let printed = session
        .output
        .result("job", &value(detail), || text(detail));
    printed.map_err(print_problem)
}

fn value(detail: &JobDetail) -> Value {
    let job = &detail.job;
    let warnings = detail.warnings.iter().map(|warned| {
        let warning = match &warned.problem {
            Some(problem) => json!({ "problem": problem }),
            None => json!({ "text": warned.text }),
        };
        json!({ "sub_task": warned.sub_task, "at": warned.at, "warning": warning })
    });
    json!({
        "job": job.id, "kind": job.kind, "subject": job.subject, "state": job.state,
        "created_at": job.created_at, "cancel_requested": job.cancel_requested,
        "progress": job.progress.as_ref().map(progress), "queued_s": detail.queued_s,
        "view": {
            "state": job.state, "sub_tasks": detail.sub_tasks,
            "warnings": warnings.collect::<Vec<_>>(), "unwinding": detail.unwinding,
            "cause": detail.problem, "begun_at": detail.begun_at, "ended_at": detail.ended_at,
        },
    })
}

fn text(detail: &JobDetail) -> String {
    let job = &detail.job;
    let mut text = format!(
        "Job {}: {} of {}, {}\n  created at {}\n",
        job.id,
        kind_name(job.kind),
        job.subject,
        state_name(job.state),
        job.created_at,
    );
    if let Some(progress) = &job.progress {
        let total = progress
            .total_bytes
            .map_or(String::new(), |total| format!(" of {}", bytes(total)));
        text.push_str(&format!(
            "  {}{total} {}\n",
            bytes(progress.done_bytes),
            progress.message
        ));
    }
    let mut table = plain_table(&["sub-task", "state", "took", "what went wrong"]);
    for task in &detail.sub_tasks {
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
    for warning in &detail.warnings {
        text.push_str(&format!("\n{}", warning_text(warning)));
    }
    if let Some(cause) = &detail.problem {
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

/// A warning as people read it: a problem with what to do about it.
pub(super) fn warning_text(warning: &WarningView) -> String {
    let text = format!("warning: {}", warning.text);
    match &warning.problem {
        Some(problem) => with_remedies(text, problem),
        None => text,
    }
}

async fn cancel(session: &Session, client: &Client, job: JobId) -> Result<(), Problem> {
    let before = client.job(job).await?.job;
    if before.state.is_final() {
        note(&format!(
            "job {job} has ended already: {}",
            state_name(before.state)
        ));
        return Ok(());
    }
    client.cancel_job(job).await?;
    let result = json!({ "job": job });
    session
        .output
        .result("cancel_requested", &result, || {
            format!("Job {job} was asked to stop; `tresor jobs show {job}` shows when it has.")
        })
        .map_err(print_problem)
}

pub(super) fn kind_name(kind: JobKind) -> &'static str {
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
