//! One field of an expression: which values it has.

use super::error::{CalendarError, Wrong};

/// A second in the unit of the seconds' field.
pub(super) const SECOND: u32 = 1_000_000;

/// As many values as systemd takes for one field.
pub(super) const MAX_VALUES: usize = 241;

/// A value, or several: `5`, `5/10`, `1..7`, `1..7/2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Value {
    pub(super) start: u32,
    /// The end of a range. Without one, a repetition goes on to the end of the field.
    pub(super) stop: Option<u32>,
    /// 0 for one value.
    pub(super) step: u32,
}

impl Value {
    pub(super) fn one(start: u32) -> Self {
        Self {
            start,
            stop: None,
            step: 0,
        }
    }

    /// The first value from `from` on that is at most `highest`.
    pub(super) fn first_from(self, from: u32, highest: u32) -> Option<u32> {
        let found = if from <= self.start {
            self.start
        } else if self.step == 0 {
            return None;
        } else {
            let steps = (from - self.start).div_ceil(self.step);
            self.start.checked_add(steps.checked_mul(self.step)?)?
        };
        (found <= self.stop.unwrap_or(highest)).then_some(found)
    }

    /// A range ends where a repetition falls, and a range of one is a value.
    fn normalized(mut self) -> Self {
        if let Some(stop) = self.stop {
            if stop > self.start && self.step > 0 {
                self.stop = Some(stop - (stop - self.start) % self.step);
            }
            if self.stop == Some(self.start) {
                self = Self::one(self.start);
            }
        }
        self
    }
}

/// What a field's values can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) lowest: u32,
    pub(super) highest: u32,
    /// For messages: a value in the unit that people write.
    pub(super) unit: u32,
    /// Days from the end of the month: a repetition leads to lower numbers.
    pub(super) backwards: bool,
}

impl Field {
    const fn new(name: &'static str, lowest: u32, highest: u32) -> Self {
        Self {
            name,
            lowest,
            highest,
            unit: 1,
            backwards: false,
        }
    }

    pub(super) const YEAR: Self = Self::new("a year", 1970, 2199);
    pub(super) const MONTH: Self = Self::new("a month", 1, 12);
    pub(super) const DAY: Self = Self::new("a day", 1, 31);
    /// No more than every month has.
    pub(super) const DAY_FROM_END: Self = Self {
        backwards: true,
        ..Self::new("a day from the end of the month", 1, 28)
    };
    pub(super) const HOUR: Self = Self::new("an hour", 0, 23);
    pub(super) const MINUTE: Self = Self::new("a minute", 0, 59);
    pub(super) const SECOND: Self = Self {
        unit: SECOND,
        ..Self::new("a second", 0, 60 * SECOND - 1)
    };

    fn check(self, value: Value) -> Result<(), Wrong> {
        let out = Wrong::OutOfRange {
            field: self.name,
            lowest: self.lowest / self.unit,
            highest: self.highest / self.unit,
        };
        let inside = |number: u32| (self.lowest..=self.highest).contains(&number);
        if !inside(value.start) || !value.stop.is_none_or(inside) {
            return Err(out);
        }
        let repeats = match value.stop {
            Some(stop) if stop < value.start => return Err(Wrong::Backwards),
            Some(_) => true,
            None if self.backwards => value
                .start
                .checked_sub(value.step)
                .is_some_and(|first| first >= self.lowest),
            None => value.start.saturating_add(value.step) <= self.highest,
        };
        if !repeats || value.step > self.highest - self.lowest {
            return Err(Wrong::StepTooLarge(self.name));
        }
        Ok(())
    }
}

/// The values of a field, in order; none stand for all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Part(Vec<Value>);

impl Part {
    pub(super) const ANY: Self = Self(Vec::new());

    pub(super) fn one(value: u32) -> Self {
        Self::of([value])
    }

    pub(super) fn of<const N: usize>(values: [u32; N]) -> Self {
        Self(values.map(Value::one).to_vec())
    }

    pub(super) fn every_second() -> Self {
        Self(vec![Value {
            start: 0,
            stop: None,
            step: SECOND,
        }])
    }

    /// From values as they were written, each with its place.
    pub(super) fn new(field: Field, written: &[(Value, usize)]) -> Result<Self, CalendarError> {
        let mut values = Vec::with_capacity(written.len());
        for (value, at) in written {
            let value = value.normalized();
            field
                .check(value)
                .map_err(|wrong| CalendarError::new(*at, wrong))?;
            values.push(value);
        }
        values.sort_unstable();
        values.dedup();
        // With every whole second, the others are whole seconds, too, or they add something.
        let whole =
            |value: &Value| value.start.is_multiple_of(SECOND) && value.step.is_multiple_of(SECOND);
        let every = Self::every_second();
        if field == Field::SECOND && values.contains(&every.0[0]) && values.iter().all(whole) {
            return Ok(every);
        }
        Ok(Self(values))
    }

    pub(super) fn is_any(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn values(&self) -> &[Value] {
        &self.0
    }

    pub(super) fn is_one_value(&self) -> bool {
        matches!(self.0.as_slice(), [value] if value.step == 0)
    }

    /// The values as bits, counted from `lowest`; there are at most 64 of them.
    pub(super) fn bits(&self, lowest: u32, highest: u32) -> u64 {
        let mut bits = 0;
        for number in lowest..=highest {
            if self.has(number, highest) {
                bits |= 1 << (number - lowest);
            }
        }
        bits
    }

    /// Whether `number`, of a field that ends at `highest`, is one of them.
    pub(super) fn has(&self, number: u32, highest: u32) -> bool {
        self.is_any()
            || self
                .0
                .iter()
                .any(|value| value.first_from(number, highest) == Some(number))
    }

    /// The first value from `from` on.
    pub(super) fn first_from(&self, from: u32, highest: u32) -> Option<u32> {
        if self.is_any() {
            return (from <= highest).then_some(from);
        }
        let values = self.0.iter();
        values
            .filter_map(|value| value.first_from(from, highest))
            .min()
    }
}
