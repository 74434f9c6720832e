//! A sub-task that fails on demand around the real one.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tresor_problem::{Kind, Problem};

use crate::{AfterCrash, Scope, SubTask};

/// What goes wrong in an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails before it did anything.
    BeforeEffect,
    /// It fails after it did everything.
    AfterEffect,
    /// It panics after it did everything.
    Panic,
    /// It is carried out twice.
    Twice,
    /// Somebody cancels the job when it begins.
    Cancel,
}

impl Fault {
    /// Those that make the action fail.
    pub const FAILURES: [Self; 3] = [Self::BeforeEffect, Self::AfterEffect, Self::Panic];
}

/// The text that every injected failure carries.
pub(super) const INJECTED: &str = "injected by a test";

pub(super) struct Faulty<C> {
    pub(super) inner: Box<dyn SubTask<C>>,
    pub(super) fault: Fault,
    /// Cancels the job.
    pub(super) cancel: CancellationToken,
}

#[async_trait]
impl<C: Send> SubTask<C> for Faulty<C> {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn limit(&self) -> Option<Duration> {
        self.inner.limit()
    }
    fn undo_limit(&self) -> Duration {
        self.inner.undo_limit()
    }
    fn commits(&self) -> bool {
        self.inner.commits()
    }
    fn after_crash(&self) -> AfterCrash {
        self.inner.after_crash()
    }

    #[allow(clippy::panic, reason = "a panic is what this fault is")]
    async fn run(&self, ctx: &mut C, scope: &Scope) -> Result<Value, Problem> {
        let failure = Kind::Internal {
            what: INJECTED.to_owned(),
        };
        if self.fault == Fault::BeforeEffect {
            return Err(failure.into());
        }
        if self.fault == Fault::Cancel {
            self.cancel.cancel();
        }
        let output = self.inner.run(ctx, scope).await?;
        match self.fault {
            Fault::Twice => self.inner.run(ctx, scope).await,
            Fault::AfterEffect => Err(failure.into()),
            Fault::Panic => panic!("{INJECTED}"),
            Fault::BeforeEffect | Fault::Cancel => Ok(output),
        }
    }

    async fn resume(&self, ctx: &mut C, output: &Value) -> Result<(), Problem> {
        self.inner.resume(ctx, output).await
    }
    async fn settle(&self, ctx: &mut C) -> Result<Option<Value>, Problem> {
        self.inner.settle(ctx).await
    }
    async fn undo(&self, ctx: &mut C, output: Option<&Value>) -> Result<(), Problem> {
        self.inner.undo(ctx, output).await
    }
}
