//! The generic plan tests, on a small plan that has one row of each kind.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of test functions"
)]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};
use tresor_jobs::{
    AfterCrash, JobPlan, MemoryJobLog, RecoveryPolicy, Scope, SubTask,
    testing::{
        PlanFixture, check_plan, contract, crashes_are_recovered, failures_unwind,
        queue::check_queue,
    },
};
use tresor_model::{JobId, JobKind};
use tresor_problem::{Kind, Problem};

/// What lies outside of the process.
#[derive(Debug, Default)]
struct World {
    reserved: Option<JobId>,
    drafts: Vec<u32>,
    published: Option<u32>,
}

type Shared = Arc<Mutex<World>>;

/// What a process keeps in memory.
struct Memory {
    job: JobId,
    world: Shared,
    draft: Option<u32>,
}

impl Memory {
    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }
}

struct Reserve;
struct Write {
    after_crash: AfterCrash,
    undo_works: bool,
}
struct Publish;
struct CleanUp;

#[async_trait]
impl SubTask<Memory> for Reserve {
    fn name(&self) -> &'static str {
        "Reserve"
    }
    fn after_crash(&self) -> AfterCrash {
        AfterCrash::Resume
    }
    async fn run(&self, ctx: &mut Memory, _: &Scope) -> Result<Value, Problem> {
        ctx.world().reserved = Some(ctx.job);
        Ok(Value::Null)
    }
    async fn undo(&self, ctx: &mut Memory, _: Option<&Value>) -> Result<(), Problem> {
        ctx.world().reserved = None;
        Ok(())
    }
}

#[async_trait]
impl SubTask<Memory> for Write {
    fn name(&self) -> &'static str {
        "Write draft"
    }
    fn after_crash(&self) -> AfterCrash {
        self.after_crash
    }
    async fn run(&self, ctx: &mut Memory, scope: &Scope) -> Result<Value, Problem> {
        if !ctx.world().drafts.contains(&7) {
            ctx.world().drafts.push(7);
        }
        scope.progress(1, Some(2), "half");
        tokio::task::yield_now().await;
        ctx.draft = Some(7);
        Ok(json!(7))
    }
    async fn resume(&self, ctx: &mut Memory, output: &Value) -> Result<(), Problem> {
        ctx.draft = output.as_u64().and_then(|draft| u32::try_from(draft).ok());
        Ok(())
    }
    async fn undo(&self, ctx: &mut Memory, _: Option<&Value>) -> Result<(), Problem> {
        if self.undo_works {
            ctx.world().drafts.clear();
        }
        Ok(())
    }
}

#[async_trait]
impl SubTask<Memory> for Publish {
    fn name(&self) -> &'static str {
        "Publish"
    }
    fn commits(&self) -> bool {
        true
    }
    fn after_crash(&self) -> AfterCrash {
        AfterCrash::Resume
    }
    async fn run(&self, ctx: &mut Memory, _: &Scope) -> Result<Value, Problem> {
        let what = "nothing was written".to_owned();
        let draft = ctx.draft.ok_or(Kind::Internal { what })?;
        ctx.world().published = Some(draft);
        Ok(Value::Null)
    }
    async fn settle(&self, ctx: &mut Memory) -> Result<Option<Value>, Problem> {
        Ok(ctx.world().published.map(|_| Value::Null))
    }
}

#[async_trait]
impl SubTask<Memory> for CleanUp {
    fn name(&self) -> &'static str {
        "Clean up"
    }
    async fn run(&self, ctx: &mut Memory, _: &Scope) -> Result<Value, Problem> {
        let mut world = ctx.world();
        world.drafts.clear();
        world.reserved = None;
        Ok(Value::Null)
    }
}

struct Toy {
    world: Shared,
    policy: RecoveryPolicy,
    writing: AfterCrash,
    undo_works: bool,
}

#[async_trait]
impl PlanFixture for Toy {
    type Context = Memory;

    async fn reset(&self) {
        *self.world.lock().unwrap() = World::default();
    }
    async fn plan(&self, job: JobId) -> JobPlan<Memory> {
        let write = Write {
            after_crash: self.writing,
            undo_works: self.undo_works,
        };
        JobPlan {
            id: job,
            kind: JobKind::Backup,
            subject: "toy".to_owned(),
            lock: Some("toy".to_owned()),
            params: Value::Null,
            recovery: self.policy,
            sub_tasks: vec![
                Box::new(Reserve),
                Box::new(write),
                Box::new(Publish),
                Box::new(CleanUp),
            ],
        }
    }
    async fn context(&self, job: JobId) -> Memory {
        Memory {
            job,
            world: Arc::clone(&self.world),
            draft: None,
        }
    }
    async fn probe(&self) -> String {
        let world = self.world.lock().unwrap();
        let reserved = world.reserved.is_some();
        format!("{reserved} {:?} {:?}", world.drafts, world.published)
    }
}

fn toy(policy: RecoveryPolicy, writing: AfterCrash) -> Toy {
    Toy {
        world: Shared::default(),
        policy,
        writing,
        undo_works: true,
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_resumes_survives_every_crash() {
    check_plan(&toy(RecoveryPolicy::ResumeIfPossible, AfterCrash::Resume)).await;
}

#[tokio::test(start_paused = true)]
async fn a_plan_with_a_row_that_cannot_resume_survives_every_crash() {
    check_plan(&toy(RecoveryPolicy::ResumeIfPossible, AfterCrash::Unwind)).await;
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_unwinds_survives_every_crash() {
    check_plan(&toy(RecoveryPolicy::Unwind, AfterCrash::Unwind)).await;
}

#[tokio::test]
async fn the_log_in_memory_keeps_the_contract() {
    contract::check_log(&MemoryJobLog::default()).await;
    check_queue(Arc::new(MemoryJobLog::default())).await;
}

/// A plan whose draft stays when it is unwound.
fn broken() -> Toy {
    Toy {
        undo_works: false,
        ..toy(RecoveryPolicy::Unwind, AfterCrash::Unwind)
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "in \"Write draft\" is not taken back")]
async fn a_missing_undo_is_seen_by_the_failure_test() {
    failures_unwind(&broken()).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "something is left of it")]
async fn a_missing_undo_is_seen_by_the_crash_test() {
    crashes_are_recovered(&broken()).await;
}
