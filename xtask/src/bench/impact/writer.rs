//! The writer inside the guest.

use anyhow::{Context as _, Result, ensure};
use tresor_testkit::Guest;

/// Writes a second, and MiB of the file that they go to.
const RATE: u32 = 150;
const SPAN_MIB: u32 = 64;
const SAMPLES: &str = "/run/tresor/samples";

/// A writer that runs.
pub(super) struct Writer<'a> {
    guest: &'a Guest,
    pid: u32,
}

/// What writes took, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Latency {
    pub(super) writes: u64,
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) max: u64,
}

impl<'a> Writer<'a> {
    /// Starts it, and waits until its file is filled and it writes.
    pub(super) async fn start(guest: &'a Guest) -> Result<Self> {
        let command = format!(
            "tresor-workload latency --dir /data/latency --rate {RATE} --random-mib {SPAN_MIB} \
             --samples {SAMPLES}"
        );
        let pid = guest.start_background(&command).await?;
        let writer = Self { guest, pid };
        writer.begin().await?;
        Ok(writer)
    }

    /// Forgets what was seen so far, and waits for the first write after that.
    pub(super) async fn begin(&self) -> Result<()> {
        let wait = format!("rm -f {SAMPLES}; until [ -s {SAMPLES} ]; do sleep 0.01; done");
        self.guest.exec(&wait).await?.ok().map(drop)
    }

    /// What was seen since [`Self::begin`], with the write that is under way.
    pub(super) async fn end(&self) -> Result<Latency> {
        let (taken, next) = (format!("{SAMPLES}.taken"), format!("{SAMPLES}.sorted"));
        let count = format!("lines=$(wc -l <{SAMPLES})");
        let waited = format!("until [ $(wc -l <{SAMPLES}) -gt $lines ]; do sleep 0.01; done");
        let pick = format!(
            "{count}; {waited}; mv {SAMPLES} {taken}; sort -n {taken} >{next}; \
             n=$(wc -l <{next}); echo $n; \
             for percent in 50 99 100; do sed -n \"$(((n * percent + 99) / 100))p\" {next}; done"
        );
        let printed = self.guest.exec(&pick).await?.ok()?;
        parse(&printed)
    }

    /// Ends it.
    pub(super) async fn stop(self) -> Result<()> {
        let kill = format!(
            "kill {0}; while [ -d /proc/{0} ]; do sleep 0.01; done",
            self.pid
        );
        self.guest.exec(&kill).await?.ok().map(drop)
    }
}

fn parse(printed: &str) -> Result<Latency> {
    let numbers: Result<Vec<u64>, _> = printed.split_whitespace().map(str::parse).collect();
    let numbers = numbers.with_context(|| format!("the guest printed {printed:?}"))?;
    ensure!(numbers.len() == 4, "the guest printed {printed:?}");
    Ok(Latency {
        writes: numbers[0],
        p50: numbers[1],
        p99: numbers[2],
        max: numbers[3],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_numbers_are_a_result() {
        let seen = parse("200\n310\n2900\n40000\n").unwrap();
        assert_eq!(
            (seen.writes, seen.p50, seen.p99, seen.max),
            (200, 310, 2900, 40000)
        );
        assert!(parse("0\n").is_err());
        assert!(parse("a b c d").is_err());
    }
}
