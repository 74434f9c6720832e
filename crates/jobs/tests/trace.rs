//! A job's lines in the log bear its trace's and span's ids, whatever the filter.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of test functions"
)]

use std::{
    io,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tresor_jobs::{
    Engine, JobLog, JobPlan, MemoryJobLog, RecoveryPolicy, Scope, Silent, SubTask, span_id,
    trace_id,
};
use tresor_model::{JobId, JobKind};
use tresor_problem::{Kind, Problem};

/// Says something, and fails.
struct Says;

#[async_trait]
impl SubTask<()> for Says {
    fn name(&self) -> &'static str {
        "Say"
    }
    async fn run(&self, (): &mut (), _: &Scope) -> Result<Value, Problem> {
        tracing::warn!("from within");
        let what = "x".to_owned();
        Err(Kind::Internal { what }.into())
    }
    async fn undo(&self, (): &mut (), _: Option<&Value>) -> Result<(), Problem> {
        tracing::warn!("from the undo");
        Ok(())
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a job logs at this level, line by line.
async fn logged(filter: &str, job: JobId) -> Vec<Value> {
    let lines = Lines::default();
    let writes = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_current_span(false)
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(move || writes.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let engine = Engine::new(Arc::new(MemoryJobLog::default()) as Arc<dyn JobLog>);
    let plan = JobPlan {
        id: job,
        kind: JobKind::Backup,
        subject: "web01".to_owned(),
        lock: None,
        params: Value::Null,
        recovery: RecoveryPolicy::Unwind,
        sub_tasks: vec![Box::new(Says) as Box<dyn SubTask<()>>],
    };
    let never = CancellationToken::new();
    let ran = engine.run(plan, &mut (), &never, Arc::new(Silent)).await;
    ran.unwrap();
    let bytes = lines.0.lock().unwrap().clone();
    let text = String::from_utf8(bytes).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn lines_of_a_job_bear_its_ids() {
    let job = JobId::generate();
    let lines = logged("warn", job).await;
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (line, said) in lines.iter().zip(["from within", "from the undo"]) {
        assert_eq!(line["fields"]["message"], said);
        let (trace, span) = (&line["spans"][0], &line["spans"][1]);
        assert_eq!(
            (&trace["job"], &trace["subject"]),
            (&Value::from(job.to_string()), &Value::from("web01"))
        );
        assert_eq!(trace["trace_id"], trace_id(job));
        assert_eq!(span["span_id"], span_id(job, Some(0)));
        assert_eq!(span["parent_span_id"], trace["span_id"]);
        assert_eq!(span["sub_task"], "Say");
    }
}

#[tokio::test]
async fn beginnings_and_ends_are_told_with_how_long_they_took() {
    let lines = logged("info", JobId::generate()).await;
    let said = |message: &str| {
        let found = lines
            .iter()
            .find(|line| line["fields"]["message"] == message);
        found.unwrap_or_else(|| panic!("{message}: {lines:?}"))
    };
    let sub_task = &said("a sub-task ended")["fields"];
    assert_eq!(
        (&sub_task["sub_task"], &sub_task["code"]),
        (&Value::from("Say"), &Value::from("Internal"))
    );
    assert!(sub_task["took_ms"].is_u64());
    assert!(said("the job ended")["fields"]["took_ms"].is_u64());
    assert!(lines.iter().all(|line| line["spans"][0]["job"].is_string()));
}
