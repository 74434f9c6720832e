//! Synchronous 4 KiB writes at a fixed rate: how long a write ever had to wait is the frozen time
//! as the guest's applications feel it.
//!
//! The status file (tmpfs) has one line of JSON, replaced at most every 50 ms and at each new
//! worst case: `writes`, `worst_us` (longest write), `gap_us` (longest time between two ends),
//! `last_end_us`, and the counts per power of two of microseconds. Removing the file starts anew.
//!
//! With `--random-mib` the writes go anywhere in a file of that size. With `--rate` so many are begun
//! each second, however long each takes; those that a long one leaves no time for are not made up.
//! With `--samples` each write leaves a line in that file: the microseconds that it took.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    args::Args,
    random::Random,
    report::{During, Failure},
    status,
};

/// `O_DSYNC` of Linux on x86-64 and arm64.
const O_DSYNC: i32 = 0o10_000;
const BLOCKS: u64 = 256;
const REPORT_EVERY: Duration = Duration::from_millis(50);

/// Writes until told otherwise.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let dir = args.path("dir")?;
    let status_file = args.text("status").map_or_else(
        || Path::new(status::RUN).join("latency.json"),
        PathBuf::from,
    );
    let blocks = match args.number("random-mib", 0)? {
        0 => Blocks::InTurn,
        mib => Blocks::AnyOf(mib.saturating_mul(256)),
    };
    let mut pace = Pace::new(args)?;
    let samples = args.text("samples").map(PathBuf::from);
    let rounds = args.rounds()?;
    fs::create_dir_all(&dir).during("create", &dir)?;
    let path = dir.join("latency");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(O_DSYNC)
        .open(&path)
        .during("open", &path)?;
    let mut block = [0_u8; 4096];
    let mut random = Random::new(1);
    let start = Instant::now();
    blocks.fill(&file).during("fill", &path)?;
    let (mut seen, mut reported) = (Seen::default(), Instant::now());
    for round in 0..rounds {
        random.fill(&mut block);
        let begin = Instant::now();
        let at = blocks.choose(round, &mut random) * 4096;
        file.write_all_at(&block, at).during("write", &path)?;
        if let Some(samples) = &samples {
            append(samples, begin.elapsed()).during("write", samples)?;
        }
        if round > 0 && !status_file.exists() {
            seen = Seen::default();
        }
        let news = seen.add(begin.duration_since(start), start.elapsed());
        if news || reported.elapsed() > REPORT_EVERY {
            status::put(&status_file, &seen.json()).during("write", &status_file)?;
            reported = Instant::now();
        }
        pace.rest();
    }
    status::put(&status_file, &seen.json()).during("write", &status_file)
}

/// Adds a line to the samples; whoever takes the file away finds a new one.
fn append(samples: &Path, took: Duration) -> std::io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(samples)?;
    file.write_all(format!("{}\n", took.as_micros()).as_bytes())
}

/// Which blocks are written.
enum Blocks {
    /// The first ones of the file, one after the other.
    InTurn,
    /// Any of so many.
    AnyOf(u64),
}

impl Blocks {
    /// Gives the file its size, so that later writes allocate nothing.
    fn fill(&self, file: &File) -> std::io::Result<()> {
        let Self::AnyOf(count) = self else {
            return Ok(());
        };
        let (mut piece, mut random) = (vec![0; 1 << 20], Random::new(2));
        for mib in 0..count / 256 {
            random.fill(&mut piece);
            file.write_all_at(&piece, mib << 20)?;
        }
        Ok(())
    }

    fn choose(&self, round: u64, random: &mut Random) -> u64 {
        match self {
            Self::InTurn => round % BLOCKS,
            Self::AnyOf(count) => random.below(*count),
        }
    }
}

/// When the next write begins.
enum Pace {
    /// So long after the end of the last one.
    Gap(Duration),
    /// So long after the beginning of the last one.
    Rate(Duration, Instant),
}

impl Pace {
    fn new(args: &Args) -> Result<Self, Failure> {
        Ok(match args.number("rate", 0)? {
            0 => Self::Gap(args.millis("interval-ms", 5)?),
            rate => Self::Rate(Duration::from_micros(1_000_000 / rate), Instant::now()),
        })
    }

    fn rest(&mut self) {
        match self {
            Self::Gap(gap) => status::rest(*gap),
            Self::Rate(every, next) => {
                *next = (*next + *every).max(Instant::now());
                status::rest(next.saturating_duration_since(Instant::now()));
            }
        }
    }
}

/// What the writes took so far.
#[derive(Default)]
struct Seen {
    writes: u64,
    worst: Duration,
    gap: Duration,
    last_end: Option<Duration>,
    /// `[i]`: writes of less than 2^i µs and not less than 2^(i-1).
    powers: [u64; 32],
}

impl Seen {
    /// Adds one write; true when it is the worst so far.
    fn add(&mut self, begin: Duration, end: Duration) -> bool {
        let took = end.saturating_sub(begin);
        let gap = end.saturating_sub(self.last_end.unwrap_or(begin));
        let news = took > self.worst || gap > self.gap;
        self.writes += 1;
        self.worst = self.worst.max(took);
        self.gap = self.gap.max(gap);
        self.last_end = Some(end);
        let bits = u128::BITS - took.as_micros().leading_zeros();
        self.powers[(bits as usize).min(self.powers.len() - 1)] += 1;
        news
    }

    fn json(&self) -> String {
        let powers: Vec<String> = self.powers.iter().map(u64::to_string).collect();
        format!(
            "{{\"writes\":{},\"worst_us\":{},\"gap_us\":{},\"last_end_us\":{},\"powers\":[{}]}}\n",
            self.writes,
            self.worst.as_micros(),
            self.gap.as_micros(),
            self.last_end.unwrap_or_default().as_micros(),
            powers.join(",")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_second_is_both_worst_write_and_gap() {
        let ms = Duration::from_millis;
        let mut seen = Seen::default();
        seen.add(ms(0), ms(1));
        seen.add(ms(5), ms(1005));
        seen.add(ms(1010), ms(1011));
        assert_eq!((seen.worst, seen.gap, seen.writes), (ms(1000), ms(1004), 3));
        assert_eq!(seen.powers.iter().sum::<u64>(), 3);
    }
}
