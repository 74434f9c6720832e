//! The kinds of objects. A kind that the format has and this list has not fails a test.

use std::collections::BTreeSet;
use std::path::Path;

use tresor_vault_format::name;
use tresor_vault_format::name::{PlanObject, SessionObject};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Header,
    KeySlot,
    KeyRing,
    DataPack,
    TreePack,
    IndexRun,
    Begin,
    End,
    ExpiryMark,
    DamageMark,
    PointState,
    VaultLock,
    PlanClaim,
    Plan,
    PlanVerdict,
    PlanDone,
}

pub(crate) const KINDS: [Kind; 16] = [
    Kind::Header,
    Kind::KeySlot,
    Kind::KeyRing,
    Kind::DataPack,
    Kind::TreePack,
    Kind::IndexRun,
    Kind::Begin,
    Kind::End,
    Kind::ExpiryMark,
    Kind::DamageMark,
    Kind::PointState,
    Kind::VaultLock,
    Kind::PlanClaim,
    Kind::Plan,
    Kind::PlanVerdict,
    Kind::PlanDone,
];

impl Kind {
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::KeySlot => "key slot",
            Self::KeyRing => "key ring",
            Self::DataPack => "data pack",
            Self::TreePack => "tree pack",
            Self::IndexRun => "index run",
            Self::Begin => "session begin",
            Self::End => "session end",
            Self::ExpiryMark => "expiry mark",
            Self::DamageMark => "damage mark",
            Self::PointState => "point state",
            Self::VaultLock => "vault lock",
            Self::PlanClaim => "claim of a plan that waits",
            Self::Plan => "plan that waits",
            Self::PlanVerdict => "verdict of a plan that is done",
            Self::PlanDone => "done mark of a plan",
        }
    }

    pub(crate) const fn magic(self) -> &'static str {
        match self {
            Self::Header => "TRESORVH",
            Self::KeySlot => "TRESORKS",
            Self::KeyRing => "TRESORKR",
            Self::DataPack | Self::TreePack => "TRESORPK",
            Self::IndexRun => "TRESORIX",
            Self::Begin => "TRESORSB",
            Self::End => "TRESORSE",
            Self::ExpiryMark => "TRESORSX",
            Self::DamageMark => "TRESORDM",
            Self::PointState => "TRESORST",
            Self::VaultLock => "TRESORLK",
            Self::PlanClaim => "TRESORPC",
            Self::Plan => "TRESORPL",
            Self::PlanVerdict => "TRESORPV",
            Self::PlanDone => "TRESORPD",
        }
    }

    /// The kind of an object by its name, and for packs by the byte that says it.
    pub(crate) fn of(object: &str, bytes: &[u8]) -> Option<Self> {
        if name::parse_pack(object).is_some() {
            return match bytes.get(10)? {
                1 => Some(Self::DataPack),
                2 => Some(Self::TreePack),
                _ => None,
            };
        }
        match object {
            name::VAULT => Some(Self::Header),
            _ if object.starts_with(name::SLOTS) => Some(Self::KeySlot),
            _ if object.starts_with(name::RINGS) => Some(Self::KeyRing),
            _ if name::parse_index_run(object).is_some() => Some(Self::IndexRun),
            _ if name::parse_expired(object).is_some() => Some(Self::ExpiryMark),
            _ if name::parse_damaged(object).is_some() => Some(Self::DamageMark),
            _ if object.starts_with(name::STATES) => Some(Self::PointState),
            _ if name::parse_lock(object).is_some() => Some(Self::VaultLock),
            _ if object.starts_with(name::PLANS) => Some(match name::parse_plan_object(object)? {
                PlanObject::Claim(_) => Self::PlanClaim,
                PlanObject::Plan(..) => Self::Plan,
                PlanObject::Verdict(_) => Self::PlanVerdict,
                PlanObject::Done(_) => Self::PlanDone,
            }),
            _ => match name::parse_session_object(object)? {
                SessionObject::Begin(_) => Some(Self::Begin),
                SessionObject::End(_) => Some(Self::End),
            },
        }
    }

    /// Whether it is about all points.
    pub(crate) const fn is_shared(self) -> bool {
        matches!(
            self,
            Self::Header | Self::KeySlot | Self::KeyRing | Self::VaultLock
        ) || self.is_of_plan()
    }

    pub(crate) const fn is_of_plan(self) -> bool {
        matches!(
            self,
            Self::PlanClaim | Self::Plan | Self::PlanVerdict | Self::PlanDone
        )
    }
}

/// Every magic in the format's source: `TRESOR` and two letters.
fn magics() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../vault-format/src")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                dirs.push(entry.path());
                continue;
            }
            let text = std::fs::read_to_string(entry.path()).unwrap();
            for quoted in text.split("b\"TRESOR").skip(1) {
                found.insert(format!("TRESOR{}", quoted.split('"').next().unwrap()));
            }
        }
    }
    found
}

/// The end of a pack has a magic too; a table of a machine's cache is not in a vault.
const OTHERS: [&str; 2] = ["TRESORPE", "TRESORKT"];

#[test]
fn every_kind_of_the_format_is_in_the_matrix() {
    let known: BTreeSet<String> = KINDS
        .iter()
        .map(|kind| kind.magic().to_owned())
        .chain(OTHERS.map(str::to_owned))
        .collect();
    let missing: Vec<_> = magics().difference(&known).cloned().collect();
    assert!(missing.is_empty(), "add to the matrix: {missing:?}");
    assert!(magics().len() > 7, "the magics were not found");
}
