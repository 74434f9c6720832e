//! "Take snapshot": the ladder of ways to quiesce, and the swap.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::Value;
use tresor_disk::{PauseMode, SnapshotProvider, VmState};
use tresor_jobs::{Scope, SubTask};
use tresor_link::{Freeze, FreezeRequest, QuiesceError, QuiesceErrorKind};
use tresor_model::{Consistency, ConsistencyReport, Fact, Rung};
use tresor_problem::{Kind, Problem};

use super::{
    BackupContext,
    context::{BackupRequest, handed_over},
    ladder::Ladder,
};

/// An agent that is there answers within milliseconds.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// Flushing moves the guest's dirty pages out before the freeze; it may take long and is never
/// worth failing for.
const FLUSH_LIMIT: Duration = Duration::from_secs(60);

/// The swap takes milliseconds; a guest frozen for longer than this is thawed whatever happens.
const HOLD_LIMIT: Duration = Duration::from_secs(10);

pub(super) struct TakeSnapshot {
    pub(super) limit: Duration,
}

#[async_trait]
impl SubTask<BackupContext> for TakeSnapshot {
    fn name(&self) -> &'static str {
        "Take snapshot"
    }

    fn limit(&self) -> Option<Duration> {
        Some(self.limit)
    }

    async fn run(&self, ctx: &mut BackupContext, scope: &Scope) -> Result<Value, Problem> {
        let mut ladder = Ladder::default();
        let report = match freeze(ctx, &mut ladder).await? {
            Some(frozen) => take_frozen(ctx, ladder, frozen).await?,
            None => take_paused(ctx, ladder).await?,
        };
        check_required(&ctx.request, &report)?;
        if let Some(text) = below_wanted(ctx.request.order.wanted, &report) {
            ctx.warn(scope, text);
        }
        for attempt in &report.attempts {
            if let Some(failure) = &attempt.failure {
                let text = format!("only {}: {failure}", report.achieved);
                ctx.warn(scope, text);
            }
        }
        let output = serde_json::to_value(&report).unwrap_or_default();
        ctx.consistency = Some(report);
        Ok(output)
    }

    async fn undo(&self, ctx: &mut BackupContext, output: Option<&Value>) -> Result<(), Problem> {
        // A process that died in here may have frozen the guest; an empty context says that this
        // is another one, which cannot know.
        let died_here = output.is_none() && ctx.described.is_none();
        let Some(quiescer) = ctx.services.quiescer.as_mut() else {
            return Ok(());
        };
        let Err(error) = quiescer.recover().await else {
            return Ok(());
        };
        let message = lower_rung(&ctx.request, &error)?;
        if !died_here || error.kind == QuiesceErrorKind::NoChannel {
            return Ok(()); // never frozen, or thawed for sure, or not running any more
        }
        Err(Kind::GuestLeftFrozen {
            vm: ctx.request.order.vm_name.clone(),
            reason: format!("the backup died while it took the snapshot, and {message}"),
        }
        .into())
    }
}

/// Tries the guest agent. `None`: this rung does not hold, the ladder says why.
async fn freeze(ctx: &mut BackupContext, ladder: &mut Ladder) -> Result<Option<Freeze>, Problem> {
    let state = ctx.described.as_ref().map(|vm| &vm.state);
    if matches!(state, Some(VmState::Stopped)) {
        return Ok(None); // there is no guest to ask
    }
    if ctx.request.order.wanted == Some(Consistency::Crash) {
        return Ok(None); // the guest is not to be disturbed
    }
    if let Some(VmState::Paused(state)) = state {
        ladder.failed(
            Rung::QemuGuestAgent,
            format!("the VM does not run ({state})"),
        );
        return Ok(None);
    }
    let Some(quiescer) = ctx.services.quiescer.as_mut() else {
        ladder.failed(
            Rung::QemuGuestAgent,
            "no guest agent socket is registered for this VM",
        );
        return Ok(None);
    };
    let info = match quiescer.probe(PROBE_LIMIT).await {
        Ok(info) => info,
        Err(error) => {
            let why = lower_rung(&ctx.request, &error)?;
            ctx.facts.push(Fact::not_observed(
                "guest-agent.version",
                why.as_str(),
                "qemu-guest-agent",
                jiff::Timestamp::now(),
            ));
            ladder.failed(Rung::QemuGuestAgent, why);
            return Ok(None);
        }
    };
    let now = jiff::Timestamp::now();
    let observer = "qemu-guest-agent";
    ctx.facts.push(Fact::present(
        "guest-agent.version",
        info.version,
        observer,
        now,
    ));
    if let Err(error) = quiescer.flush(FLUSH_LIMIT).await {
        let why = error.to_string();
        ctx.facts
            .push(Fact::not_observed("guest-agent.flush", why, observer, now));
    }
    let request = FreezeRequest {
        freeze_limit: ctx.request.order.freeze_limit,
        hold_limit: HOLD_LIMIT,
    };
    match quiescer.freeze(request).await {
        Ok(freeze) => Ok(Some(freeze)),
        Err(error) => {
            ladder.failed(Rung::QemuGuestAgent, lower_rung(&ctx.request, &error)?);
            Ok(None)
        }
    }
}

