//! Measures what docs/adr/2026-11-23-grain-and-frame.md decides: id grain, frame size and zstd
//! level, on a sample of an image and on the changes of its second day.
//!
//! `grain day1.raw day2.raw day2.changed.json [every]`: looks at one of `every` (default 8)
//! regions of 4 MiB, and gives the sizes of the whole.
#![allow(clippy::print_stdout, reason = "a program that prints")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const REGION: u64 = 4 << 20;
const KIB: usize = 1 << 10;
/// Bytes that each stored chunk costs in index and manifest.
const PER_CHUNK: usize = 52 + 34;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [day1, day2, changed, rest @ ..] = args.as_slice() else {
        return Err("grain DAY1 DAY2 CHANGED [EVERY]".into());
    };
    let every: u64 = rest.first().map_or(Ok(8), |text| text.parse())?;
    let (day1, day2) = (File::open(day1)?, File::open(day2)?);
    let list: serde_json::Value = serde_json::from_reader(File::open(changed)?)?;
    println!(
        "full: MiB stored and wall seconds of one thread in zstd, for each frame size and level, scaled up"
    );
    for level in [-1, 1, 3, 5] {
        for frame in [64 * KIB, 256 * KIB, 1024 * KIB, 4096 * KIB] {
            let (mut stored, mut chunks, start) = (0, 0, Instant::now());
            let mut plain = 0.0;
            for region in (0..day1.metadata()?.len() / REGION).step_by(usize::try_from(every)?) {
                let reading = Instant::now();
                let bytes = read(&day1, region * REGION, REGION)?;
                let kept = without_zeros(&bytes, 64 * KIB);
                plain += reading.elapsed().as_secs_f64();
                chunks += kept.len() / (64 * KIB);
                stored += compressed(&kept, frame, level)?;
            }
            let scale = |n: usize| (n as u64 * every) >> 20;
            println!(
                "level {level:>2}, frame {:>4} KiB: {:>5} MiB, {:>5.1} s, ids of 64 KiB cost {} MiB",
                frame / KIB,
                scale(stored),
                (start.elapsed().as_secs_f64() - plain) * every as f64,
                scale(chunks * PER_CHUNK),
            );
        }
    }
    println!("second day: MiB read and stored (level 3) for each id grain and frame size");
    for (grain, frame) in [
        (64, 64),
        (64, 256),
        (64, 1024),
        (128, 1024),
        (256, 256),
        (256, 1024),
        (1024, 1024),
        (4096, 4096),
    ] {
        let (read, stored) = second_day(&day1, &day2, &list, grain * KIB, frame * KIB)?;
        println!(
            "ids {grain:>4} KiB, frame {frame:>4} KiB: read {:>5}, stored {:>4}",
            read >> 20,
            stored >> 20
        );
    }
    Ok(())
}

/// Every changed block, widened to the grain; those that did not change are known by their id.
fn second_day(
    day1: &File,
    day2: &File,
    list: &serde_json::Value,
    grain: usize,
    frame: usize,
) -> Outcome<(u64, usize)> {
    let step = grain as u64;
    let mut new = Vec::new();
    let (mut total, mut stored, mut done) = (0, 0, 0);
    for extent in list["extents"].as_array().ok_or("extents")? {
        let start = extent["start"].as_u64().ok_or("start")?;
        let end = start + extent["length"].as_u64().ok_or("length")?;
        let mut at = (start - start % step).max(done);
        while at < end {
            let (before, now) = (read(day1, at, step)?, read(day2, at, step)?);
            total += step;
            if before != now {
                new.extend(without_zeros(&now, grain));
            }
            at += step;
            if new.len() >= frame {
                stored += compressed(&new, frame, 3)?;
                new.clear();
            }
        }
        done = at;
    }
    Ok((total, stored + compressed(&new, frame, 3)?))
}

fn read(file: &File, at: u64, length: u64) -> Outcome<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length)?];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

fn without_zeros(bytes: &[u8], grain: usize) -> Vec<u8> {
    let kept = bytes
        .chunks(grain)
        .filter(|chunk| chunk.iter().any(|byte| *byte != 0));
    kept.flatten().copied().collect()
}

fn compressed(bytes: &[u8], frame: usize, level: i32) -> Outcome<usize> {
    let mut stored = 0;
    let mut compressor = zstd::bulk::Compressor::new(level)?;
    for frame in bytes.chunks(frame) {
        stored += compressor.compress(frame)?.len().min(frame.len()) + 24;
    }
    Ok(stored)
}
