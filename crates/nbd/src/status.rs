//! Block status for callers: by context name, and merged over many replies. Pure.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    error::{Error, ErrorKind, Result},
    plan::Window,
    wire::reply::Descriptor,
};

/// Extents by context, each run beginning at the offset asked for, without gaps.
pub type BlockStatus = BTreeMap<Arc<str>, Vec<Descriptor>>;

/// Most extents of one context [`crate::Client::map`] keeps (128 MiB of memory).
pub const MAX_MAP_EXTENTS: usize = 8 << 20;

/// The part of a run, which begins at `from`, that lies in `window`.
pub(crate) fn clip(run: &[Descriptor], from: u64, window: Window) -> Vec<Descriptor> {
    let mut at = from;
    let mut kept = Vec::new();
    for descriptor in run {
        let (start, end) = (
            at.max(window.offset),
            (at + descriptor.length).min(window.end()),
        );
        if start < end {
            kept.push(Descriptor {
                length: end - start,
                flags: descriptor.flags,
            });
        }
        at += descriptor.length;
    }
    kept
}

/// The extents of a window, gathered from replies that may each cover a part of it, and of each context another.
#[derive(Debug)]
pub(crate) struct Gathering {
    window: Window,
    /// How far each context is covered, and its extents so far.
    contexts: BTreeMap<Arc<str>, (u64, Vec<Descriptor>)>,
}

impl Gathering {
    pub(crate) fn new(window: Window, contexts: impl IntoIterator<Item = Arc<str>>) -> Self {
        let contexts = contexts
            .into_iter()
            .map(|name| (name, (window.offset, Vec::new())))
            .collect();
        Self { window, contexts }
    }

    /// What is still to be asked for: from the first byte that some context does not cover.
    pub(crate) fn missing(&self) -> Option<Window> {
        let offset = self.contexts.values().map(|(covered, _)| *covered).min()?;
        (offset < self.window.end()).then(|| Window {
            offset,
            length: self.window.end() - offset,
        })
    }

    /// Adds a reply to a request for status from `from` on.
    pub(crate) fn add(&mut self, from: u64, status: &BlockStatus) -> Result<()> {
        for (name, (covered, extents)) in &mut self.contexts {
            let missing = Window {
                offset: *covered,
                length: self.window.end() - *covered,
            };
            let run = status.get(name).map(Vec::as_slice).unwrap_or_default();
            for descriptor in clip(run, from, missing) {
                *covered += descriptor.length;
                let full = extents.len() == MAX_MAP_EXTENTS;
                match extents.last_mut() {
                    Some(last) if last.flags == descriptor.flags => {
                        last.length += descriptor.length;
                    }
                    _ if full => {
                        return Err(Error::new(
                            ErrorKind::TooFragmented,
                            format!("{name}: ask for a smaller window"),
                        ));
                    }
                    _ => extents.push(descriptor),
                }
            }
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> BlockStatus {
        self.contexts
            .into_iter()
            .map(|(name, (_, extents))| (name, extents))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn extent(length: u64, flags: u64) -> Descriptor {
        Descriptor { length, flags }
    }

    #[test]
    fn contexts_advance_each_at_its_own_pace_and_neighbours_merge() {
        let mut gathering = Gathering::new(
            Window {
                offset: 100,
                length: 100,
            },
            ["a".into(), "b".into()],
        );
        gathering
            .add(
                100,
                &BTreeMap::from([
                    ("a".into(), vec![extent(10, 1)]),
                    ("b".into(), vec![extent(60, 0)]),
                ]),
            )
            .unwrap();
        assert_eq!(
            gathering.missing(),
            Some(Window {
                offset: 110,
                length: 90
            })
        );
        gathering
            .add(
                110,
                &BTreeMap::from([
                    ("a".into(), vec![extent(90, 1)]),
                    ("b".into(), vec![extent(60, 0), extent(30, 1)]),
                ]),
            )
            .unwrap();
        assert_eq!(gathering.missing(), None);
        let status = gathering.finish();
        assert_eq!(status["a"], [extent(100, 1)]);
        assert_eq!(status["b"], [extent(70, 0), extent(30, 1)]);
    }

    proptest! {
        #[test]
        fn clipping_keeps_each_byte_of_the_window(lengths in prop::collection::vec(1_u64..20, 0..20), offset in 0_u64..100, length in 0_u64..100) {
            let run: Vec<_> = lengths.iter().zip(0..).map(|(length, flags)| extent(*length, flags)).collect();
            let flags_at = |run: &[Descriptor], from: u64, at: u64| {
                let mut end = from;
                run.iter().find(|extent| { end += extent.length; at < end }).map(|extent| extent.flags)
            };
            let window = Window { offset, length };
            let clipped = clip(&run, 10, window);
            let start = offset.max(10);
            for at in start..window.end() {
                prop_assert_eq!(flags_at(&clipped, start, at), flags_at(&run, 10, at));
            }
        }
    }
}
