//! Defects that the simulation can build into sessions and collectors.
//!
//! A simulation that has never caught a defect proves nothing. Each planted bug is one that
//! somebody could write; the tests show that it is found. Outside of tests there are none.

/// A defect in the protocol of docs/format/commit-protocol.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlantedBug {
    /// The end object does not wait for the last data packs.
    EndBeforePacks,
    /// The end object does not wait for the last index run that it counts.
    EndBeforeIndex,
    /// The end object does not wait for the tree packs.
    EndBeforeTree,
    /// A name that is taken is seen as success.
    CommitIgnoresRival,
    /// Chunks of packs that were only seen count as known, though they may not be durable.
    TrustsWhatItSaw,
    /// A writer lists the plans before its begin object is put.
    PlansBeforeBegin,
    /// A writer uses chunks of packs that a plan condemns.
    IgnoresPlans,
    /// A writer inherits from a base that a plan drops, or that is gone.
    InheritsFromDropped,
    /// A writer does not look for its begin object after the commit.
    TrustsItsEnd,
    /// A collector does not wait for sessions that began before its claim.
    NoSecondList,
    /// A collector takes sessions that are old by the clock for dead, and does not abort them.
    TrustsClock,
    /// A collector deletes what it condemned, whoever has committed meanwhile.
    NothingStruckOff,
    /// A collector takes the number behind a plan that may be in effect.
    NumberListedAgain,
    /// A collector claims before the packs with moved parts are durable, and whoever finishes its plan
    /// believes it.
    ClaimsBeforeMoved,
    /// A collector does not take over what older plans say of moved parts.
    ForgetsMoved,
    /// A collector acts on marks that it only saw.
    UnsettledMarks,
    /// A collector deletes the end of a session before its begin.
    FreesEndFirst,
    /// A collector deletes the mark of an expired point before its packs and its end.
    UnmarksFirst,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Protocol {
    #[cfg(test)]
    pub(crate) planted: Option<PlantedBug>,
}

impl Protocol {
    #[cfg(test)]
    pub(crate) fn has(self, bug: PlantedBug) -> bool {
        self.planted == Some(bug)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the same call as in tests")]
    pub(crate) fn has(self, _bug: PlantedBug) -> bool {
        false
    }
}
