//! Counts of what jobs did: added to in the transaction that ends a job, so that they survive restarts, are
//! the same whichever process is asked, and cost no look at the jobs there were.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::{AnyConnection, AssertSqlSafe};
use tresor_jobs::{JobView, LogError, fold};
use tresor_model::{JobId, JobKind, JobState, SubTaskState};

use crate::{
    Catalog, CatalogError,
    job_list::{SELECT_JOBS, decode_job},
    row::{Columns, count, to_word},
};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tally {
    /// Jobs that ended; the label is their final state.
    JobsEnded,
    /// Microseconds from a job's first sub-task to its end.
    JobDuration,
    /// Microseconds that a job waited to be taken up.
    JobWait,
    /// Microseconds that a sub-task's action took; the label is its name.
    SubTaskDuration,
    /// Bytes that a backup read from disks.
    BackupRead,
    /// Bytes that a backup stored.
    BackupStored,
    /// Microseconds for which a backup kept its guest frozen or paused.
    GuestFreeze,
}

const SECOND: i64 = 1_000_000;
const MIB: i64 = 1 << 20;

/// The last bucket of each histogram: everything.
pub const EVERYTHING: i64 = i64::MAX;
const DURATIONS: &[i64] = &[
    SECOND,
    5 * SECOND,
    15 * SECOND,
    60 * SECOND,
    300 * SECOND,
    900 * SECOND,
    3_600 * SECOND,
    10_800 * SECOND,
    43_200 * SECOND,
];
/// A guest notices some 100 ms; its own watchdogs bark after tens of seconds.
const FREEZES: &[i64] = &[
    10_000,
    50_000,
    100_000,
    250_000,
    500_000,
    SECOND,
    5 * SECOND,
    15 * SECOND,
    60 * SECOND,
];
const SIZES: &[i64] = &[
    MIB,
    16 * MIB,
    256 * MIB,
    1024 * MIB,
    16 * 1024 * MIB,
    256 * 1024 * MIB,
    1024 * 1024 * MIB,
];

impl Tally {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::JobsEnded,
        Self::JobDuration,
        Self::JobWait,
        Self::SubTaskDuration,
        Self::BackupRead,
        Self::BackupStored,
        Self::GuestFreeze,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::JobsEnded => "jobs_ended",
            Self::JobDuration => "job_duration_us",
            Self::JobWait => "job_wait_us",
            Self::SubTaskDuration => "sub_task_duration_us",
            Self::BackupRead => "backup_read_bytes",
            Self::BackupStored => "backup_stored_bytes",
            Self::GuestFreeze => "guest_freeze_us",
        }
    }

    /// Upper bounds of the buckets, the last one ([`EVERYTHING`]) apart; none: it is a count.
    #[must_use]
    pub fn bounds(self) -> &'static [i64] {
        match self {
            Self::JobsEnded => &[],
            Self::JobDuration | Self::JobWait | Self::SubTaskDuration => DURATIONS,
            Self::BackupRead | Self::BackupStored => SIZES,
            Self::GuestFreeze => FREEZES,
        }
    }
}

/// Of one tally, what was counted for one kind of job and one label.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// How often.
    pub count: u64,
    /// The sum of what was measured, in the tally's unit.
    pub sum: u64,
    /// How often up to each bound: as many as [`Tally::bounds`], each with what is in those before.
    pub up_to: Vec<u64>,
}

/// Tally, kind of job, label.
pub type Counts = BTreeMap<(Tally, String, String), Counted>;

/// Name, kind, label, bucket.
type Key = (&'static str, String, String, i64);
/// The bucket under which the sum lies.
const SUM: i64 = -1;

#[derive(Default)]
struct Additions(BTreeMap<Key, i64>);

impl Additions {
    fn add(&mut self, tally: Tally, kind: &str, label: &str, value: u64) {
        let value = count(value);
        let bounds = tally.bounds();
        let mut put = |bucket, value| {
            let key = (tally.name(), kind.to_owned(), label.to_owned(), bucket);
            *self.0.entry(key).or_insert(0) += value;
        };
        if bounds.is_empty() {
            return put(0, value);
        }
        let bound = bounds.iter().find(|bound| value <= **bound);
        put(bound.copied().unwrap_or(EVERYTHING), 1);
        put(SUM, value);
    }
}

/// What the end of a job adds.
fn of_job(kind: &str, created_at: Timestamp, view: &JobView, state: &str) -> Additions {
    let mut adds = Additions::default();
    adds.add(Tally::JobsEnded, kind, state, 1);
    if let Some(begun) = view.begun_at {
        adds.add(Tally::JobWait, kind, "", micros_between(created_at, begun));
        if let Some(ended) = view.ended_at {
            adds.add(Tally::JobDuration, kind, "", micros_between(begun, ended));
        }
    }
    for task in &view.sub_tasks {
        if let (Some(from), Some(to)) = (task.started_at, task.ended_at) {
            let took = micros_between(from, to);
            adds.add(Tally::SubTaskDuration, kind, &task.name, took);
        }
        let output = match task.state {
            SubTaskState::Succeeded => task.output.as_ref(),
            _ => None,
        };
        let number = |name: &str| output.and_then(|output| output.get(name)?.as_u64());
        for (tally, name) in [
            (Tally::GuestFreeze, "frozen_us"),
            (Tally::BackupRead, "read"),
            (Tally::BackupStored, "stored"),
        ] {
            if kind == "backup"
                && let Some(value) = number(name)
            {
                adds.add(tally, kind, "", value);
            }
        }
    }
    adds
}

/// Clocks of hosts may differ: never less than nothing.
fn micros_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_micros()).unwrap_or(0)
}

