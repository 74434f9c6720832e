//! What is killed when, and what must hold afterwards: a share of `cargo xtask soak service`, which runs the same
//! tests with `TRESOR_KILL_RUNS`, `TRESOR_KILL_SEED` and `TRESOR_KILL_FIGURES`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;

use crate::lab::Lab;

/// Due each minute and tried again soon; every point is kept, so that one that is missing was lost.
pub(crate) const POLICY: &str = r#"
name = "minutely"
[[schedules]]
calendar = "*:*"
window = "1m"
[consistency]
lowest = "file-system"
[retention]
within = "1y"
[retry]
first_pause = "1s"
longest_pause = "10s"
"#;

/// More jobs than a run of any length has.
const MANY: &str = "100000";

/// How many, and what from.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) runs: u64,
    random: u64,
}

/// What became of all that ran.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Told {
    /// Backups by how they ended.
    jobs: BTreeMap<String, u64>,
    /// Why those that failed did.
    causes: BTreeMap<String, u64>,
    /// Points by consistency.
    points: BTreeMap<String, u64>,
}

/// What a soak reports.
#[derive(Debug, Serialize)]
struct Figures<'a> {
    /// What was done, how often.
    blows: &'a BTreeMap<String, u64>,
    #[serde(flatten)]
    told: &'a Told,
}

impl Plan {
    /// As the soak asks; else so many, from a seed of the tests' own.
    pub(crate) fn new(usual: u64) -> Self {
        let asked = |name| std::env::var(name).ok().map(|text| text.parse().unwrap());
        Self {
            runs: asked("TRESOR_KILL_RUNS").unwrap_or(usual),
            random: asked("TRESOR_KILL_SEED").unwrap_or(7),
        }
    }

    /// `SplitMix64`: the same numbers on every machine.
    pub(crate) fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.random;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A while below that.
    pub(crate) async fn wait(&mut self, below: Duration) {
        let millis = u64::try_from(below.as_millis()).unwrap().max(1);
        let pause = Duration::from_millis(self.next() % millis);
        tokio::time::sleep(pause).await;
    }

    /// In another order each round.
    pub(crate) fn shuffled<T: Clone, const N: usize>(&mut self, mut all: [T; N]) -> [T; N] {
        for last in (1..N).rev() {
            let below = u64::try_from(last + 1).unwrap();
            all.swap(last, usize::try_from(self.next() % below).unwrap());
        }
        all
    }
}

/// Where the soak wants them.
pub(crate) fn note(blows: &BTreeMap<String, u64>, told: &Told) {
    let Some(file) = std::env::var_os("TRESOR_KILL_FIGURES") else {
        return;
    };
    let text = serde_json::to_vec(&Figures { blows, told }).unwrap();
    std::fs::write(file, text).unwrap();
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name}: {row}"))
}

/// Every job has ended and says how; each backup that succeeded has its point, as consistent as was wanted; the vault
/// is whole.
pub(crate) async fn assert_all_told(lab: &Lab) -> Told {
    let mut told = Told::default();
    let points = lab.run(&["points", "list"]).await.rows();
    for point in &points {
        let achieved = text(point, "consistency");
        let is_wanted = ["file-system", "application"].contains(&achieved);
        assert!(is_wanted, "{point}");
        *told.points.entry(achieved.to_owned()).or_default() += 1;
    }
    let there: BTreeSet<&str> = points.iter().map(|point| text(point, "id")).collect();
    for job in lab.run(&["jobs", "list", "--limit", MANY]).await.rows() {
        let (state, id) = (text(&job, "state"), text(&job, "job"));
        assert!(!["in_progress", "cancelling"].contains(&state), "{job}");
        if text(&job, "kind") != "backup" || state == "queued" {
            continue;
        }
        *told.jobs.entry(state.to_owned()).or_default() += 1;
        let story = lab.run(&["jobs", "show", id]).await.ok();
        if state.starts_with("completed") {
            assert!(there.contains(id), "lost: {story}");
        } else {
            let cause = &story["view"]["cause"];
            assert!(cause["remedy"][0].is_string(), "{story}");
            *told
                .causes
                .entry(text(cause, "code").to_owned())
                .or_default() += 1;
        }
    }
    lab.run(&["check"]).await.ok();
    lab.run(&["verify"]).await.ok();
    told
}
