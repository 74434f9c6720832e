//! Lists, page by page: an array of JSON that is cut where it becomes long.

use serde::Serialize;

use super::{ENTRIES, Malformed, PAGE, malformed};

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The entries, as an array.
    pub body: Vec<u8>,
    /// Whether some were left out: to be asked for with what is behind the last one.
    pub more: bool,
}

/// As many entries as fit a page, but one at least.
///
/// # Errors
/// When an entry cannot be written.
pub fn page_of<T: Serialize>(entries: impl IntoIterator<Item = T>) -> Result<Page, Malformed> {
    let mut body = b"[".to_vec();
    for (nth, entry) in entries.into_iter().enumerate() {
        if body.len() > PAGE || nth >= ENTRIES as usize {
            body.push(b']');
            return Ok(Page { body, more: true });
        }
        if nth > 0 {
            body.push(b',');
        }
        serde_json::to_writer(&mut body, &entry).map_err(|error| malformed(error.to_string()))?;
    }
    body.push(b']');
    Ok(Page { body, more: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_where_it_becomes_long() {
        let page = page_of([1, 2]).unwrap();
        assert_eq!((page.body.as_slice(), page.more), (&b"[1,2]"[..], false));
        assert_eq!(page_of(Vec::<u8>::new()).unwrap().body, b"[]");
        let long = "a".repeat(PAGE);
        let page = page_of([&long, &long]).unwrap();
        let read: Vec<String> = serde_json::from_slice(&page.body).unwrap();
        assert_eq!((read.len(), page.more), (1, true));
        let many = page_of(0..ENTRIES + 1).unwrap();
        let read: Vec<u32> = serde_json::from_slice(&many.body).unwrap();
        assert_eq!((read.len(), many.more), (ENTRIES as usize, true));
        assert!(!page_of(0..ENTRIES).unwrap().more);
    }
}
