//! Finding parts of packs that collect has deleted: plans say where they moved to.
//!
//! # Invariants
//! What is found is a hint like any other: who reads it compares the id.
//!
//! # Cost
//! Nothing, until a pack is gone that a hint names. Then the plans are read once (36 bytes for each
//! pack that moved), and the footers of the packs that hold the parts; footers of some 200,000
//! parts (20 MiB) are remembered.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use tokio::sync::Mutex;
use tresor_model::SessionId;
use tresor_vault_format::{Location, PackId};

use crate::error::Result;
use crate::known::{entries_of, read_pack};
use crate::plans::{self, PlanNames};
use crate::vault::Inner;

/// Parts whose places are remembered.
const MOST_PARTS: usize = 200_000;

#[derive(Default)]
pub(crate) struct Moved {
    state: Mutex<State>,
}

/// Where a part lies now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) location: Location,
    /// The number of the plan that said so, the lowest of those that were needed.
    pub(crate) plan: u32,
}

#[derive(Default)]
struct State {
    /// The plans that were read.
    read: BTreeSet<(u32, SessionId)>,
    /// Newest plan first.
    to: HashMap<PackId, Vec<Target>>,
    footers: HashMap<PackId, Option<Footer>>,
    parts: usize,
}

type Footer = Arc<HashMap<[u8; 32], Location>>;

#[derive(Debug, Clone, Copy)]
struct Target {
    plan: u32,
    pack: PackId,
    size: u32,
}

impl Moved {
    /// Where a part is now that lay in a pack which is gone. `None`: no plan knows.
    pub(crate) async fn locate(
        &self,
        vault: &Inner,
        gone: &PackId,
        id: &[u8; 32],
    ) -> Result<Option<Found>> {
        let mut state = self.state.lock().await;
        let found = state.search(vault, gone, id, 1).await?;
        if !found.is_empty() {
            return Ok(found.first().copied());
        }
        // Perhaps a collect has gone on since.
        if state.refresh(vault).await? {
            return Ok(state.search(vault, gone, id, 1).await?.first().copied());
        }
        Ok(None)
    }

    /// Every place where [`Self::locate`] of anybody could find it: nodes of one id can have
    /// different hints, so collect keeps what any of them needs.
    pub(crate) async fn locate_all(
        &self,
        vault: &Inner,
        gone: &PackId,
        id: &[u8; 32],
    ) -> Result<Vec<Found>> {
        let mut state = self.state.lock().await;
        let found = state.search(vault, gone, id, usize::MAX).await?;
        if found.is_empty() && state.refresh(vault).await? {
            return state.search(vault, gone, id, usize::MAX).await;
        }
        Ok(found)
    }
}

impl State {
    /// Whether there was anything new. Plans are small and few: all of them are read again.
    async fn refresh(&mut self, vault: &Inner) -> Result<bool> {
        let listed = PlanNames::list(vault).await?;
        let mut names = listed.plans;
        names.retain(|(number, _)| listed.claims.contains(number));
        if names == self.read {
            return Ok(false);
        }
        self.to.clear();
        self.footers.clear();
        self.parts = 0;
        for (number, collector) in names.iter().rev() {
            // A plan without its claim says nothing: it goes when its number is done.
            if !is_claimed(vault, *number, *collector).await? {
                continue;
            }
            let plan = match plans::read_plan(vault, *number, *collector).await {
                Ok(plan) => plan,
                Err(error) if error.object_and_reason().is_some() => {
                    tracing::warn!(%error, "a plan of collect is not usable");
                    None
                }
                Err(error) => return Err(error),
            };
            for moved in plan.into_iter().flat_map(|plan| plan.moved) {
                self.to.entry(moved.from).or_default().push(Target {
                    plan: *number,
                    pack: moved.to,
                    size: moved.size,
                });
            }
        }
        self.read = names;
        Ok(true)
    }

    async fn search(
        &mut self,
        vault: &Inner,
        gone: &PackId,
        id: &[u8; 32],
        most: usize,
    ) -> Result<Vec<Found>> {
        let mut all = Vec::new();
        let mut waiting = VecDeque::from([(*gone, u32::MAX)]);
        let mut seen = HashSet::from([*gone]);
        while let Some((pack, plan)) = waiting.pop_front() {
            for target in self.to.get(&pack).cloned().unwrap_or_default() {
                if !seen.insert(target.pack) {
                    continue;
                }
                let plan = plan.min(target.plan);
                match self.footer(vault, target).await? {
                    Some(parts) => {
                        if let Some(location) = parts.get(id) {
                            let location = *location;
                            all.push(Found { location, plan });
                            if all.len() >= most {
                                return Ok(all);
                            }
                        }
                    }
                    // Moved on, or gone for good.
                    None => waiting.push_back((target.pack, plan)),
                }
            }
        }
        Ok(all)
    }

    /// What a pack holds; `None` when it is not there, or cannot be read.
    async fn footer(&mut self, vault: &Inner, target: Target) -> Result<Option<Footer>> {
        if let Some(known) = self.footers.get(&target.pack) {
            return Ok(known.clone());
        }
        let footer = match read_footer(vault, target).await {
            Ok(parts) => Some(Arc::new(parts)),
            // What the storage fails to read may be there all the same.
            Err(error) if error.object_and_reason().is_some() && !error.is_unreadable() => None,
            Err(error) => return Err(error),
        };
        if self.parts > MOST_PARTS {
            self.footers.clear();
            self.parts = 0;
        }
        self.parts += footer.as_ref().map_or(1, |parts| parts.len());
        self.footers.insert(target.pack, footer.clone());
        Ok(footer)
    }
}

/// Whether that collector has the number. A claim that cannot be read keeps nobody from reading.
async fn is_claimed(vault: &Inner, number: u32, collector: SessionId) -> Result<bool> {
    match plans::read_claim(vault, number).await {
        Ok(claim) => Ok(claim.collector == collector),
        Err(error) if error.is_gone() => Ok(false),
        Err(error) if error.object_and_reason().is_some() => Ok(true),
        Err(error) => Err(error),
    }
}

async fn read_footer(vault: &Inner, target: Target) -> Result<HashMap<[u8; 32], Location>> {
    let Target { pack: id, size, .. } = target;
    let (_, contents) = read_pack(vault, id, u64::from(size)).await?;
    let entries = entries_of(&contents).into_iter();
    Ok(entries.map(|entry| (entry.id, entry.location)).collect())
}
