//! One interruption.

use std::{fmt, os::unix::process::ExitStatusExt as _, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use tresor_jobs::{KillPoint, Moment};

use super::{
    Lab, Turn, check,
    inject::{Injected, stop},
    writers,
};
use crate::program::{Ended, Running};

/// How the interrupted backup ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// There is a recovery point: the fault came too late, or did no harm.
    Completed,
    /// It was taken back, for this problem.
    Problem(String),
    /// It was killed.
    Killed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("completed"),
            Self::Problem(code) => f.write_str(code),
            Self::Killed => f.write_str("killed"),
        }
    }
}

/// What one run came to.
#[derive(Debug, Clone)]
pub struct Report {
    /// How the interrupted backup ended.
    pub outcome: Outcome,
    /// Whether the fault met anything: a connection can only be cut when one is open.
    pub met: bool,
    /// The longest time between two writes in the guest, until the fault was lifted; `None` when
    /// the guest ended with it.
    pub gap: Option<Duration>,
    /// How long the interrupted backup says that the guest was frozen.
    pub frozen: Option<Duration>,
    /// How the next backup read each disk: `incremental`, or the reason why all of it.
    pub next: Vec<String>,
}

impl Lab {
    /// Does one run.
    ///
    /// # Errors
    /// Something does not hold that must, or the lab itself failed. In both cases the lab is not
    /// to be used again.
    pub async fn interrupt(&mut self, point: &KillPoint, turn: Turn) -> Result<Report> {
        self.change(turn.seed).await?;
        writers::longest_gap(&self.guest).await?;
        let (ended, met) = self.disturb(point, turn).await?;
        let outcome = outcome(&ended)?;
        let frozen = self.note_point(&ended, &outcome);
        self.lift(turn.fault).await.context("lifting the fault")?;
        let mut gap = None;
        if !turn.fault.ends_qemu() {
            gap = Some(writers::longest_gap(&self.guest).await?);
        }
        if turn.fault.leaves_nothing() && outcome != Outcome::Killed {
            let clean = check::nothing_in_qemu(&self.guest).await;
            clean.with_context(|| format!("after `{outcome}`; it said\n{}", ended.said))?;
        }
        let next = self.back_up_and_compare().await;
        let next = next.with_context(|| format!("after `{outcome}`; it said\n{}", ended.said))?;
        self.check()
            .await
            .with_context(|| format!("after `{outcome}`"))?;
        Ok(Report {
            outcome,
            met,
            gap,
            frozen,
            next,
        })
    }

    /// Something to back up: 1 to 4 MiB.
    async fn change(&self, seed: u64) -> Result<()> {
        let mib = 1 + seed % 4;
        let command = format!("tresor-workload churn --dir /data/churn --mib {mib} --seed {seed}");
        self.guest.exec(&command).await?.ok().map(drop)
    }

    /// A backup that meets the fault.
    async fn disturb(&mut self, point: &KillPoint, turn: Turn) -> Result<(Ended, bool)> {
        // 1 to 512 ms: each order of magnitude is as likely as another.
        let delay_ms = 1 << ((turn.seed >> 8) % 10);
        let mut backup = self.start_held(point, turn.fault, delay_ms)?;
        let mut last = 0;
        if point.moment.is_undo() {
            held_at(&mut backup, point.sub_task, Moment::Done).await?;
            stop(&mut backup, Signal::INT).await?;
            self.release(last)?;
            last += 1;
        }
        held_at(&mut backup, point.sub_task, point.moment).await?;
        let mut injected = if point.moment.is_undo() && is_signal(turn) {
            // It is unwinding on request already: asked again it ends at once, by design.
            self.ask_again(&mut backup)?
        } else {
            self.inject(turn.fault, &mut backup).await?
        };
        self.release(last)?;
        if injected == Injected::NotYet {
            injected = self.inject_late().await?;
        }
        Ok((backup.end().await?, injected == Injected::Yes))
    }

    fn ask_again(&self, backup: &mut Running) -> Result<Injected> {
        let pid = backup.pid().context("the backup has ended")?;
        super::host::signal(pid, Signal::INT)?;
        Ok(Injected::Yes)
    }

    /// Takes the point of a backup that went through into the list of those that must be there.
    fn note_point(&mut self, ended: &Ended, outcome: &Outcome) -> Option<Duration> {
        let point = ended.results.last()?;
        if *outcome == Outcome::Completed {
            self.points.push(point["point"].as_str()?.to_owned());
        }
        point["consistency"]["frozen_us"]
            .as_u64()
            .map(Duration::from_micros)
    }
}

fn is_signal(turn: Turn) -> bool {
    matches!(
        turn.fault,
        super::Fault::Interrupt | super::Fault::Terminate
    )
}

async fn held_at(backup: &mut Running, sub_task: usize, moment: Moment) -> Result<()> {
    let wanted = format!("held at {sub_task}:{moment}");
    let heard = backup.until(|line| line.starts_with(&wanted)).await?;
    if heard.is_none() {
        bail!("the backup ended before it was {wanted}: is it built with `kill-points`?");
    }
    Ok(())
}

fn outcome(ended: &Ended) -> Result<Outcome> {
    if ended.status.signal().is_some() {
        return Ok(Outcome::Killed);
    }
    if ended.status.success() {
        return Ok(Outcome::Completed);
    }
    let code = ended
        .problem()
        .context("a failed backup without a problem")?;
    let last = ended.results.last();
    ensure!(code != "Internal", "a defect: {last:?}\n{}", ended.said);
    Ok(Outcome::Problem(code.to_owned()))
}
