//! Lists in pages: `limit` and an opaque `cursor`.

use std::str::FromStr;

use axum::Json;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tresor_api_types::Paged;

use crate::failure::{Answer, Failure};

const LONGEST: u32 = 500;
const USUAL: u32 = 100;
/// No key is that long.
const LONGEST_CURSOR: usize = 1000;

/// Which page is asked for.
pub(crate) struct Bounds<K> {
    list: &'static str,
    limit: u32,
    pub(crate) after: Option<K>,
}

impl<K: FromStr> Bounds<K> {
    /// A cursor that this list did not give is refused.
    pub(crate) fn new(
        list: &'static str,
        limit: Option<u32>,
        cursor: Option<&str>,
    ) -> Answer<Self> {
        let limit = limit.unwrap_or(USUAL);
        if !(1..=LONGEST).contains(&limit) {
            let what = format!("`limit` is {limit}; 1 to {LONGEST} are possible.");
            return Err(Failure::malformed(what));
        }
        let bad = || Failure::malformed("`cursor` is none that this list gave as `next`.");
        let after = match cursor {
            Some(cursor) => Some(open(list, cursor).ok_or_else(bad)?),
            None => None,
        };
        Ok(Self { list, limit, after })
    }

    /// How many to read: one more than asked for tells whether there is a next page.
    pub(crate) fn read(&self) -> u32 {
        self.limit + 1
    }

    /// The page, of what was read.
    pub(crate) fn page<R, T>(
        &self,
        mut records: Vec<R>,
        key: impl Fn(&R) -> String,
        view: impl Fn(R) -> T,
    ) -> Json<Paged<T>> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = records.len() > limit;
        records.truncate(limit);
        let last = records.last().filter(|_| more);
        let next = last.map(|last| seal(self.list, &key(last)));
        let items = records.into_iter().map(view).collect();
        Json(Paged { items, next })
    }
}

fn seal(list: &str, key: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list}\n{key}"))
}

fn open<K: FromStr>(list: &str, cursor: &str) -> Option<K> {
    if cursor.len() > LONGEST_CURSOR {
        return None;
    }
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let key = text.strip_prefix(list)?.strip_prefix('\n')?;
    key.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_of_one_list_and_goes_on_behind_the_last() {
        let bounds = Bounds::<u32>::new("jobs", Some(2), None).unwrap();
        assert_eq!(bounds.read(), 3);
        let Json(page) = bounds.page(vec![1, 2, 3], ToString::to_string, |number| number);
        assert_eq!(page.items, [1, 2]);
        let next = page.next.unwrap();
        let bounds = Bounds::<u32>::new("jobs", None, Some(&next)).unwrap();
        assert_eq!(bounds.after, Some(2));
        assert!(Bounds::<u32>::new("points", None, Some(&next)).is_err());
        let Json(last) = bounds.page(vec![3], ToString::to_string, |number| number);
        assert_eq!((last.items, last.next), (vec![3], None));
    }

    #[test]
    fn what_is_no_cursor_and_no_limit_is_refused() {
        for cursor in ["", "x", "%%%", "am9icwox\n", &"A".repeat(2000)] {
            assert!(
                Bounds::<u32>::new("jobs", None, Some(cursor)).is_err(),
                "{cursor}"
            );
        }
        for limit in [0, 501, u32::MAX] {
            assert!(
                Bounds::<u32>::new("jobs", Some(limit), None).is_err(),
                "{limit}"
            );
        }
    }
}
