//! What a job does: a table of sub-tasks.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use tresor_model::{JobId, JobKind};
use tresor_problem::{Kind, Problem};

use crate::{EngineError, NewJob, RecoveryPolicy, Scope, SubTaskSpec};

/// One row of a job. `C` is the job's context: services, and what sub-tasks hand to each other in
/// memory. What must outlive the process goes into the output.
#[async_trait]
pub trait SubTask<C: Send>: Send + Sync {
    /// The name users see ("Take snapshot"). Unique within the plan; recorded, so renaming it
    /// makes recorded jobs of older releases unwindable only by the older release.
    fn name(&self) -> &str;

    /// How long the action may run, from its own start. `None`: as long as it takes.
    fn limit(&self) -> Option<Duration> {
        None
    }

    /// How long the undo may run.
    fn undo_limit(&self) -> Duration {
        Duration::from_secs(300)
    }

    /// Whether the job's effect is final once this sub-task has succeeded. From then on the job
    /// is not unwound and not cancelled; the rest of the table is cleaning up, each row of which
    /// is tried, and a failure there is a warning.
    fn commits(&self) -> bool {
        false
    }

    /// What to do when the process died while or after this sub-task ran.
    fn after_crash(&self) -> AfterCrash {
        AfterCrash::Unwind
    }

    /// The action. May be run again after it ran half or whole. Ends soon, with any error, when
    /// `scope.cancel()` is cancelled; is dropped at an await point when it does not.
    ///
    /// # Errors
    /// Why it gave up, as the user shall read it.
    async fn run(&self, ctx: &mut C, scope: &Scope) -> Result<Value, Problem>;

    /// Rebuilds in memory, in a new process, what the recorded action had left there.
    ///
    /// # Errors
    /// Why the job cannot go on; it is unwound then (or, once committed, ends with a warning).
    async fn resume(&self, _ctx: &mut C, _output: &Value) -> Result<(), Problem> {
        Ok(())
    }

    /// For a sub-task that [commits](Self::commits), asked when the action was cut short: did the
    /// commit take place all the same? `Some(output)`, as `run` would have given, when it did.
    ///
    /// # Errors
    /// Why that cannot be found out now.
    async fn settle(&self, _ctx: &mut C) -> Result<Option<Value>, Problem> {
        Ok(None)
    }

    /// Takes the action back. Must be safe when the action never ran, ran half, ran whole, or was
    /// undone before, and in a process that did not run it: `output` is what was recorded, `ctx`
    /// may be empty.
    ///
    /// # Errors
    /// What may be left behind. The other undos run all the same.
    async fn undo(&self, _ctx: &mut C, _output: Option<&Value>) -> Result<(), Problem> {
        Ok(())
    }
}

/// What to do with a sub-task whose process died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterCrash {
    /// Its state died with the process: unwind the job.
    Unwind,
    /// If it had succeeded, [`SubTask::resume`]; if not, [`SubTask::run`] again.
    Resume,
}

/// A table of sub-tasks as it is recorded.
#[must_use]
pub fn specs<C: Send>(sub_tasks: &[Box<dyn SubTask<C>>]) -> Vec<SubTaskSpec> {
    let millis = |limit: Duration| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    let rows = sub_tasks.iter();
    rows.map(|sub_task| SubTaskSpec {
        name: sub_task.name().to_owned(),
        limit_ms: sub_task.limit().map(millis),
        commits: sub_task.commits(),
    })
    .collect()
}

/// A job to be done.
pub struct JobPlan<C> {
    /// Its id, made by the caller so that the context can hold it as well.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// What it is about, as users name it (the VM's name).
    pub subject: String,
    /// Jobs with the same key exclude each other (`vm:<id>`); `None` excludes nobody.
    pub lock: Option<String>,
    /// All that is needed to build this plan again in another process.
    pub params: Value,
    /// What a new process does with the job of a dead one.
    pub recovery: RecoveryPolicy,
    /// The table.
    pub sub_tasks: Vec<Box<dyn SubTask<C>>>,
}

