//! Memory for objects under way.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit in which it is given out: permits are `u32`.
const UNIT: u64 = 4096;

/// Bytes that may be under way at once; the rest waits.
#[derive(Debug, Clone)]
pub struct Budget {
    own: Pot,
    /// What this one is a part of.
    all: Option<Pot>,
}

#[derive(Debug, Clone)]
struct Pot {
    places: Arc<Semaphore>,
    units: u32,
}

/// Memory that is set aside until this is dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    _own: OwnedSemaphorePermit,
    _all: Option<OwnedSemaphorePermit>,
}

fn units_of(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

impl Pot {
    fn new(bytes: u64) -> Self {
        let units = units_of(bytes).max(1);
        let places = Arc::new(Semaphore::new(units as usize));
        Self { places, units }
    }

    async fn take(&self, units: u32) -> Option<OwnedSemaphorePermit> {
        let units = units.min(self.units);
        Arc::clone(&self.places)
            .acquire_many_owned(units)
            .await
            .ok()
    }
}

impl Budget {
    /// So many bytes, for all hosts together.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self {
            own: Pot::new(bytes),
            all: None,
        }
    }

    /// A part for one host: it cannot take more, and all parts cannot take more than there is.
    #[must_use]
    pub fn part(&self, bytes: u64) -> Self {
        Self {
            own: Pot::new(bytes.min(u64::from(self.own.units) * UNIT)),
            all: Some(self.own.clone()),
        }
    }

    /// The largest object for which there is room at all.
    #[must_use]
    pub fn most(&self) -> u64 {
        u64::from(self.own.units) * UNIT
    }

    /// Waits until so many bytes are free; more than there is are all there is. A call takes once, so
    /// calls do not wait for each other in a ring.
    pub(super) async fn take(&self, bytes: u64) -> Option<Reserved> {
        let units = units_of(bytes);
        let own = self.own.take(units).await?;
        let all = match &self.all {
            Some(all) => Some(all.take(units).await?),
            None => None,
        };
        Some(Reserved {
            _own: own,
            _all: all,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hosts_take_their_part_and_no_more_than_there_is() {
        let all = Budget::new(10 * UNIT);
        let (one, two) = (all.part(6 * UNIT), all.part(u64::MAX));
        assert_eq!((one.most(), two.most()), (6 * UNIT, 10 * UNIT));
        let held = one.take(6 * UNIT).await.unwrap();
        assert_eq!(one.own.places.available_permits(), 0);
        assert_eq!(all.own.places.available_permits(), 4);
        let more = two.take(4 * UNIT - 1).await.unwrap();
        assert_eq!(all.own.places.available_permits(), 0);
        drop((held, more));
        assert_eq!(all.own.places.available_permits(), 10);
        let whole = two.take(u64::MAX).await;
        assert!(whole.is_some());
    }
}
