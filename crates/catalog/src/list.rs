//! Lists: pages of bounded length, with a `WHERE` of what is asked for and nothing else.

use std::fmt::Write as _;

use sqlx::{AssertSqlSafe, any::AnyRow};

use crate::{Catalog, CatalogError, CatalogErrorKind, Object, row::Columns};

/// The longest page.
const LONGEST: u32 = 1000;

/// A page of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page<K> {
    /// Where the page before ended: its last key; `None`: the first page.
    pub after: Option<K>,
    /// At most so many, and never more than 1000.
    pub limit: u32,
}

impl<K> Page<K> {
    /// The first page.
    #[must_use]
    pub const fn first(limit: u32) -> Self {
        let after = None;
        Self { after, limit }
    }

    pub(crate) fn rows(&self) -> i64 {
        self.limit.min(LONGEST).into()
    }
}

impl<K> Default for Page<K> {
    fn default() -> Self {
        Self::first(LONGEST)
    }
}

#[derive(Debug)]
enum Value {
    Text(String),
    Number(i64),
}

/// The conditions of a query. One that is not asked for is not in the text, where it would keep the
/// database from using an index. Values are bound, never text.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    text: String,
    values: Vec<Value>,
}

impl Conditions {
    /// `condition` ends where the value's place is: `"name > "`.
    pub(crate) fn text(self, condition: &'static str, value: Option<impl ToString>) -> Self {
        self.value(condition, value.map(|value| Value::Text(value.to_string())))
    }

    pub(crate) fn number(self, condition: &'static str, value: Option<i64>) -> Self {
        self.value(condition, value.map(Value::Number))
    }

    /// A condition without a value.
    pub(crate) fn only(mut self, asked: bool, condition: &'static str) -> Self {
        if asked {
            self.join(condition);
        }
        self
    }

    /// `(first, second) > (…)` in the order of the columns.
    pub(crate) fn behind(
        mut self,
        columns: &'static str,
        key: Option<(impl ToString, impl ToString)>,
    ) -> Self {
        if let Some((first, second)) = key {
            self.join(columns);
            let number = self.values.len();
            self.put(format_args!(" > (${}, ${})", number + 1, number + 2));
            self.values.push(Value::Text(first.to_string()));
            self.values.push(Value::Text(second.to_string()));
        }
        self
    }

    /// `(time, second, third) < (…)`: what comes after a key in descending order.
    pub(crate) fn before(
        mut self,
        columns: &'static str,
        key: Option<(i64, impl ToString, impl ToString)>,
    ) -> Self {
        if let Some((time, second, third)) = key {
            self.join(columns);
            let number = self.values.len();
            let [one, two, three] = [1, 2, 3].map(|place| number + place);
            self.put(format_args!(" < (${one}, ${two}, ${three})"));
            self.values.push(Value::Number(time));
            self.values.push(Value::Text(second.to_string()));
            self.values.push(Value::Text(third.to_string()));
        }
        self
    }

    fn value(mut self, condition: &'static str, value: Option<Value>) -> Self {
        if let Some(value) = value {
            self.join(condition);
            self.values.push(value);
            self.put(format_args!("${}", self.values.len()));
        }
        self
    }

    /// The text of a query; the last value is the limit.
    pub(crate) fn query(&self, select: &str, order: &str) -> String {
        let (conditions, number) = (&self.text, self.values.len() + 1);
        format!("{select}{conditions} ORDER BY {order} LIMIT ${number}")
    }

    fn join(&mut self, condition: &'static str) {
        let word = if self.text.is_empty() { "WHERE" } else { "AND" };
        self.put(format_args!(" {word} {condition}"));
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        self.text.write_fmt(text).unwrap_or_default();
    }
}

impl Catalog {
    /// The rows of `select` that meet the conditions, in that order, at most `limit`.
    pub(crate) async fn select<T>(
        &self,
        select: &'static str,
        conditions: Conditions,
        order: &'static str,
        limit: i64,
        decode: impl Fn(&Columns<'_>) -> Result<T, CatalogError>,
    ) -> Result<Vec<T>, CatalogError> {
        let text = conditions.query(select, order);
        let mut query = sqlx::query(AssertSqlSafe(text));
        for value in conditions.values {
            query = match value {
                Value::Text(text) => query.bind(text),
                Value::Number(number) => query.bind(number),
            };
        }
        let rows = query.bind(limit).fetch_all(&self.pool).await;
        let rows = rows.map_err(|error| self.failed(error))?;
        rows.iter()
            .map(|row: &AnyRow| decode(&self.columns(row)))
            .collect()
    }
}

impl Catalog {
    /// The one row that `select` gives for a key.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn find<T>(
        &self,
        select: &'static str,
        (object, key): (Object, &str),
        decode: impl Fn(&Columns<'_>) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        let found = self.find_optional(select, key, decode).await?;
        let missing = || CatalogError::new(CatalogErrorKind::NotFound(object), key);
        found.ok_or_else(missing)
    }

    /// The same where it is no error that there is none.
    pub(crate) async fn find_optional<T>(
        &self,
        select: &'static str,
        key: &str,
        decode: impl Fn(&Columns<'_>) -> Result<T, CatalogError>,
    ) -> Result<Option<T>, CatalogError> {
        let row = sqlx::query(select).bind(key).fetch_optional(&self.pool);
        let row = row.await.map_err(|error| self.failed(error))?;
        row.map(|row| decode(&self.columns(&row))).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_asked_for_is_in_the_text() {
        let none = None::<String>;
        let empty = Conditions::default()
            .text("a = ", none)
            .only(false, "b IS NULL")
            .behind("(c, d)", None::<(String, String)>);
        assert_eq!(empty.text, "");
        let all = Conditions::default()
            .text("a = ", Some("it's"))
            .only(true, "b IS NULL")
            .behind("(c, d)", Some(("1", "2")))
            .number("e < ", Some(7));
        let expected = " WHERE a = $1 AND b IS NULL AND (c, d) > ($2, $3) AND e < $4";
        assert_eq!((all.text.as_str(), all.values.len()), (expected, 4));
    }

    #[test]
    fn no_page_is_longer_than_the_longest() {
        assert_eq!(Page::<u8>::first(u32::MAX).rows(), 1000);
        assert_eq!(Page::<u8>::first(7).rows(), 7);
    }
}
