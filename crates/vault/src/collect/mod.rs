//! Collect: freeing what no recovery point uses any more, beside running backups and restores.
//!
//! The protocol, and why it is safe, is docs/format/commit-protocol.md; its steps are numbered
//! there, and the numbers are cited here.
//!
//! # Invariants
//! - Nothing is deleted that a claimed plan does not name, and nothing before everybody who might
//!   not know of the plan has ended.
//! - A plan that is in effect is finished first, whoever made it.
//!
//! # After a crash, and cancellation
//! Dropping the future is like a kill: before the claim nothing has happened but packs that nobody
//! refers to; after it the next collect goes on.

mod choose;
mod clear;
mod doubt;
mod finish;
mod index;
mod live;
mod propose;
mod rewrite;
mod walk;

use std::time::Duration;

use tresor_model::SessionId;

use self::finish::Made;
use self::propose::Found;
use crate::error::Result;
use crate::plans::PlanNames;
use crate::random::random;
#[cfg(test)]
use crate::session::PlantedBug;
use crate::session::Protocol;
use crate::vault::{Inner, Vault};

/// Age at which a session that has not ended is aborted: longer than the longest backup.
pub const DEFAULT_MARGIN: Duration = Duration::from_secs(7 * 24 * 3600);
/// Dead share of a pack, in percent, from which its live parts are moved.
pub const DEFAULT_MIN_GAIN: u8 = 30;
/// Live bytes that are moved by one plan: they need space before anything is freed.
const DEFAULT_MOST_MOVED: u64 = 64 << 30;

/// How to collect.
#[derive(Debug, Clone)]
pub struct CollectOptions {
    /// A pack is rewritten when at least so many percent of it are freed; above 100: never.
    pub min_gain: u8,
    /// Most bytes that are moved.
    pub most_moved: u64,
    /// Sessions that have not ended are aborted at this age. Only that: it is safe with any.
    pub margin: Duration,
    /// How long to wait for sessions that began before the plan; then the next collect goes on.
    pub wait: Duration,
    /// A defect to build in, for the test of the simulation.
    #[cfg(test)]
    pub(crate) planted: Option<PlantedBug>,
    /// Stored size in bytes at which a new pack is closed.
    #[cfg(test)]
    pub(crate) pack_size: usize,
}

impl Default for CollectOptions {
    fn default() -> Self {
        Self {
            min_gain: DEFAULT_MIN_GAIN,
            most_moved: DEFAULT_MOST_MOVED,
            margin: DEFAULT_MARGIN,
            wait: Duration::MAX,
            #[cfg(test)]
            planted: None,
            #[cfg(test)]
            pack_size: 32 << 20,
        }
    }
}

impl CollectOptions {
    fn protocol(&self) -> Protocol {
        Protocol {
            #[cfg(test)]
            planted: self.planted,
        }
    }

    fn pack_size(&self) -> usize {
        #[cfg(test)]
        return self.pack_size;
        #[cfg(not(test))]
        return 32 << 20;
    }
}

/// What a plan would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct CollectChoice {
    /// Recovery points that were looked through.
    pub points: u64,
    /// Sessions whose objects will be deleted: expired points and aborted sessions.
    pub sessions: u64,
    /// Packs in the vault.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packs that nothing uses.
    pub dead_packs: u64,
    /// Their bytes.
    pub dead_bytes: u64,
    /// Packs whose live parts will be moved.
    pub sparse_packs: u64,
    /// Their bytes.
    pub sparse_bytes: u64,
    /// Bytes of live parts in them, as they are stored now.
    pub moved_bytes: u64,
    /// Packs of sessions that have not ended: left alone.
    pub busy_packs: u64,
    /// Packs that cannot be read, and are left alone.
    pub damaged_packs: u64,
    /// Chunks that recovery points need and nothing in the vault has.
    pub missing_chunks: u64,
}

impl CollectChoice {
    /// Bytes that will be free.
    #[must_use]
    pub fn freed_bytes(&self) -> u64 {
        (self.dead_bytes + self.sparse_bytes).saturating_sub(self.moved_bytes)
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dead_packs == 0 && self.sparse_packs == 0 && self.sessions == 0
    }
}

/// Where a collect is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CollectStep {
    /// Goes on with a plan that was in effect.
    Resumes {
        /// Its number.
        number: u32,
    },
    /// Looks through recovery points.
    Walks {
        /// Points that were looked through.
        done: u64,
        /// Of so many.
        total: u64,
    },
    /// Has chosen.
    Chosen(CollectChoice),
    /// Moves live parts of sparse packs.
    Moves {
        /// Packs that were rewritten.
        done: u64,
        /// Of so many.
        total: u64,
    },
    /// Waits for sessions that began before the plan.
    Waits {
        /// The sessions.
        sessions: Vec<SessionId>,
    },
    /// Deletes.
    Deletes {
        /// Packs that were deleted.
        done: u64,
        /// Of so many.
        total: u64,
    },
}

