//! Defects that the simulation can build into a session.
//!
//! A simulation that has never caught a defect proves nothing. Each planted bug is one that
//! somebody could write; the tests show that it is found. Outside of tests there are none.

/// A defect in the order of a commit.
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
