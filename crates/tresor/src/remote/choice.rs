//! Whether a command is for this machine or for a service elsewhere: pure decisions.

use tresor_identity::Address;

use super::Context;
use crate::args::{Command, PointsCommand};

/// What a command works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// This machine, whatever service is named: it is of no catalog, or makes one.
    Nothing,
    /// A catalog: this machine's, or a service's.
    Either,
    /// This machine's own: its disks, sockets, keys or vaults.
    Machine,
}

/// Of each command.
pub(crate) fn needs(command: &Command) -> Needs {
    match command {
        Command::Serve(_)
        | Command::Host(_)
        | Command::Login(_)
        | Command::Logout
        | Command::Config(_)
        | Command::Completions { .. }
        | Command::Debug(_)
        | Command::ThawGuard { .. } => Needs::Nothing,
        Command::Backup(_)
        | Command::Expire(_)
        | Command::Restore(_)
        | Command::Copy(_)
        | Command::Verify(_)
        | Command::Collect(_)
        | Command::Points(PointsCommand::List { .. })
        | Command::Hosts(_)
        | Command::Policies(_)
        | Command::Protect(_)
        | Command::Unprotect(_)
        | Command::Status(_)
        | Command::Notify(_)
        | Command::Tokens(_)
        | Command::Jobs(_) => Needs::Either,
        Command::Vault(_)
        | Command::Vm(_)
        | Command::Reconcile(_)
        | Command::Points(_)
        | Command::Repair(_)
        | Command::Check(_)
        | Command::Catalog(_) => Needs::Machine,
    }
}

/// Which it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    /// This machine.
    Here,
    /// A service that was named, and what is kept of it.
    Named(Address, Option<Context>),
    /// The service that was logged in to.
    LoggedIn(Context),
}

/// Who names a service means it; who names this machine's state or database means that; else it is where they
/// have logged in.
pub(super) fn choose(named: Option<&Address>, here: bool, context: Option<Context>) -> Chosen {
    match (named, context) {
        (Some(named), Some(context)) if context.server == *named => {
            Chosen::Named(named.clone(), Some(context))
        }
        (Some(named), _) => Chosen::Named(named.clone(), None),
        (None, Some(context)) if !here => Chosen::LoggedIn(context),
        (None, _) => Chosen::Here,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_meant() {
        let address = |text: &str| -> Address { text.parse().unwrap() };
        let (one, other) = (address("https://one"), address("https://other"));
        let context = || Some(Context::new(one.clone(), None, "token".to_owned().into()));
        let named = |at: &Address, kept| Chosen::Named(at.clone(), kept);
        let logged_in = context().map(Chosen::LoggedIn).unwrap();
        for (name, here, kept, chosen) in [
            (None, false, None, Chosen::Here),
            (None, false, context(), logged_in),
            (None, true, context(), Chosen::Here),
            (Some(&one), false, None, named(&one, None)),
            // What is kept of one service is never shown to another.
            (Some(&other), false, context(), named(&other, None)),
            (Some(&one), true, context(), named(&one, context())),
        ] {
            assert_eq!(choose(name, here, kept), chosen);
        }
    }
}