impl Catalog {
    /// Counts a job in the transaction that ends it.
    pub(crate) async fn tally_end(
        &self,
        change: &mut AnyConnection,
        job: JobId,
        state: JobState,
    ) -> Result<(), LogError> {
        let row = sqlx::query(AssertSqlSafe(format!("{SELECT_JOBS} WHERE jobs.id = $1")))
            .bind(job.to_string())
            .fetch_one(&mut *change)
            .await
            .map_err(|error| self.failed(error))?;
        let job = decode_job(&self.columns(&row))?;
        let events = self.events(change, job.id).await?;
        let kind = to_word::<JobKind>(&self.place, &job.kind)?;
        let state = to_word(&self.place, &state)?;
        let adds = match fold(&job.sub_tasks, &events) {
            Ok(view) => of_job(&kind, job.created_at, &view, &state),
            // Nothing that was measured can be trusted; that it ended can.
            Err(_) => {
                let mut adds = Additions::default();
                adds.add(Tally::JobsEnded, &kind, &state, 1);
                adds
            }
        };
        Ok(self.add_tallies(change, adds).await?)
    }

    /// One statement, its rows in order: transactions that add to the same ones do not wait for each other
    /// in a circle.
    async fn add_tallies(
        &self,
        change: &mut AnyConnection,
        adds: Additions,
    ) -> Result<(), CatalogError> {
        let places = (0..adds.0.len()).map(|row| {
            let [a, b, c, d, e] = [1, 2, 3, 4, 5].map(|column| row * 5 + column);
            format!("(${a}, ${b}, ${c}, ${d}, ${e})")
        });
        let places = places.collect::<Vec<_>>().join(", ");
        let mut add = sqlx::query(AssertSqlSafe(format!(
            "INSERT INTO tallies (name, kind, label, bucket, value) VALUES {places} \
             ON CONFLICT (name, kind, label, bucket) \
             DO UPDATE SET value = tallies.value + excluded.value"
        )));
        for ((name, kind, label, bucket), value) in adds.0 {
            add = add.bind(name).bind(kind).bind(label).bind(bucket);
            add = add.bind(value);
        }
        let added = add.execute(change).await;
        added.map(drop).map_err(|error| self.failed(error))
    }

    /// All that was counted. As many rows as there are kinds of jobs and sub-tasks, whatever was done.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn tallies(&self) -> Result<Counts, CatalogError> {
        let rows = sqlx::query("SELECT * FROM tallies")
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        let mut counts = Counts::new();
        for row in &rows {
            take_in(&mut counts, &self.columns(row))?;
        }
        for ((tally, ..), counted) in &mut counts {
            if tally.bounds().is_empty() {
                continue;
            }
            let mut before = 0;
            for number in &mut counted.up_to {
                *number += before;
                before = *number;
            }
        }
        Ok(counts)
    }
}

fn take_in(counts: &mut Counts, row: &Columns<'_>) -> Result<(), CatalogError> {
    let name = row.text("name")?;
    let Some(tally) = Tally::ALL.into_iter().find(|tally| tally.name() == name) else {
        return Ok(()); // another release's
    };
    let bounds = tally.bounds();
    let key = (tally, row.text("kind")?, row.text("label")?);
    let counted = counts.entry(key).or_insert_with(|| Counted {
        up_to: vec![0; bounds.len()],
        ..Counted::default()
    });
    let (bucket, value) = (row.signed("bucket")?, row.unsigned("value")?);
    if bucket == SUM {
        counted.sum += value;
        return Ok(());
    }
    counted.count += value;
    // A bound of another release is counted where it fits.
    if let Some(place) = bounds.iter().position(|bound| bucket <= *bound)
        && let Some(number) = counted.up_to.get_mut(place)
    {
        *number += value;
    }
    Ok(())
}