/// Why a rung did not hold; a guest that may still be frozen is a problem, not a lower rung.
fn lower_rung(request: &BackupRequest, error: &QuiesceError) -> Result<String, Problem> {
    match error.kind {
        QuiesceErrorKind::LeftFrozen => Err(Kind::GuestLeftFrozen {
            vm: request.order.vm_name.clone(),
            reason: error.message.clone(),
        }
        .into()),
        _ => Ok(error.message.clone()),
    }
}

async fn take_frozen(
    ctx: &mut BackupContext,
    ladder: Ladder,
    freeze: Freeze,
) -> Result<ConsistencyReport, Problem> {
    let prepared = handed_over(ctx.prepared.take(), "a prepared snapshot")?;
    ctx.taken_at = Some(jiff::Timestamp::now());
    let taken = prepared.take(PauseMode::GuestFrozen).await;
    // Thaw first, whatever the swap said.
    let thawed = match ctx.services.quiescer.as_mut() {
        Some(quiescer) => quiescer.thaw().await,
        None => return handed_over(None, "the quiescer that froze"),
    };
    let snapshot = taken.map_err(|error| ctx.snapshot_problem(&error));
    let left_frozen = match thawed {
        Ok(thaw) => {
            ctx.snapshot = Some(snapshot?);
            return Ok(ladder.frozen(freeze, &thaw));
        }
        Err(error) => Kind::GuestLeftFrozen {
            vm: ctx.request.order.vm_name.clone(),
            reason: error.message,
        },
    };
    match snapshot {
        // A guest that is gone is not frozen; that it went is the first cause (I10).
        Err(problem) if has_ended(Arc::clone(&ctx.services.provider)).await => Err(problem),
        _ => Err(left_frozen.into()),
    }
}

/// Whether the VM's QEMU is there no more. One that cannot be asked may be there.
async fn has_ended(provider: Arc<dyn SnapshotProvider>) -> bool {
    match provider.describe().await {
        Ok(vm) => matches!(vm.state, VmState::Stopped),
        Err(error) => error.kind() == tresor_disk::ErrorKind::Unreachable,
    }
}

async fn take_paused(
    ctx: &mut BackupContext,
    ladder: Ladder,
) -> Result<ConsistencyReport, Problem> {
    let prepared = handed_over(ctx.prepared.take(), "a prepared snapshot")?;
    ctx.taken_at = Some(jiff::Timestamp::now());
    let snapshot = prepared.take(PauseMode::StopVm).await;
    let snapshot = snapshot.map_err(|error| ctx.snapshot_problem(&error))?;
    let report = ladder.paused(snapshot.paused_for());
    ctx.snapshot = Some(snapshot);
    Ok(report)
}

/// What is to be told when a rung held that is lower than what was wanted. Where a higher one was tried,
/// that is told already; a VM that does not run has nothing to be quiesced.
fn below_wanted(wanted: Option<Consistency>, report: &ConsistencyReport) -> Option<String> {
    let wanted = wanted.filter(|wanted| report.achieved < *wanted)?;
    let told = report
        .attempts
        .iter()
        .any(|attempt| attempt.failure.is_some() || attempt.rung == Rung::Stopped);
    (!told).then(|| {
        format!(
            "only {}, and {wanted} was wanted: {}",
            report.achieved, report.proof
        )
    })
}

fn check_required(request: &BackupRequest, report: &ConsistencyReport) -> Result<(), Problem> {
    if report.achieved >= request.order.required {
        return Ok(());
    }
    let why: Vec<_> = report
        .attempts
        .iter()
        .filter_map(|attempt| attempt.failure.as_deref())
        .collect();
    Err(Kind::ConsistencyNotReached {
        vm: request.order.vm_name.clone(),
        required: request.order.required.to_string(),
        achieved: report.achieved.to_string(),
        reason: if why.is_empty() {
            report.proof.clone()
        } else {
            why.join("; ")
        },
    }
    .into())
}

#[cfg(test)]
mod tests {
    use tresor_model::RungAttempt;

    use super::*;

    #[test]
    fn a_lower_rung_than_was_wanted_is_told_once() {
        let report = |achieved, rung, failure: Option<&str>| ConsistencyReport {
            achieved,
            proof: "the proof".to_owned(),
            attempts: vec![RungAttempt {
                rung,
                failure: failure.map(str::to_owned),
            }],
            file_systems_frozen: None,
            file_systems_thawed: None,
            frozen_us: None,
        };
        let (application, crash) = (Some(Consistency::Application), Some(Consistency::Crash));
        let agent = Rung::QemuGuestAgent;
        let frozen = report(Consistency::FileSystem, agent, None);
        let told = below_wanted(application, &frozen).unwrap();
        assert!(told.contains("the proof"), "{told}");
        let failed = report(Consistency::Crash, agent, Some("no agent"));
        let stopped = report(Consistency::Crash, Rung::Stopped, None);
        let paused = report(Consistency::Crash, Rung::PausedVm, None);
        for (wanted, report) in [
            (None, &frozen),
            (Some(Consistency::FileSystem), &frozen),
            (application, &failed),
            (application, &stopped),
            (crash, &paused),
        ] {
            assert_eq!(below_wanted(wanted, report), None, "{wanted:?}");
        }
    }
}
