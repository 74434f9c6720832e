//! `cargo xtask soak fuzz`: every decoder under libFuzzer for some minutes each.
//!
//! The targets are the programs of `fuzz/`; they run on stable, without a sanitizer: Tresor's decoders
//! are safe Rust, so what can go wrong is a panic, an endless loop, or too much memory, and all three
//! end a target (the last one by its own count, see `crates/decoders`). What starts a target is its
//! golden files and its texts in `fuzz/seeds`; what a run finds stays in `fuzz/corpus`, which is not
//! committed.

use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    thread,
};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use super::{Options, report};
use crate::{
    process::{capture, tail},
    term::say,
    workspace,
};

const CARGO_FUZZ: &str = "0.13.2";
const GOLDEN: &str = "crates/vault-format/testdata/v1";
/// Above what any decoder may take: libFuzzer's own corpus and tables are in it as well.
const RSS_LIMIT_MB: u32 = 1024;
/// An input that takes longer is a finding.
const INPUT_SECONDS: u32 = 10;

/// What became of one target.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Outcome {
    target: String,
    executions: u64,
    /// Edges that were reached.
    edges: u64,
    /// Inputs worth keeping.
    corpus: u64,
    peak_mb: u64,
    /// What it found, in words.
    finding: Option<String>,
    /// When, and how many ran beside it: a report may take over what another run found.
    #[serde(default)]
    ran: String,
}

pub(super) async fn run(options: &Options) -> Result<()> {
    let minutes = options
        .minutes
        .context("how long? For example `--minutes 10`")?;
    let root = workspace::root()?;
    let fuzzer = install(&root)?;
    let targets: Vec<String> = targets(&root)?
        .into_iter()
        .filter(|target| options.only.as_ref().is_none_or(|only| only == target))
        .collect();
    if targets.is_empty() {
        bail!("there is no such target; fuzz/Cargo.toml lists them");
    }
    build(&root, &fuzzer)?;
    let runner = Runner {
        kept: Kept::new(&root, minutes, options)?,
        root,
        fuzzer,
        minutes,
        seed: options.seed,
        at_once: options.at_once.get(),
    };
    let outcomes = runner.all(&targets)?;
    report::publish(options, &text(options, minutes, &outcomes))?;
    let found = outcomes.iter().filter(|o| o.finding.is_some()).count();
    if found > 0 {
        bail!("{found} targets found something; the inputs are in fuzz/artifacts");
    }
    Ok(())
}

/// cargo-fuzz of a known release, in `target/tools`.
fn install(root: &Path) -> Result<PathBuf> {
    let dir = root.join("target/tools/cargo-fuzz");
    let program = dir.join("bin/cargo-fuzz");
    if !program.exists() {
        say("building cargo-fuzz");
        capture(
            cargo()
                .args(["install", "cargo-fuzz", "--locked", "--version", CARGO_FUZZ])
                .arg("--root")
                .arg(&dir),
        )?;
    }
    Ok(program)
}

/// Builds all targets, so that none of their minutes goes into it.
fn build(root: &Path, fuzzer: &Path) -> Result<()> {
    say("building the targets");
    capture(in_fuzz(
        root,
        Command::new(fuzzer).args(["fuzz", "build", "--sanitizer", "none"]),
    ))?;
    Ok(())
}

/// Where a command of cargo-fuzz runs.
fn in_fuzz<'a>(root: &Path, command: &'a mut Command) -> &'a mut Command {
    command
        .current_dir(root)
        .env("CARGO_TARGET_DIR", root.join("target/fuzz"))
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The programs of `fuzz/`, in order of their names.
fn targets(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root.join("fuzz/fuzz_targets"))? {
        let path = entry?.path();
        names.extend(
            path.file_stem()
                .and_then(|name| Some(name.to_str()?.to_owned())),
        );
    }
    names.sort();
    Ok(names)
}

