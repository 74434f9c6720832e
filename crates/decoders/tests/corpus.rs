//! Every decoder on a fixed corpus: the seeds, what the fuzzer found worth keeping, and mutations of
//! both from a seed. Ordinary tests, on stable, in every run.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tresor_decoders::{Counting, Target, run, target, targets};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What starts each target: golden files, and texts below fuzz/seeds.
fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    let golden = repository().join("crates/vault-format/testdata/v1");
    let list = std::fs::read_to_string(repository().join("fuzz/seeds/golden.txt")).unwrap();
    let of_kind = list.lines().find_map(|line| {
        let (name, prefix) = line.split_once(' ')?;
        (name == target.name).then_some(prefix)
    });
    for dir in [golden, repository().join("fuzz/seeds").join(target.name)] {
        let seeds = dir.ends_with(target.name);
        for entry in std::fs::read_dir(dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if seeds || of_kind.is_some_and(|prefix| name.starts_with(prefix)) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect()
}

/// Small and exact: numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) as usize % limit.max(1)
    }

    /// Flips, cuts, doubles, and sets numbers that lengths go wrong with.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(5) {
                _ if bytes.is_empty() => bytes.push(self.below(256) as u8),
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes.truncate(at),
                2 => {
                    let part = bytes[at..bytes.len().min(at + 64)].to_vec();
                    bytes.splice(at..at, part);
                }
                _ => {
                    let number = [0, 1, 0x7fff_ffff, 0xffff_ffff, 0x1_0000][self.below(5)];
                    let number = u32::to_le_bytes(number);
                    for (to, from) in bytes[at..].iter_mut().zip(number) {
                        *to = from;
                    }
                }
            }
        }
    }
}

#[test]
fn no_decoder_panics_or_takes_more_memory_than_it_may() {
    let seed = std::env::var("TRESOR_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("TRESOR_SEED={seed}");
    let mut random = Random(seed | 1);
    for target in targets() {
        let seeds = seeds(&target);
        assert!(!seeds.is_empty(), "{} has no seed", target.name);
        let taken = seeds
            .iter()
            .filter(|bytes| run(&target, bytes).unwrap().taken);
        assert!(taken.count() > 0, "{} takes none of its seeds", target.name);
        for _ in 0..300 {
            let mut bytes = seeds[random.below(seeds.len())].clone();
            random.mutate(&mut bytes);
            run(&target, &bytes).unwrap();
        }
    }
}

#[test]
fn every_target_is_a_program_of_the_fuzzer() {
    let manifest = std::fs::read_to_string(repository().join("fuzz/Cargo.toml")).unwrap();
    let programs: BTreeSet<_> = manifest
        .lines()
        .filter_map(|line| {
            line.strip_prefix("path = \"fuzz_targets/")?
                .strip_suffix(".rs\"")
        })
        .collect();
    let names: BTreeSet<_> = targets().iter().map(|target| target.name).collect();
    assert_eq!(programs, names);
    assert!(target("header").is_some());
}

/// What is measured is measured: a decoder that allocates by what it is told fails.
#[test]
fn memory_beyond_the_limit_is_found() {
    let greedy = Target {
        name: "greedy",
        what: "",
        times: 2,
        above: 1000,
        run: |bytes| vec![1_u8; bytes.len() * 100].len() > 1,
    };
    assert!(run(&greedy, &[0; 100]).is_err());
    assert!(run(&greedy, &[0; 10]).unwrap().peak >= 1000);
}

/// The rows of the table in docs/fuzzing.md are the targets. Set `TRESOR_WRITE_DOCS` to bring it up to
/// date.
#[test]
fn the_page_is_current() {
    let path = repository().join("docs/fuzzing.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let rows: String = targets()
        .iter()
        .map(|target| {
            let (name, what) = (target.name, target.what);
            let above = target.above >> 10;
            format!(
                "| `{name}` | {what} | {} × input + {above} KiB |\n",
                target.times
            )
        })
        .collect();
    let (head, rest) = page.split_once("|---|---|---|\n").unwrap();
    let end = rest.find("\n\n").map_or(rest.len(), |at| at + 1);
    let wanted = format!("{head}|---|---|---|\n{rows}{}", &rest[end..]);
    if std::env::var_os("TRESOR_WRITE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap();
    assert!(there == wanted, "set TRESOR_WRITE_DOCS and run this test");
}
