//! The guard as a program of its own, for the tests of this crate.

use std::{ffi::OsString, process::ExitCode};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    tresor_link::guard::run(&args)
}
