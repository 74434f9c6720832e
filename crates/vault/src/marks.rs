//! Reading and putting what is decided of recovery points after their commit: pins, locks,
//! deletions, ends. Layouts and rules: docs/format/state.md.
//!
//! # What must hold
//! - A point's states are numbered from 1. Whoever changes something puts the next number, with all
//!   that is not changed; of racing puts one wins, and the others look again. So an undelete and an
//!   end cannot both succeed.
//! - The newest state counts, but an immutable-until is the latest of *all* states: nobody who can
//!   only put objects can shorten it.
//! - What cannot be read holds its point: it is neither removed nor collected.
//!
//! # After a crash
//! A state is there or not. A point whose end was put and whose mark in `expired/` was not is gone
//! already; the mark is for programs that know no states, and the next try puts it.

use std::collections::BTreeMap;
use std::pin::pin;

use bytes::Bytes;
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use tresor_model::{PointId, SessionId};
use tresor_vault_format::limits::{END_LIMIT, SMALL_OBJECT};
use tresor_vault_format::{ExpiryMark, Outcome, PointState, SessionEnd, VaultLock, name};

use crate::error::{Error, ErrorKind, Result};
use crate::many::read_lots;
use crate::standing::{Lock, PointMarks, RawMarks, Standing};
use crate::store::PutOutcome;
use crate::vault::{Inner, Vault};

/// How often a change is tried against others who change the same point.
const TRIES: u32 = 32;

/// All marks of a vault.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    of: BTreeMap<SessionId, RawMarks>,
    pub(crate) lock: Lock,
    /// Marks that cannot be read. They hold their points.
    pub(crate) damaged: Vec<Error>,
}

impl Marks {
    pub(crate) fn of(&self, session: SessionId) -> RawMarks {
        self.of.get(&session).copied().unwrap_or_default()
    }

    /// The marks of all sessions, or of one.
    pub(crate) async fn read(vault: &Inner, of: Option<SessionId>) -> Result<Self> {
        let store = &vault.store;
        let mut marks = Self::default();
        let (states, expired) = match of {
            Some(session) => (name::state_prefix(session), name::expired(session)),
            None => (name::STATES.to_owned(), name::EXPIRED.to_owned()),
        };
        for meta in store.list(&expired).await? {
            if let Some(session) = name::parse_expired(meta.name.as_str()) {
                marks.of.entry(session).or_default().expired = true;
            }
        }
        // In the order of their numbers.
        let listed = store.list(&states).await?;
        let names = listed.iter().filter_map(|meta| {
            let object = meta.name.as_str();
            Some((name::parse_state(object)?, object.to_owned()))
        });
        let mut lots = pin!(read_lots(store, names.collect(), SMALL_OBJECT));
        while let Some(lot) = lots.next().await {
            for ((session, number), bytes) in lot {
                let state = bytes.and_then(|bytes| state(vault, session, number, &bytes));
                marks.add(session, number, state)?;
            }
        }
        marks.read_lock(vault).await?;
        Ok(marks)
    }