/// What became of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Collected {
    /// Its number.
    pub number: u32,
    /// Packs that were deleted.
    pub deleted_packs: u64,
    /// Their bytes, those that this run deleted.
    pub deleted_bytes: u64,
    /// Condemned packs that stay, because a point was committed that uses them.
    pub struck_packs: u64,
    /// Condemned packs that stay because the storage holds them.
    pub held_packs: u64,
    /// Sessions that were aborted.
    pub aborted: Vec<SessionId>,
    /// Sessions that keep the plan from being finished.
    pub waiting: Vec<SessionId>,
}

/// What a collect did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct CollectReport {
    /// The plan that was in effect already.
    pub resumed: Option<Collected>,
    /// What was chosen; `None` when the resumed plan is not finished.
    pub choice: Option<CollectChoice>,
    /// The plan that was finished; `None` when there was nothing to do.
    pub collected: Option<Collected>,
}

/// An id for a collector and the index runs that it puts: a UUID of version 8, which no session has.
fn collectors_id() -> Result<SessionId> {
    let uuid = uuid::Builder::from_custom_bytes(random()?).into_uuid();
    Ok(SessionId::from_uuid(uuid))
}

/// Whether something was not found because another collector has deleted since: then what was seen
/// is void, and there is its plan to finish.
async fn is_overtaken(vault: &Inner, number: u32, found: &Result<Found>) -> Result<bool> {
    let misses = match found {
        Ok(found) => found.misses(),
        Err(error) => error.object_and_reason().is_some(),
    };
    Ok(misses && PlanNames::list(vault).await?.next() != number)
}

impl Vault {
    /// What a collect would do now. Changes nothing; a plan in effect is left as it is.
    ///
    /// # Errors
    /// As for [`Self::collect`].
    pub async fn plan_collect(
        &self,
        options: &CollectOptions,
        progress: impl Fn(CollectStep) + Send + Sync,
    ) -> Result<CollectChoice> {
        self.inner.owner()?;
        let number = PlanNames::list(&self.inner).await?.next();
        let found = propose::look(&self.inner, number, options, &progress).await?;
        Ok(found.choice)
    }

    /// Frees what no recovery point uses.
    ///
    /// # Errors
    /// [`crate::ErrorKind::OwnerOnly`] with the key of one domain: what the points of others use cannot be
    /// seen; [`crate::ErrorKind::Damaged`] when a kept recovery point cannot be looked through: what it uses is
    /// not known, so nothing is deleted; [`crate::ErrorKind::VersionUnknown`]; when the storage
    /// fails. The next collect goes on.
    pub async fn collect(
        &self,
        options: &CollectOptions,
        progress: impl Fn(CollectStep) + Send + Sync,
    ) -> Result<CollectReport> {
        let vault = &self.inner;
        vault.owner()?;
        let mut report = CollectReport::default();
        let found = loop {
            // One list says both: that no plan is in effect, and which number comes next.
            let names = PlanNames::list(vault).await?;
            if let Some(number) = names.in_effect() {
                progress(CollectStep::Resumes { number });
                let resumed =
                    finish::finish(vault, (number, Made::Elsewhere), options, &progress).await?;
                let unfinished = !resumed.waiting.is_empty();
                report.resumed = Some(resumed);
                if unfinished {
                    return Ok(report);
                }
                continue;
            }
            let number = names.next();
            let found = propose::look(vault, number, options, &progress).await;
            if !is_overtaken(vault, number, &found).await? {
                break found?;
            }
            let error = found.err().map(tracing::field::display);
            tracing::info!(
                number,
                error,
                "another collector was faster: looked at again"
            );
        };
        found.mark_missing(vault).await?;
        progress(CollectStep::Chosen(found.choice.clone()));
        report.choice = Some(found.choice.clone());
        if found.choice.is_empty() {
            if found.is_collected() {
                index::consolidate(vault, &[]).await?;
                return Ok(report);
            }
            // That there is a claim tells whoever looks for damage that runs may be replaced.
            if !index::is_due(vault).await? {
                return Ok(report);
            }
        }
        let claimed = propose::claim(vault, options, found, &progress).await?;
        let plan = match claimed {
            Some(number) => Some((number, Made::Here)),
            // Another collector was faster: its plan is finished then.
            None => {
                let names = PlanNames::list(vault).await?;
                names.in_effect().map(|number| (number, Made::Elsewhere))
            }
        };
        if let Some(plan) = plan {
            report.collected = Some(finish::finish(vault, plan, options, &progress).await?);
        }
        Ok(report)
    }
}
