//! Columns to types and back.

use std::str::FromStr;

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sqlx::{Row as _, any::AnyRow};
use tresor_model::VerifyShare;

use crate::{CatalogError, CatalogErrorKind};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A row of the database at `place`. What does not decode makes the database damaged.
pub(crate) struct Columns<'a> {
    pub(crate) row: &'a AnyRow,
    pub(crate) place: &'a str,
}

impl Columns<'_> {
    pub(crate) fn text(&self, column: &str) -> Result<String, CatalogError> {
        self.row
            .try_get(column)
            .map_err(|error| self.damaged(error))
    }

    pub(crate) fn optional_text(&self, column: &str) -> Result<Option<String>, CatalogError> {
        self.row
            .try_get(column)
            .map_err(|error| self.damaged(error))
    }

    pub(crate) fn signed(&self, column: &str) -> Result<i64, CatalogError> {
        self.row
            .try_get(column)
            .map_err(|error| self.damaged(error))
    }

    pub(crate) fn unsigned(&self, column: &str) -> Result<u64, CatalogError> {
        u64::try_from(self.signed(column)?).map_err(|error| self.damaged(error))
    }

    pub(crate) fn flag(&self, column: &str) -> Result<bool, CatalogError> {
        Ok(self.signed(column)? != 0)
    }

    pub(crate) fn time(&self, column: &str) -> Result<Timestamp, CatalogError> {
        let micros = self.signed(column)?;
        Timestamp::from_microsecond(micros).map_err(|error| self.damaged(error))
    }

    pub(crate) fn optional_time(&self, column: &str) -> Result<Option<Timestamp>, CatalogError> {
        let micros = self.optional_signed(column)?;
        let time = micros.map(Timestamp::from_microsecond).transpose();
        time.map_err(|error| self.damaged(error))
    }

    pub(crate) fn optional_share(&self, column: &str) -> Result<Option<VerifyShare>, CatalogError> {
        let Some(millionths) = self.optional_signed(column)? else {
            return Ok(None);
        };
        let share = VerifyShare::from_millionths(u64::try_from(millionths).unwrap_or(0));
        share.map(Some).map_err(|error| self.damaged(error))
    }

    pub(crate) fn optional_unsigned(&self, column: &str) -> Result<Option<u64>, CatalogError> {
        let number = self.optional_signed(column)?.map(u64::try_from);
        number.transpose().map_err(|error| self.damaged(error))
    }

    fn optional_signed(&self, column: &str) -> Result<Option<i64>, CatalogError> {
        self.row
            .try_get(column)
            .map_err(|error| self.damaged(error))
    }

    pub(crate) fn id<T>(&self, column: &str) -> Result<T, CatalogError>
    where
        T: FromStr<Err: Into<Source>>,
    {
        self.text(column)?
            .parse()
            .map_err(|error: T::Err| self.damaged(error))
    }

    pub(crate) fn optional_id<T>(&self, column: &str) -> Result<Option<T>, CatalogError>
    where
        T: FromStr<Err: Into<Source>>,
    {
        let text = self.optional_text(column)?;
        text.map(|text| text.parse().map_err(|error: T::Err| self.damaged(error)))
            .transpose()
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, CatalogError> {
        from_json(&self.text(column)?).map_err(|error| self.damaged(error))
    }

    pub(crate) fn optional_json<T: DeserializeOwned>(
        &self,
        column: &str,
    ) -> Result<Option<T>, CatalogError> {
        let text = self.optional_text(column)?;
        text.map(|text| from_json(&text).map_err(|error| self.damaged(error)))
            .transpose()
    }

    /// A value that serializes as one word.
    pub(crate) fn word<T: DeserializeOwned>(&self, column: &str) -> Result<T, CatalogError> {
        let word = Value::String(self.text(column)?);
        serde_json::from_value(word).map_err(|error| self.damaged(error))
    }

    fn damaged(&self, source: impl Into<Source>) -> CatalogError {
        CatalogError::new(CatalogErrorKind::Damaged, self.place).caused_by(source)
    }
}

pub(crate) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text)
}

/// JSON for a TEXT column.
pub(crate) fn to_json<T: Serialize>(place: &str, value: &T) -> Result<String, CatalogError> {
    serde_json::to_string(value)
        .map_err(|error| CatalogError::new(CatalogErrorKind::Unusable, place).caused_by(error))
}

/// JSON for a TEXT column that may be NULL.
pub(crate) fn to_optional_json<T: Serialize>(
    place: &str,
    value: Option<&T>,
) -> Result<Option<String>, CatalogError> {
    value.map(|value| to_json(place, value)).transpose()
}

/// A value that serializes as one word, bare, so that it can be read and compared in SQL.
pub(crate) fn to_word<T: Serialize>(place: &str, value: &T) -> Result<String, CatalogError> {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => Ok(word),
        other => {
            let reason = format!("not one word: {other:?}");
            Err(CatalogError::new(CatalogErrorKind::Unusable, place).caused_by(reason))
        }
    }
}

/// A time for a BIGINT column.
pub(crate) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// A count for a BIGINT column. Beyond 2^63 - 1 no disk, log or vault can be: clamped.
pub(crate) fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
