//! A file for each noun; what they share is a [`Session`].

mod asked;
mod audit;
mod backup;
mod check;
mod collect;
mod config;
mod copy;
mod database_backup;
mod database_restore;
mod debug;
mod doctor;
mod ending;
mod expire;
mod expire_plan;
mod held;
mod hold;
mod host;
mod hosts;
mod jobs;
mod key;
mod login;
mod lookup;
mod notify;
mod open;
mod partial;
mod points;
mod points_change;
mod points_known;
mod policies;
mod protect;
mod queue;
mod rebuild;
mod reconcile;
mod repair;
mod restore;
mod serve;
mod session;
mod status;
mod tokens;
mod unhide;
mod unprotect;
mod vault;
mod vault_lock;
mod verify;
mod vm;
mod vm_change;
mod vm_remove;

pub(crate) use session::Session;

use clap::CommandFactory as _;
use tresor_problem::Problem;

use crate::{
    args::{CatalogCommand, Cli, Command},
    remote::needs,
};

/// Runs a command to its end.
pub(crate) async fn run(command: Command, session: Session) -> Result<(), Problem> {
    session.check(needs(&command))?;
    match command {
        Command::Vault(command) => vault::run(command, &session).await,
        Command::Vm(command) => vm::run(command, &session).await,
        Command::Backup(args) => backup::run(args, &session).await,
        Command::Reconcile(args) => reconcile::run(args, &session).await,
        Command::Points(command) => points::run(command, &session).await,
        Command::Expire(args) => expire::run(args, &session).await,
        Command::Restore(args) => restore::run(args, &session).await,
        Command::Copy(args) => copy::run(*args, &session).await,
        Command::Repair(args) => repair::run(args, &session).await,
        Command::Check(args) => check::run(args, &session).await,
        Command::Verify(args) => verify::run(args, &session).await,
        Command::Collect(args) => collect::run(args, &session).await,
        Command::Serve(args) => serve::run(*args, &session).await,
        Command::Host(args) => host::run(args, &session).await,
        Command::Hosts(command) => hosts::run(command, &session).await,
        Command::Policies(command) => policies::run(command, &session).await,
        Command::Protect(args) => protect::run(args, &session).await,
        Command::Unprotect(args) => unprotect::run(args, &session).await,
        Command::Status(args) => status::run(args, &session).await,
        Command::Catalog(CatalogCommand::Rebuild(args)) => rebuild::run(args, &session).await,
        Command::Catalog(CatalogCommand::Backup(args)) => {
            database_backup::run(args, &session).await
        }
        Command::Catalog(CatalogCommand::Restore(args)) => {
            database_restore::run(*args, &session).await
        }
        Command::Notify(command) => notify::run(command, &session).await,
        Command::Jobs(command) => jobs::run(command, &session).await,
        Command::Config(command) => config::run(command, &session),
        Command::Tokens(command) => tokens::run(command, &session).await,
        Command::Login(args) => login::login(args, &session).await,
        Command::Logout => login::logout(&session),
        Command::Debug(command) => debug::run(&command, &session),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "tresor", &mut std::io::stdout());
            Ok(())
        }
        Command::ThawGuard { .. } => Ok(()), // handled before the runtime starts
    }
}