/// Copies what starts a target into its corpus.
fn seed(root: &Path, target: &str, corpus: &Path) -> Result<()> {
    fs::create_dir_all(corpus)?;
    let list = fs::read_to_string(root.join("fuzz/seeds/golden.txt"))?;
    let mut files = Vec::new();
    let prefixes = list.lines().filter_map(|line| line.split_once(' '));
    for (_, prefix) in prefixes.filter(|(name, _)| *name == target) {
        for entry in fs::read_dir(root.join(GOLDEN))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(prefix) {
                files.push(path);
            }
        }
    }
    if let Ok(entries) = fs::read_dir(root.join("fuzz/seeds").join(target)) {
        for entry in entries {
            files.push(entry?.path());
        }
    }
    for file in files {
        let name = file.file_name().context("a seed has no name")?;
        fs::copy(&file, corpus.join(name))?;
    }
    Ok(())
}

/// Outcomes of targets that were run already, by this seed and for so long: all of them take hours.
struct Kept {
    dir: PathBuf,
    used: bool,
}

impl Kept {
    /// Nothing is taken over unless that was asked for.
    fn new(root: &Path, minutes: f64, options: &Options) -> Result<Self> {
        let name = format!("{minutes}-minutes-seed-{}", options.seed);
        let dir = root.join("target/fuzz/outcomes").join(name);
        fs::create_dir_all(&dir)?;
        Ok(Self {
            dir,
            used: options.resume,
        })
    }

    fn file(&self, target: &str) -> PathBuf {
        self.dir.join(format!("{target}.json"))
    }

    /// What was found of a target without a finding: one with a finding is run again.
    fn get(&self, target: &str) -> Option<Outcome> {
        let text = fs::read(self.file(target)).ok().filter(|_| self.used)?;
        let outcome: Outcome = serde_json::from_slice(&text).ok()?;
        outcome.finding.is_none().then_some(outcome)
    }

    fn put(&self, outcome: &Outcome) -> Result<()> {
        let text = serde_json::to_vec_pretty(outcome)?;
        Ok(fs::write(self.file(&outcome.target), text)?)
    }
}

/// How each target is run.
struct Runner {
    kept: Kept,
    root: PathBuf,
    fuzzer: PathBuf,
    minutes: f64,
    seed: u64,
    at_once: usize,
}

impl Runner {
    /// Runs the targets, so many at a time; in their order in the answer.
    fn all(&self, targets: &[String]) -> Result<Vec<Outcome>> {
        let waiting = Mutex::new(targets.iter());
        let next = || waiting.lock().ok()?.next();
        let work = || -> Result<Vec<Outcome>> {
            let mut outcomes = Vec::new();
            while let Some(target) = next() {
                if let Some(outcome) = self.kept.get(target) {
                    say(&format!("{target} was run before"));
                    outcomes.push(outcome);
                    continue;
                }
                say(&format!("fuzzing {target}"));
                let outcome = self.one(target)?;
                self.kept.put(&outcome)?;
                outcomes.push(outcome);
            }
            Ok(outcomes)
        };
        let mut outcomes = Vec::new();
        thread::scope(|scope| {
            let threads: Vec<_> = (0..self.at_once).map(|_| scope.spawn(work)).collect();
            for thread in threads {
                let ended = thread
                    .join()
                    .map_err(|_| anyhow!("a fuzzing thread panicked"));
                outcomes.extend(ended??);
            }
            Ok::<_, anyhow::Error>(())
        })?;
        outcomes.sort_by(|a, b| a.target.cmp(&b.target));
        Ok(outcomes)
    }

    fn one(&self, target: &str) -> Result<Outcome> {
        let corpus = self.root.join("fuzz/corpus").join(target);
        seed(&self.root, target, &corpus)?;
        let output = in_fuzz(&self.root, &mut Command::new(&self.fuzzer))
            .args(["fuzz", "run", "--sanitizer", "none", target])
            .arg(&corpus)
            .arg("--")
            .arg(format!(
                "-max_total_time={:.0}",
                (self.minutes * 60.0).max(1.0)
            ))
            // libFuzzer takes 0 for "choose one".
            .arg(format!("-seed={}", self.seed.max(1) & 0x7fff_ffff))
            .arg(format!("-rss_limit_mb={RSS_LIMIT_MB}"))
            .arg(format!("-timeout={INPUT_SECONDS}"))
            .arg("-print_final_stats=1")
            .stdin(Stdio::null())
            .output()
            .context("cannot start cargo-fuzz")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let mut outcome = read(target, &said);
        outcome.ran = format!("{}, {} at a time", report::today(), self.at_once);
        if !output.status.success() {
            if outcome.executions == 0 && !said.contains("libFuzzer") {
                bail!("{target} was not run:\n{}", tail(&said));
            }
            outcome.finding = Some(tail(&said));
        } else if outcome.executions == 0 {
            bail!("{target} executed nothing:\n{}", tail(&said));
        }
        Ok(outcome)
    }
}