    fn add(&mut self, session: SessionId, number: u32, state: Result<PointState>) -> Result<()> {
        let raw = self.of.entry(session).or_default();
        if number != raw.number.saturating_add(1) {
            raw.unclear = true;
            let reason = format!("state {} before it is missing", raw.number + 1);
            let object = name::state(session, number);
            self.damaged.push(Error::damaged(object, reason));
        }
        raw.number = number;
        match state {
            Ok(state) => {
                raw.immutable_until_ms = raw.immutable_until_ms.max(state.immutable_until_ms);
                raw.pinned = state.pinned;
                raw.deleted_ms = state.deleted_ms;
                // Nothing follows an end.
                raw.closed |= state.ended;
            }
            Err(error) if error.object_and_reason().is_some() => {
                raw.unclear = true;
                self.damaged.push(error);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn read_lock(&mut self, vault: &Inner) -> Result<()> {
        for meta in vault.store.list(name::LOCKS).await? {
            let object = meta.name.as_str();
            let Some(number) = name::parse_lock(object) else {
                continue;
            };
            match lock(vault, object, number).await {
                Ok(lock) => self.lock.days = self.lock.days.max(lock.min_days),
                Err(error) if error.object_and_reason().is_some() => {
                    self.lock.unclear = true;
                    self.damaged.push(error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether a point is gone, where the vault is not locked.
    pub(crate) fn is_gone(&self, session: SessionId, now: Timestamp) -> bool {
        let marks = self.of(session).with(self.lock, None);
        marks.standing(now) == Standing::Gone
    }

    /// How a session's point stands. The end is read only where it matters: for a point that was
    /// ended in a vault that is locked.
    pub(crate) async fn standing(
        &self,
        vault: &Inner,
        session: SessionId,
        now: Timestamp,
    ) -> Result<Standing> {
        let raw = self.of(session);
        let ended_ms = if raw.ends() && self.lock.days > 0 {
            ended_ms(vault, session).await?
        } else {
            Some(i64::MIN)
        };
        Ok(raw.with(self.lock, ended_ms).standing(now))
    }
}

fn state(vault: &Inner, session: SessionId, number: u32, bytes: &[u8]) -> Result<PointState> {
    let object = name::state(session, number);
    let state = PointState::decode(bytes).map_err(|error| Error::format(&object, error))?;
    if (state.vault, state.session, state.number) == (vault.id, session, number) {
        Ok(state)
    } else {
        Err(Error::damaged(object, "it is another state"))
    }
}

async fn lock(vault: &Inner, object: &str, number: u32) -> Result<VaultLock> {
    let bytes = vault.store.get(object, SMALL_OBJECT).await?;
    let lock = VaultLock::decode(&bytes).map_err(|error| Error::format(object, error))?;
    if (lock.vault, lock.number) == (vault.id, number) {
        Ok(lock)
    } else {
        Err(Error::damaged(object, "it is another lock"))
    }
}

/// The time in a session's end; `None` when it cannot be read.
async fn ended_ms(vault: &Inner, session: SessionId) -> Result<Option<i64>> {
    let object = name::session_end(session);
    let read = match vault.store.get(&object, END_LIMIT).await {
        Ok(bytes) => SessionEnd::decode(&bytes).map_err(|error| Error::format(&object, error)),
        Err(error) => Err(error),
    };
    match read {
        Ok(end) => Ok(Some(end.ended_ms)),
        Err(error) if error.object_and_reason().is_some() => Ok(None),
        Err(error) => Err(error),
    }
}

impl Vault {
    /// What is marked of a point.
    ///
    /// # Errors
    /// [`ErrorKind::PointNotFound`], [`ErrorKind::PointExpired`]; when the storage fails.
    pub async fn marks_of(&self, id: PointId) -> Result<PointMarks> {
        Ok(self.marks_and_number(id).await?.0)
    }

    /// Keeps retention and deletion away from a point.
    ///
    /// # Errors
    /// [`ErrorKind::PointNotFound`], [`ErrorKind::PointExpired`], [`ErrorKind::PointDeleted`].
    pub async fn pin(&self, id: PointId) -> Result<()> {
        self.change(id, |marks, state| {
            not_deleted(id, marks)?;
            state.pinned = true;
            Ok(())
        })
        .await
    }

    /// Takes a pin back.
    ///
    /// # Errors
    /// As [`Vault::pin`].
    pub async fn unpin(&self, id: PointId) -> Result<()> {
        self.change(id, |_, state| {
            state.pinned = false;
            Ok(())
        })
        .await
    }

    /// Makes a point immutable until `until`. It can be extended, never shortened: an earlier time
    /// changes nothing.
    ///
    /// # Errors
    /// As [`Vault::pin`].
    pub async fn lock_point(&self, id: PointId, until: Timestamp) -> Result<()> {
        self.change(id, |marks, state| {
            not_deleted(id, marks)?;
            let until = Some(until.as_millisecond());
            state.immutable_until_ms = state.immutable_until_ms.max(until);
            Ok(())
        })
        .await
    }

    /// Deletes a point so that it can be brought back, for `grace` for sure. Deleting twice is
    /// deleting once.
    ///
    /// # Errors
    /// [`ErrorKind::PointHeld`] when it is pinned or immutable; else as [`Vault::pin`].
    pub async fn delete_point(&self, id: PointId, grace: SignedDuration) -> Result<()> {
        let now = Timestamp::now();
        let until = now.saturating_add(grace).unwrap_or(Timestamp::MAX);
        let deletion = (now.as_millisecond(), until.as_millisecond());
        self.change(id, |marks, state| {
            not_held(id, marks)?;
            state.deleted_ms = state.deleted_ms.or(Some(deletion));
            Ok(())
        })
        .await
    }

    /// Brings a deleted point back, also when its grace is over, as long as nobody ended it.
    ///
    /// # Errors
    /// [`ErrorKind::PointNotFound`], [`ErrorKind::PointExpired`] when it is too late.
    pub async fn undelete_point(&self, id: PointId) -> Result<()> {
        self.change(id, |_, state| {
            state.deleted_ms = None;
            Ok(())
        })
        .await
    }

    /// Ends a point for good: it is not listed, not restored, cannot be brought back, and its space
    /// is free for collect. Ending twice is ending once.
    ///
    /// # Errors
    /// [`ErrorKind::PointHeld`] when it is pinned or immutable; [`ErrorKind::PointNotFound`]; when
    /// the storage fails.
    pub async fn expire(&self, id: PointId) -> Result<()> {
        let ended = self
            .change(id, |marks, state| {
                not_held(id, marks)?;
                state.ended = true;
                Ok(())
            })
            .await;
        match ended {
            Err(error) if !matches!(error.kind(), ErrorKind::PointExpired { .. }) => {
                return Err(error);
            }
            _ => {}
        }
        let session = SessionId::from_uuid(*id.as_uuid());
        let mark = ExpiryMark {
            vault: self.inner.id,
            session,
            marked_ms: Timestamp::now().as_millisecond(),
        };
        let object = Bytes::from(mark.encode());
        // Who was faster marked the same.
        let put = self.inner.store.put(&name::expired(session), object).await;
        put.map(drop)
    }

    /// Days from its end for which every recovery point is immutable; 0: the vault is not locked.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when a lock cannot be read; when the storage fails.
    pub async fn lock_days(&self) -> Result<u32> {
        let mut marks = Marks::default();
        marks.read_lock(&self.inner).await?;
        match marks.damaged.pop() {
            Some(error) => Err(error),
            None => Ok(marks.lock.days),
        }
    }

    /// Locks the vault: from now on each of its recovery points, also those that are there, is
    /// immutable for at least `min_days` days from its end. This is never taken back nor shortened;
    /// fewer days than before change nothing. Gives the days that count.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when a lock cannot be read; when the storage fails.
    pub async fn lock(&self, min_days: u32) -> Result<u32> {
        for _ in 0..TRIES {
            let days = self.lock_days().await?;
            if days >= min_days {
                return Ok(days);
            }
            let store = &self.inner.store;
            let listed = store.list(name::LOCKS).await?;
            let last = listed
                .iter()
                .filter_map(|meta| name::parse_lock(meta.name.as_str()))
                .max();
            let lock = VaultLock {
                vault: self.inner.id,
                number: next(last.unwrap_or(0))?,
                made_ms: Timestamp::now().as_millisecond(),
                min_days,
            };
            let object = Bytes::from(lock.encode());
            if store.put(&name::lock(lock.number), object).await? == PutOutcome::Stored {
                return Ok(min_days);
            }
        }
        Err(Error::system("lock the vault against others who lock it"))
    }

    /// Puts the next state. `decide` sees what counts, and changes what is to be put.
    async fn change(
        &self,
        id: PointId,
        decide: impl Fn(&PointMarks, &mut PointState) -> Result<()>,
    ) -> Result<()> {
        let inner = &self.inner;
        let session = SessionId::from_uuid(*id.as_uuid());
        for _ in 0..TRIES {
            let (marks, raw) = self.marks_and_number(id).await?;
            let before = PointState {
                vault: inner.id,
                session,
                number: next(raw.number)?,
                made_ms: Timestamp::now().as_millisecond(),
                pinned: raw.pinned,
                immutable_until_ms: raw.immutable_until_ms,
                deleted_ms: raw.deleted_ms,
                ended: false,
            };
            let mut after = before;
            decide(&marks, &mut after)?;
            if after == before {
                return Ok(());
            }
            // A number is not put behind one that may be lost in a power cut.
            if raw.number > 0 {
                inner.store.settle(&name::state_prefix(session)).await?;
            }
            let object = name::state(session, after.number);
            let bytes = Bytes::from(after.encode());
            let stored = match inner.store.put(&object, bytes.clone()).await? {
                PutOutcome::Stored => true,
                // Ours, when an answer was lost.
                PutOutcome::NameTaken => inner.store.get(&object, SMALL_OBJECT).await? == bytes,
            };
            if stored {
                return Ok(());
            }
        }
        Err(Error::system("change a point against others who change it"))
    }

    /// The marks of a point that is there and not gone.
    async fn marks_and_number(&self, id: PointId) -> Result<(PointMarks, RawMarks)> {
        let inner = &self.inner;
        let session = SessionId::from_uuid(*id.as_uuid());
        let object = name::session_end(session);
        let found = inner.store.find(&object, END_LIMIT).await?;
        let found = found.ok_or_else(|| Error::new(ErrorKind::PointNotFound { point: id }))?;
        // A point that is damaged may be marked as well.
        let end = SessionEnd::decode(&found).ok();
        if end
            .as_ref()
            .is_some_and(|end| end.outcome == Outcome::Aborted)
        {
            return Err(Error::new(ErrorKind::PointNotFound { point: id }));
        }
        let all = Marks::read(inner, Some(session)).await?;
        let raw = all.of(session);
        let marks = raw.with(all.lock, end.map(|end| end.ended_ms));
        if marks.standing(Timestamp::now()) == Standing::Gone || raw.closed {
            return Err(Error::new(ErrorKind::PointExpired { point: id }));
        }
        Ok((marks, raw))
    }
}

fn next(number: u32) -> Result<u32> {
    let next = number.checked_add(1);
    next.ok_or_else(|| Error::misuse("a point has fewer than four billion states"))
}

fn not_deleted(id: PointId, marks: &PointMarks) -> Result<()> {
    match marks.deleted {
        Some(_) => Err(Error::new(ErrorKind::PointDeleted { point: id })),
        None => Ok(()),
    }
}

fn not_held(id: PointId, marks: &PointMarks) -> Result<()> {
    match marks.refuses(Timestamp::now()) {
        Some(reason) => Err(Error::new(ErrorKind::PointHeld { point: id, reason })),
        None => Ok(()),
    }
}
