//! The `tresor` program: arguments in, wiring, results and problems out, an exit code that tells
//! the truth.

mod args;
mod authority;
mod commands;
mod database;
mod enrolment;
mod output;
mod progress;
mod recovery;
mod remote;
mod server;
mod usage;

use std::process::ExitCode;

use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use tresor_problem::Problem;

use crate::{
    args::{Cli, Command, Global, LogFormat, OutputFormat},
    commands::Session,
    output::Output,
    usage::Parsed,
};

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    let cli = match usage::parse(&args) {
        Parsed::Command(cli) => *cli,
        Parsed::Mistake(problem) => return fail(Output::new(OutputFormat::Json), &problem),
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
        let cancel = CancellationToken::new();
        tokio::spawn(cancel_on_signal(cancel.clone()));
        commands::run(cli.command, Session::new(cli.global, output, cancel)).await
    })
}

/// The first Ctrl-C or SIGTERM asks for a clean end; the second one ends the process at once,
/// which is safe too: the next run unwinds what is left.
async fn cancel_on_signal(cancel: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return;
    };
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if cancel.is_cancelled() {
            std::process::abort();
        }
        output::note("interrupted: unwinding (once more to stop at once)");
        cancel.cancel();
    }
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