/// Takes the figures out of what libFuzzer prints.
fn read(target: &str, said: &str) -> Outcome {
    let stat = |name: &str| {
        let line = said.lines().rev().find(|line| line.starts_with(name));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or(0)
    };
    let status = said.lines().rev().find(|line| line.contains(" cov: "));
    let after = |name: &str| {
        let rest = status
            .and_then(|line| line.split_once(name))
            .map(|(_, rest)| rest);
        let digits = rest.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
        digits
            .flatten()
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(0)
    };
    Outcome {
        target: target.to_owned(),
        executions: stat("stat::number_of_executed_units:"),
        edges: after(" cov: "),
        corpus: after(" corp: "),
        peak_mb: stat("stat::peak_rss_mb:"),
        ..Outcome::default()
    }
}

fn text(options: &Options, minutes: f64, outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "# Soak: fuzz, {}\n\n`cargo xtask soak fuzz --minutes {minutes} --seed {} --at-once {}{}`\n\n\
         Each decoder that reads what others wrote, under libFuzzer on stable Rust for {minutes} minutes\n\
         on {} processors; the last column says when a target ran and how many beside it.\n\
         A panic, more memory than the target may hold, or {INPUT_SECONDS} s for one input is a finding.\n\
         Peak memory is the process's, with libFuzzer's own tables. {} targets at 10 minutes each take\n\
         {} hours on one processor.\n\n\
         | target | executions | edges | corpus | peak, MiB | findings | ran |\n|---|---|---|---|---|---|---|\n",
        report::today(),
        options.seed,
        options.at_once,
        if options.resume { " --resume" } else { "" },
        thread::available_parallelism().map_or(0, NonZeroUsize::get),
        outcomes.len(),
        (outcomes.len() * 10).div_ceil(60),
    );
    for outcome in outcomes {
        let found = if outcome.finding.is_some() {
            "**1**"
        } else {
            "0"
        };
        text.push_str(&format!(
            "| {} | {} | {} | {} | {} | {found} | {} |\n",
            outcome.target,
            outcome.executions,
            outcome.edges,
            outcome.corpus,
            outcome.peak_mb,
            outcome.ran
        ));
    }
    for outcome in outcomes {
        if let Some(finding) = &outcome.finding {
            text.push_str(&format!("\n## {}\n\n```\n{finding}\n```\n", outcome.target));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_taken_over_when_asked_for_and_without_a_finding() {
        let dir = tempfile::tempdir().expect("temp dir");
        let kept = |used| Kept {
            dir: dir.path().to_owned(),
            used,
        };
        let mut outcome = Outcome {
            target: "pack".to_owned(),
            executions: 7,
            ..Outcome::default()
        };
        kept(true).put(&outcome).expect("writes");
        assert_eq!(kept(false).get("pack"), None);
        assert_eq!(kept(true).get("frame"), None);
        assert_eq!(kept(true).get("pack").as_ref(), Some(&outcome));
        outcome.finding = Some("panicked".to_owned());
        kept(true).put(&outcome).expect("writes");
        assert_eq!(kept(true).get("pack"), None);
    }

    #[test]
    fn figures_are_read_from_what_libfuzzer_prints() {
        let said = "#2\tINITED cov: 11 ft: 12 corp: 1/1b exec/s: 0 rss: 30Mb\n\
                    #99\tDONE   cov: 120 ft: 300 corp: 45/2Kb lim: 4 exec/s: 9 rss: 31Mb\n\
                    stat::number_of_executed_units: 12345\nstat::peak_rss_mb:              77\n";
        let outcome = read("pack", said);
        assert_eq!(
            (
                outcome.executions,
                outcome.edges,
                outcome.corpus,
                outcome.peak_mb
            ),
            (12345, 120, 45, 77)
        );
        assert_eq!(read("pack", "error: nothing").executions, 0);
    }
}
