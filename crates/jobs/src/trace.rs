//! A job is a trace and its sub-tasks are its spans, in the log and for whoever collects it.
//!
//! The ids are made from the job's: a trace's is the job's UUID, so that what a host, the service and a
//! restarted process say of one job belongs together without anybody passing it on. They have the form that W3C
//! Trace Context and OpenTelemetry ask for: 32 and 16 hexadecimal digits.

use tracing::Span;
use tresor_model::JobId;

use crate::{JobEvent, JobPlan, JobView, SubTaskView};

/// The trace of a job.
#[must_use]
pub fn trace_id(job: JobId) -> String {
    job.as_uuid().simple().to_string()
}

/// The span of a sub-task; without one, of the job itself. Never zero: the upper bits are the variant of
/// the UUID.
#[must_use]
pub fn span_id(job: JobId, sub_task: Option<usize>) -> String {
    let (_, random) = job.as_uuid().as_u64_pair();
    let number = sub_task.map_or(0, |index| index.saturating_add(1));
    let number = u64::try_from(number).unwrap_or(u64::MAX);
    format!("{:016x}", random.wrapping_add(number))
}

/// What is logged in it bears the job's id. Of the highest level, so that no filter that shows a line hides
/// whose it is.
pub(crate) fn job_span<C: Send>(plan: &JobPlan<C>) -> Span {
    tracing::error_span!(
        "job",
        job = %plan.id,
        kind = ?plan.kind,
        subject = plan.subject,
        trace_id = trace_id(plan.id),
        span_id = span_id(plan.id, None),
    )
}

/// The same for a sub-task's action or undo.
pub(crate) fn sub_task_span(job: JobId, index: usize, name: &str) -> Span {
    tracing::error_span!(
        "sub_task",
        sub_task = name,
        span_id = span_id(job, Some(index)),
        parent_span_id = span_id(job, None),
    )
}

/// Logs what was recorded, where it begins or ends something.
pub(crate) fn log(event: &JobEvent, view: &JobView) {
    match event {
        JobEvent::Started { sub_task } => {
            let sub_task = name(view, *sub_task);
            tracing::debug!(sub_task, "a sub-task began");
        }
        JobEvent::Succeeded { sub_task, .. } | JobEvent::Failed { sub_task, .. } => {
            let task = view.sub_tasks.get(*sub_task);
            let took_ms = task.and_then(took_ms);
            let problem = task.and_then(|task| task.problem.as_ref());
            let code = problem.map(|problem| problem.code.as_str());
            tracing::info!(
                sub_task = name(view, *sub_task),
                took_ms,
                code,
                "a sub-task ended"
            );
        }
        JobEvent::UnwindStarted { cause, .. } => {
            tracing::info!(cause = cause.code, "the job is taken back");
        }
        JobEvent::Ended { state } => {
            let begun = view.begun_at.zip(view.ended_at);
            let took_ms = begun.map(|(begun, ended)| millis(ended.duration_since(begun)));
            tracing::info!(?state, took_ms, "the job ended");
        }
        _ => {}
    }
}

fn name(view: &JobView, index: usize) -> &str {
    view.sub_tasks.get(index).map_or("", |task| &task.name)
}

fn took_ms(task: &SubTaskView) -> Option<u64> {
    let (began, ended) = task.started_at.zip(task.ended_at)?;
    Some(millis(ended.duration_since(began)))
}

/// Clocks may be set back meanwhile.
fn millis(length: jiff::SignedDuration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_have_the_form_of_trace_context_and_are_apart() {
        let job = JobId::generate();
        let trace = trace_id(job);
        assert_eq!(trace.len(), 32);
        assert_eq!(trace, job.to_string().replace('-', ""));
        let spans = [None, Some(0), Some(1), Some(9)].map(|index| span_id(job, index));
        assert!(
            spans
                .iter()
                .all(|span| span.len() == 16 && *span != "0".repeat(16))
        );
        assert_eq!(BTreeSet::from(spans).len(), 4);
    }
}
