//! The whole engine on the real log: a process is killed in the middle of a job, and the next one
//! takes back what it left.

#[path = "support/process.rs"]
mod process;

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use process::{Process, place, say};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tresor_catalog::Catalog;
use tresor_jobs::{
    Engine, JobHeader, JobPlan, LogErrorKind, RecoveryPolicy, Scope, Silent, SubTask,
};
use tresor_model::{JobId, JobKind, JobState, SubTaskState};
use tresor_problem::{Kind, Problem};

/// Makes a file; its undo removes it.
struct MakeFile;
/// Says that it runs, and never ends.
struct Hang;

fn failed(error: &std::io::Error) -> Problem {
    let what = error.to_string();
    Kind::Internal { what }.into()
}

#[async_trait]
impl SubTask<PathBuf> for MakeFile {
    fn name(&self) -> &'static str {
        "Make file"
    }
    async fn run(&self, file: &mut PathBuf, _: &Scope) -> Result<Value, Problem> {
        std::fs::write(&*file, "left behind").map_err(|error| failed(&error))?;
        Ok(json!({"file": file.display().to_string()}))
    }
    async fn undo(&self, file: &mut PathBuf, output: Option<&Value>) -> Result<(), Problem> {
        assert!(output.is_some(), "the output was recorded");
        match std::fs::remove_file(&*file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(&error)),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl SubTask<PathBuf> for Hang {
    fn name(&self) -> &'static str {
        "Hang"
    }
    async fn run(&self, _: &mut PathBuf, scope: &Scope) -> Result<Value, Problem> {
        say(scope.job());
        std::future::pending().await
    }
}

fn plan(id: JobId) -> JobPlan<PathBuf> {
    JobPlan {
        id,
        kind: JobKind::Backup,
        subject: "web01".to_owned(),
        lock: Some("vm:web01".to_owned()),
        params: Value::Null,
        recovery: RecoveryPolicy::Unwind,
        sub_tasks: vec![Box::new(MakeFile), Box::new(Hang)],
    }
}

async fn engine() -> Engine {
    engine_at(place()).await
}

async fn engine_at(path: PathBuf) -> Engine {
    Engine::new(Arc::new(Catalog::open(&path).await.expect("open")))
}

#[tokio::test]
#[ignore = "a child process of a_killed_job_is_taken_back_by_the_next_process"]
async fn child_hangs_in_a_job() {
    let mut file = place().with_extension("file");
    let cancel = CancellationToken::new();
    let plan = plan(JobId::generate());
    let ended = engine()
        .await
        .run(plan, &mut file, &cancel, Arc::new(Silent))
        .await;
    panic!("the job cannot end: {ended:?}");
}

#[tokio::test]
async fn a_killed_job_is_taken_back_by_the_next_process() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("catalog.db");
    let mut file = path.with_extension("file");
    let mut child = Process::start("child_hangs_in_a_job", &path);
    let mut said = child.said();
    let job: JobId = said.next().expect("the job's id").parse().expect("id");

    let engine = engine_at(path).await;
    let cancel = CancellationToken::new();
    // While its process lives the job is left alone, and holds its VM.
    assert!(ids(&engine).await.is_empty());
    let refused = engine
        .recover(plan(job), &mut file, &cancel, Arc::new(Silent))
        .await;
    let error = refused.expect_err("the process lives");
    let lost =
        matches!(&error, tresor_jobs::EngineError::Log(log) if log.kind == LogErrorKind::LeaseLost);
    assert!(lost, "{error:?}");
    let second = plan(JobId::generate());
    let busy = engine
        .run(second, &mut file, &cancel, Arc::new(Silent))
        .await;
    assert!(Problem::from(&busy.expect_err("held")).is("VmBusy"));
    assert!(file.exists());

    child.kill();
    drop(child);
    assert_eq!(ids(&engine).await, [job]);
    let outcome = engine
        .recover(plan(job), &mut file, &cancel, Arc::new(Silent))
        .await
        .expect("recovered");
    assert_eq!(outcome.state(), JobState::Failed);
    assert!(outcome.cause().expect("a cause").is("JobAbandoned"));
    let states: Vec<_> = outcome
        .view
        .sub_tasks
        .iter()
        .map(|task| task.state)
        .collect();
    assert_eq!(states, [SubTaskState::Undone; 2]);
    assert!(!file.exists(), "what the dead process made is taken back");
    assert!(ids(&engine).await.is_empty());
}

async fn ids(engine: &Engine) -> Vec<JobId> {
    let abandoned = engine.abandoned().await.expect("list");
    let id = |header: &JobHeader| header.job.id;
    abandoned.iter().map(id).collect()
}
