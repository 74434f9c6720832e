//! The program inside the guests of the tests and the demo: writers whose disks can be checked
//! afterwards, and the command loop through which tests reach the guest.
//!
//! Each writer has a `verify` that reads what it left, prints one line of JSON and exits 0 only
//! when everything that must be there is there:
//!
//! | writer | proves |
//! | --- | --- |
//! | `log` | every record that was fsynced is there and whole |
//! | `rename-journal` | the snapshot was application-consistent (true only when quiesced) |
//! | `alternate` | two disks show one point in time |
//! | `latency` | how long a synchronous write ever had to wait (frozen time seen from inside) |
//! | `churn` | nothing by itself: makes a known amount of change |
//!
//! No dependencies but `std`, and linked statically: it runs in a guest that has no libc.
//!
//! A writer that sees an I/O error never hides it: it leaves `/run/tresor/io-error`, says so on
//! the console, and ends with code 3.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for test guests: its output is its interface"
)]

mod alternate;
mod args;
mod churn;
mod control;
mod latency;
mod log;
mod pause;
mod random;
mod rename_journal;
mod report;
mod status;

use std::process::ExitCode;

use args::Args;
use report::Failure;

const USAGE: &str = "usage: tresor-workload <verb> [--name value]...
  log            --dir D [--interval-ms 20] [--count N] [--seed 1] [--status FILE]
  rename-journal --dir D [--files 64] [--kib 64] [--gap-ms 5] [--interval-ms 5] [--count N] [--seed 1]
  alternate      --a DIR --b DIR [--interval-ms 5] [--count N]
  latency        --dir D [--interval-ms 5 | --rate N] [--random-mib N] [--count N] [--status FILE] [--samples FILE]
  churn          --dir D --mib N [--file-mib 64] [--block-kib 64] [--seed 1] [--delete]
  verify log            --dir D [--at-least SEQ]
  verify rename-journal --dir D
  verify alternate      --a DIR --b DIR
  control        --port /dev/virtio-ports/NAME";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            status::record_failure(&failure);
            eprintln!("tresor-workload: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn run() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((verb, rest)) = words.split_first() else {
        return Err(Failure::usage(USAGE));
    };
    if verb == "verify" {
        let Some((what, rest)) = rest.split_first() else {
            return Err(Failure::usage(USAGE));
        };
        let args = Args::parse(rest)?;
        return match what.as_str() {
            "log" => log::verify(&args),
            "rename-journal" => rename_journal::verify(&args),
            "alternate" => alternate::verify(&args),
            _ => Err(Failure::usage(USAGE)),
        };
    }
    let args = Args::parse(rest)?;
    match verb.as_str() {
        "log" => log::run(&args),
        "rename-journal" => rename_journal::run(&args),
        "alternate" => alternate::run(&args),
        "latency" => latency::run(&args),
        "churn" => churn::run(&args),
        "control" => control::run(&args),
        _ => Err(Failure::usage(USAGE)),
    }
}
