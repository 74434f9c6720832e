//! The `tresor` program: arguments in, wiring, results and problems out, an exit code that tells
//! the truth.

mod args;
mod authority;
mod commands;
mod config;
mod database;
mod enrolment;
mod logins;
mod output;
mod progress;
mod recovery;
mod remote;
mod server;
mod signals;
mod systemd;
mod usage;

use std::process::ExitCode;

use tracing_subscriber::EnvFilter;
use tresor_problem::Problem;

use crate::{
    args::{Cli, Command, Global, LogFormat},
    commands::Session,
    output::Output,
    signals::Signals,
    usage::Parsed,
};

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    let cli = match usage::parse(&args, std::env::var_os(config::VARIABLE)) {
        Parsed::Command(cli) => *cli,
        Parsed::Mistake(format, problem) => return fail(Output::new(format), &problem),
        Parsed::Text(error) => error.exit(),
    };
    if let Command::ThawGuard { args } = &cli.command {
        // Before a runtime or a thread is started: the guard is a small process of its own.
        return tresor_link::guard::run(args);
    }
    start_logging(&cli.global);
    let output = Output::new(cli.global.output);
    match run(cli, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => fail(output, &problem),
    }
}

fn fail(output: Output, problem: &Problem) -> ExitCode {
    output.problem(problem);
    ExitCode::from(problem.exit.code())
}

fn run(cli: Cli, output: Output) -> Result<(), Problem> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2) // waits for QEMU and disks; hashing and sealing have threads of their own
        .enable_all()
        .build()
        .map_err(|error| {
            tresor_host::internal(format!("The async runtime does not start: {error}."))
        })?;
    runtime.block_on(async {
        let signals = Signals::default();
        tokio::spawn(signals.clone().hear());
        commands::run(cli.command, Session::new(cli.global, output, signals)).await
    })
}

fn start_logging(global: &Global) {
    let default = match global.verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("TRESOR_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match global.log_format {
        LogFormat::Text => logs.init(),
        // Each line has the spans it is in, and with them the ids of its job.
        LogFormat::Json => logs.json().with_current_span(false).init(),
    }
}
