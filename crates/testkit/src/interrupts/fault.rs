//! What can happen to a backup.

use std::fmt;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Ctrl-C.
    Interrupt,
    /// `SIGTERM`, as systemd stops a service.
    Terminate,
    /// `tresor` is killed (`SIGKILL`).
    Kill,
    /// QEMU is killed.
    KillQemu,
    /// The guest switches itself off, without syncing.
    PowerOff,
    /// The file of the QMP socket is gone: nobody can connect any more.
    QmpGone,
    /// The QMP connection ends.
    QmpCut,
    /// The NBD connections end.
    NbdCut,
    /// The vault's file system has no space left.
    VaultFull,
    /// The vault's file system is read-only.
    VaultReadOnly,
    /// The vault's directory is gone.
    VaultGone,
    /// The clock jumps two days ahead.
    ClockForward,
    /// The clock jumps two days back.
    ClockBack,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Interrupt,
        Self::Terminate,
        Self::Kill,
        Self::KillQemu,
        Self::PowerOff,
        Self::QmpGone,
        Self::QmpCut,
        Self::NbdCut,
        Self::VaultFull,
        Self::VaultReadOnly,
        Self::VaultGone,
        Self::ClockForward,
        Self::ClockBack,
    ];

    /// Whether QEMU has ended with it.
    #[must_use]
    pub fn ends_qemu(self) -> bool {
        matches!(self, Self::KillQemu | Self::PowerOff)
    }

    /// How far the clock jumps, as libfaketime reads it.
    pub(super) fn clock(self) -> Option<&'static str> {
        match self {
            Self::ClockForward => Some("+2d"),
            Self::ClockBack => Some("-2d"),
            _ => None,
        }
    }

    /// Whether the program can free the VM of everything by itself, so that nothing may be left
    /// in QEMU when it has ended.
    pub(super) fn leaves_nothing(self) -> bool {
        !matches!(self, Self::Kill | Self::QmpGone) && !self.ends_qemu()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "Ctrl-C",
            Self::Terminate => "SIGTERM",
            Self::Kill => "kill -9 of tresor",
            Self::KillQemu => "kill -9 of QEMU",
            Self::PowerOff => "power-off from inside",
            Self::QmpGone => "QMP socket gone",
            Self::QmpCut => "QMP connection cut",
            Self::NbdCut => "NBD connections cut",
            Self::VaultFull => "vault full",
            Self::VaultReadOnly => "vault read-only",
            Self::VaultGone => "vault gone",
            Self::ClockForward => "clock two days ahead",
            Self::ClockBack => "clock two days back",
        })
    }
}
