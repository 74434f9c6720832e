//! What can go wrong with a job that is not the job's own failure.

use std::fmt;

use tresor_model::JobId;
use tresor_problem::{Kind, Problem};

use crate::IllegalTransition;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong in a job log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogErrorKind {
    /// No such job.
    NotFound,
    /// Another job holds the lock key.
    Busy {
        /// That job.
        holder: JobId,
    },
    /// The caller's lease is over: another process took the job over, or it has ended.
    LeaseLost,
    /// The log cannot be read or written.
    Unusable,
}

/// A failed call of a [`JobLog`](crate::JobLog).
#[derive(Debug)]
pub struct LogError {
    /// What went wrong.
    pub kind: LogErrorKind,
    /// What it was about: a job's id, a lock's label, or the place of the log.
    pub context: String,
    source: Option<Source>,
}

impl LogError {
    /// An error without an error below it.
    #[must_use]
    pub fn new(kind: LogErrorKind, context: impl Into<String>) -> Self {
        Self {
            kind,
            context: context.into(),
            source: None,
        }
    }

    /// The same, with the error that led to it.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let context = &self.context;
        match &self.kind {
            LogErrorKind::NotFound => write!(f, "no job {context} is recorded"),
            LogErrorKind::Busy { holder } => write!(f, "job {holder} holds {context}"),
            LogErrorKind::LeaseLost => write!(f, "the lease of job {context} is over"),
            LogErrorKind::Unusable => write!(f, "the job log in {context} cannot be used"),
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn std::error::Error + 'static))
    }
}

impl From<&LogError> for Problem {
    fn from(error: &LogError) -> Self {
        let context = error.context.clone();
        let kind = match &error.kind {
            LogErrorKind::NotFound => Kind::JobNotFound { job: context },
            LogErrorKind::Busy { holder } => Kind::VmBusy {
                vm: context,
                job: holder.to_string(),
                holder: "a process of this state directory".to_owned(),
            },
            LogErrorKind::LeaseLost => Kind::SessionLost { session: context },
            LogErrorKind::Unusable => Kind::StateUnusable {
                path: context,
                reason: reasons(error),
            },
        };
        Self::caused_by(kind, error)
    }
}

/// The chain below an error as one line.
fn reasons(error: &LogError) -> String {
    let mut texts = Vec::new();
    let mut next = std::error::Error::source(error);
    while let Some(below) = next {
        texts.push(below.to_string());
        next = below.source();
    }
    if texts.is_empty() {
        return "no further reason is known".to_owned();
    }
    texts.join(": ")
}

/// Why the engine gave up without bringing a job to an end. The job's own failure is not an
/// error: it is a [`JobOutcome`](crate::JobOutcome).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The log failed. When it failed under a running job, what the job had begun was undone as
    /// far as possible, and the job stays recorded as unfinished: the next recovery looks again.
    #[error("the job cannot be recorded")]
    Log(#[source] LogError),
    /// The log holds a story that cannot have happened.
    #[error("the recorded story of job {job} is damaged")]
    Story {
        /// Whose.
        job: JobId,
        /// Where it breaks.
        #[source]
        source: IllegalTransition,
    },
    /// The plan is not the one that was recorded, or is no plan at all.
    #[error("the plan does not fit job {job}: {reason}")]
    Plan {
        /// Which job.
        job: JobId,
        /// Why not.
        reason: String,
    },
    /// Whether a dead process's job has committed could not be found out; it was left as it is.
    #[error("job {job} cannot be recovered now")]
    Undecided {
        /// Which job.
        job: JobId,
        /// Why not.
        #[source]
        problem: Box<Problem>,
    },
}

impl From<LogError> for EngineError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl From<&EngineError> for Problem {
    fn from(error: &EngineError) -> Self {
        match error {
            EngineError::Log(log) => log.into(),
            EngineError::Undecided { problem, .. } => (**problem).clone(),
            EngineError::Story { .. } | EngineError::Plan { .. } => Self::caused_by(
                Kind::Internal {
                    what: error.to_string(),
                },
                error,
            ),
        }
    }
}
