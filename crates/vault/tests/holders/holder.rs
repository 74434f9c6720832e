//! The kinds of holders, what they are tried with, and what a try can show.

/// Who has something of the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// Sees all objects, has no key.
    Reader,
    /// Puts, replaces and deletes objects, has no key.
    Writer,
    /// Has the key of a domain of its own, and the storage.
    OwnDomain,
    /// Has a key file of the vault's own ring, and the storage: a host as it is set up by default.
    Shared,
    /// Has the vault's passphrase, and the storage.
    Passphrase,
    /// Has the recovery key, and the storage.
    Recovery,
    /// Runs the verification without keys; reads only.
    Verifier,
}

pub(crate) const HOLDERS: [Holder; 7] = [
    Holder::Reader,
    Holder::Writer,
    Holder::OwnDomain,
    Holder::Shared,
    Holder::Passphrase,
    Holder::Recovery,
    Holder::Verifier,
];

impl Holder {
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Reader => "reader of the storage",
            Self::Writer => "writer of the storage",
            Self::OwnDomain => "host with a domain of its own",
            Self::Shared => "host in the shared domain",
            Self::Passphrase => "holder of the passphrase or key file",
            Self::Recovery => "holder of the recovery key",
            Self::Verifier => "verifier without keys",
        }
    }

    pub(crate) const fn may_write(self) -> bool {
        !matches!(self, Self::Reader | Self::Verifier)
    }
}

/// What somebody may want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ability {
    ListNames,
    ReadData,
    FindKnown,
    WritePoints,
    ForgePoint,
    ChangeUnseen,
    PoisonBackups,
    VerifyBytes,
    ChangeKeys,
    Collect,
}

pub(crate) const ABILITIES: [Ability; 10] = [
    Ability::ListNames,
    Ability::ReadData,
    Ability::FindKnown,
    Ability::WritePoints,
    Ability::ForgePoint,
    Ability::ChangeUnseen,
    Ability::PoisonBackups,
    Ability::VerifyBytes,
    Ability::ChangeKeys,
    Ability::Collect,
];

impl Ability {
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::ListNames => "list points with the names of VMs",
            Self::ReadData => "read what was backed up",
            Self::FindKnown => "find out whether bytes that it has are stored",
            Self::WritePoints => "write recovery points that the owner can read",
            Self::ForgePoint => "make a point that passes for one of another host's VM",
            Self::ChangeUnseen => "change or remove another host's points unseen",
            Self::PoisonBackups => {
                "have another host's later backups rest on bytes that are not theirs"
            }
            Self::VerifyBytes => "find bytes that changed in the storage",
            Self::ChangeKeys => "list, add and remove keys, and rotate data keys",
            Self::Collect => "free what no point uses, and nothing else",
        }
    }
}

/// What a try shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It works.
    Can,
    /// It works for what is of the holder's own domain.
    Own,
    /// Something of it works, and who has the keys, or verifies, sees it.
    Seen,
    Cannot,
}

impl Verdict {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Can => "**can**",
            Self::Own => "in its domain",
            Self::Seen => "seen",
            Self::Cannot => "cannot",
        }
    }

    /// Of what is tried once in the own domain and once in the other.
    pub(crate) const fn of(own: bool, other: bool) -> Self {
        match (own, other) {
            (_, true) => Self::Can,
            (true, false) => Self::Own,
            (false, false) => Self::Cannot,
        }
    }
}