impl JobPlan<()> {
    /// A plan with which a dead process's job is ended when none of its sub-tasks leaves anything that would
    /// have to be taken back: nothing that its actions worked with is asked for.
    #[must_use]
    pub fn nothing_to_take_back(recorded: &NewJob) -> Self {
        let rows = recorded.sub_tasks.iter();
        let rows = rows.map(|row| Box::new(Recorded(row.clone())) as Box<dyn SubTask<()>>);
        Self {
            sub_tasks: rows.collect(),
            ..Self::without_actions(recorded)
        }
    }
}

impl JobPlan<()> {
    /// A plan with which a job is ended from where nothing of it can be taken back: each undo gives up with that.
    pub(crate) fn out_of_reach(recorded: &NewJob, why: &Problem) -> Self {
        let row = |row: &SubTaskSpec| {
            let row = OutOfReach(row.clone(), why.clone());
            Box::new(row) as Box<dyn SubTask<()>>
        };
        Self {
            sub_tasks: recorded.sub_tasks.iter().map(row).collect(),
            ..Self::without_actions(recorded)
        }
    }
}

/// A row whose effects are where nobody here can get at them.
struct OutOfReach(SubTaskSpec, Problem);

#[async_trait]
impl SubTask<()> for OutOfReach {
    fn name(&self) -> &str {
        &self.0.name
    }

    async fn run(&self, _: &mut (), _: &Scope) -> Result<Value, Problem> {
        Err(self.1.clone())
    }

    async fn undo(&self, _: &mut (), _: Option<&Value>) -> Result<(), Problem> {
        Err(self.1.clone())
    }
}

/// A row of which only the record is known.
struct Recorded(SubTaskSpec);

#[async_trait]
impl SubTask<()> for Recorded {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn limit(&self) -> Option<Duration> {
        self.0.limit_ms.map(Duration::from_millis)
    }

    fn commits(&self) -> bool {
        self.0.commits
    }

    async fn run(&self, _: &mut (), _: &Scope) -> Result<Value, Problem> {
        let what = format!("\"{}\" is only known by its record.", self.0.name);
        Err(Kind::Internal { what }.into())
    }
}

impl<C: Send> JobPlan<C> {
    /// A plan with which a recorded job can be ended before its first sub-task, and nothing else.
    pub(crate) fn without_actions(recorded: &NewJob) -> Self {
        Self {
            id: recorded.id,
            kind: recorded.kind,
            subject: recorded.subject.clone(),
            lock: recorded.lock.clone(),
            params: recorded.params.clone(),
            recovery: RecoveryPolicy::Unwind,
            sub_tasks: Vec::new(),
        }
    }

    /// The table as it is recorded.
    #[must_use]
    pub fn specs(&self) -> Vec<SubTaskSpec> {
        specs(&self.sub_tasks)
    }

    /// The job as it is recorded.
    #[must_use]
    pub fn new_job(&self, created_at: Timestamp) -> NewJob {
        NewJob {
            id: self.id,
            kind: self.kind,
            subject: self.subject.clone(),
            lock: self.lock.clone(),
            params: self.params.clone(),
            sub_tasks: self.specs(),
            created_at,
        }
    }

    /// Refuses to go on with another table than the one that was recorded.
    pub(crate) fn expect_recorded(&self, recorded: &[SubTaskSpec]) -> Result<(), EngineError> {
        if recorded == self.specs() {
            return Ok(());
        }
        let reason = "its table of sub-tasks is not the recorded one".to_owned();
        Err(EngineError::Plan {
            job: self.id,
            reason,
        })
    }

    /// Why the table is no table, if it is none.
    pub(crate) fn defect(&self) -> Option<String> {
        if self.sub_tasks.is_empty() {
            return Some("it has no sub-task".to_owned());
        }
        let mut names: Vec<_> = self.sub_tasks.iter().map(|task| task.name()).collect();
        names.sort_unstable();
        names
            .windows(2)
            .find(|pair| pair[0] == pair[1])
            .map(|pair| format!("two sub-tasks are named `{}`", pair[0]))
    }
}
