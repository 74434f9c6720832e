//! The answer to a block status request: one run of descriptors for each context.

use std::sync::Arc;

use super::server_error;
use crate::{
    error::{Error, Result, Violation},
    plan::Window,
    wire::reply::{Descriptor, ErrorChunk},
};

/// Most descriptors of one context accepted in one reply, however large the window.
const MAX_DESCRIPTORS: u64 = 1 << 20;

/// Contexts agreed on, by the id the server gave each.
pub(crate) type Contexts = Arc<[(u32, Arc<str>)]>;

/// A block status request being answered.
#[derive(Debug)]
pub(crate) struct StatusAssembly {
    window: Window,
    most: u64,
    contexts: Contexts,
    /// In the order of `contexts`; empty: not answered yet.
    runs: Vec<Vec<Descriptor>>,
    /// The run being received, and how far into the window it reaches.
    current: (usize, u64),
    failure: Option<Error>,
}

impl StatusAssembly {
    /// `grain`: no extent is shorter, if the server has promised so.
    pub(crate) fn new(window: Window, contexts: Contexts, grain: Option<u32>) -> Self {
        // One more than fit: the last may reach beyond the window.
        let fit = window.length / u64::from(grain.unwrap_or(1).max(1)) + 1;
        let runs = vec![Vec::new(); contexts.len()];
        Self {
            window,
            most: fit.min(MAX_DESCRIPTORS),
            contexts,
            runs,
            current: (0, 0),
            failure: None,
        }
    }

    pub(crate) fn window(&self) -> Window {
        self.window
    }

    /// Judges the announced number of descriptors, before any of them is waited for.
    pub(crate) fn admit(&self, count: u64) -> Result<(), Violation> {
        if count == 0 || count > self.most {
            return Err(Violation::new(format!(
                "block status of {count} extents for {} bytes",
                self.window.length
            )));
        }
        Ok(())
    }

    /// Begins the run of a context.
    pub(crate) fn begin(&mut self, id: u32) -> Result<(), Violation> {
        let Some(index) = self.contexts.iter().position(|(known, _)| *known == id) else {
            return Err(Violation::new("block status of a context not agreed on"));
        };
        if !self.runs[index].is_empty() {
            return Err(Violation::new("block status of one context twice"));
        }
        self.current = (index, 0);
        Ok(())
    }

    /// The next extent of the run begun last. What reaches beyond the window is cut off.
    pub(crate) fn push(&mut self, descriptor: Descriptor) -> Result<(), Violation> {
        let (index, reached) = self.current;
        let left = self.window.length.saturating_sub(reached);
        if descriptor.length == 0 {
            return Err(Violation::new("extent of no bytes"));
        }
        if left == 0 {
            return Err(Violation::new("extent past the end of the window"));
        }
        let length = descriptor.length.min(left);
        self.runs[index].push(Descriptor {
            length,
            ..descriptor
        });
        self.current.1 = reached + length;
        Ok(())
    }

    /// A chunk that says the request failed; the first one is kept.
    pub(crate) fn error(&mut self, chunk: &ErrorChunk) -> Result<(), Violation> {
        let error = server_error(chunk, self.window)?;
        self.failure.get_or_insert(error);
        Ok(())
    }

    /// The runs in the order of the contexts; the outer error is a violation, the inner one the server's own.
    pub(crate) fn finish(self) -> Result<Result<Vec<Vec<Descriptor>>>, Violation> {
        if let Some(failure) = self.failure {
            return Ok(Err(failure));
        }
        match self.runs.iter().position(Vec::is_empty) {
            Some(missing) => Err(Violation::new(format!(
                "block status without the context {}",
                self.contexts[missing].1
            ))),
            None => Ok(Ok(self.runs)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Window = Window {
        offset: 0,
        length: 4096,
    };

    fn assembly() -> StatusAssembly {
        StatusAssembly::new(
            WINDOW,
            Arc::from([(3, Arc::from("a")), (9, Arc::from("b"))]),
            Some(512),
        )
    }

    fn extent(length: u64) -> Descriptor {
        Descriptor { length, flags: 1 }
    }

    #[test]
    fn the_last_extent_is_cut_at_the_window() {
        let mut status = assembly();
        status.begin(9).unwrap();
        status.push(extent(u64::MAX)).unwrap();
        status.begin(3).unwrap();
        status.push(extent(512)).unwrap();
        status.push(extent(1024)).unwrap();
        assert_eq!(
            status.finish().unwrap().unwrap(),
            [vec![extent(512), extent(1024)], vec![extent(4096)]]
        );
    }

    #[test]
    fn what_was_not_asked_for_is_refused() {
        assert!(assembly().begin(4).is_err(), "unknown context");
        assert!(assembly().admit(10).is_err(), "more extents than blocks");
        assert!(assembly().admit(0).is_err());
        let mut status = assembly();
        status.begin(3).unwrap();
        assert!(status.push(extent(0)).is_err());
        status.push(extent(4096)).unwrap();
        assert!(status.push(extent(1)).is_err(), "past the window");
        assert!(status.begin(3).is_err(), "twice");
        assert!(status.finish().is_err(), "context b is missing");
    }

    proptest! {
        #[test]
        fn what_is_accepted_never_passes_the_window(lengths in prop::collection::vec(any::<u64>(), 1..9)) {
            let mut status = assembly();
            for id in [3, 9] {
                status.begin(id).unwrap();
                for length in &lengths {
                    if status.push(extent(length % 5000)).is_err() {
                        break;
                    }
                }
            }
            if let Ok(Ok(runs)) = status.finish() {
                for run in runs {
                    prop_assert!(run.iter().map(|extent| extent.length).sum::<u64>() <= 4096);
                }
            }
        }
    }
}
