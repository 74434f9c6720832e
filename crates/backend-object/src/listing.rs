//! Lists without what others put below the same prefix.
//!
//! The store's library makes a path of every key in an answer. One that is none (`a//b`) fails the
//! whole list, and keys with a `/` at an end are shown without it, as objects that are not there. No
//! object of a vault has such a key, so entries with one are taken out where the answer arrives.

use bytes::Bytes;
use http::{Method, Uri};

/// Most of an answer that is read (I8): Azure gives 5,000 names at once, each with some 1,000 bytes
/// about it.
pub(crate) const MAX_ANSWER: usize = 32 << 20;

/// What holds an entry, and what in it holds the key: of S3 and Google, of Azure.
const ENTRIES: [(&str, &str); 2] = [("Contents", "Key"), ("Blob", "Name")];

/// Whether a request asks for a list.
pub(crate) fn is_asked(method: &Method, uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    let mut words = query.split('&');
    method == Method::GET && words.any(|word| word == "list-type=2" || word == "comp=list")
}

/// The answer without entries that are not a vault's.
pub(crate) fn without_foreign(answer: Bytes) -> Bytes {
    let Ok(text) = std::str::from_utf8(&answer) else {
        return answer;
    };
    for (entry, key) in ENTRIES {
        if text.contains(&format!("<{entry}>")) {
            return Bytes::from(filter(text, entry, key));
        }
    }
    answer
}

fn filter(text: &str, entry: &str, key: &str) -> String {
    let (open, close) = (format!("<{entry}>"), format!("</{entry}>"));
    let (open_key, close_key) = (format!("<{key}>"), format!("</{key}>"));
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find(&open) {
        let Some(len) = rest[begin..].find(&close) else {
            break;
        };
        let end = begin + len + close.len();
        let inner = &rest[begin..end];
        let name = inner.split_once(&open_key).map(|(_, name)| name);
        let name = name.and_then(|name| name.split_once(&close_key));
        kept.push_str(&rest[..begin]);
        if name.is_none_or(|(name, _)| is_plain(name)) {
            kept.push_str(inner);
        }
        rest = &rest[end..];
    }
    kept.push_str(rest);
    kept
}

/// Segments of what prefixes and names of objects are made of ([`crate::Place`]).
fn is_plain(key: &str) -> bool {
    key.split('/').all(|segment| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(plain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_asks_for_a_list() {
        for (method, uri, want) in [
            (Method::GET, "http://h/b?list-type=2&prefix=a%2F", true),
            (Method::GET, "http://h/c?restype=container&comp=list", true),
            (Method::GET, "http://h/b/list-type=2", false),
            (Method::GET, "http://h/b/k", false),
            (Method::DELETE, "http://h/b?list-type=2", false),
        ] {
            assert_eq!(is_asked(&method, &uri.parse().unwrap()), want, "{uri}");
        }
    }

    #[test]
    fn keys_that_are_no_objects_are_left_out() {
        let s3 = |keys: &[&str]| {
            let entry = |key: &&str| format!("<Contents><Size>1</Size><Key>{key}</Key></Contents>");
            let entries: String = keys.iter().map(entry).collect();
            format!("<ListBucketResult><Name>b</Name>{entries}<Token>t</Token></ListBucketResult>")
        };
        let azure = |keys: &[&str]| {
            let entry = |key: &&str| format!("<Blob><Name>{key}</Name></Blob>");
            let entries: String = keys.iter().map(entry).collect();
            format!("<EnumerationResults><Blobs>{entries}</Blobs></EnumerationResults>")
        };
        let all = [
            "a/b", "a//b", "/a", "a/", "A.b-c_d", "a/../b", "a/.", "", "a b", "a&amp;b", "ä", "z",
        ];
        let ours = ["a/b", "A.b-c_d", "z"];
        for answer in [s3, azure] {
            let kept = without_foreign(Bytes::from(answer(&all)));
            assert_eq!(kept, answer(&ours));
            let none = answer(&[]);
            assert_eq!(without_foreign(Bytes::from(none.clone())), none);
        }
    }

    #[test]
    fn what_is_no_list_stays_as_it_is() {
        for text in [
            "",
            "<Contents>",
            "<Contents></Contents>",
            "<Contents><Key>a//b",
            "<Error><Code>x</Code></Error>",
        ] {
            assert_eq!(without_foreign(Bytes::from(text)), text);
        }
        let bytes = Bytes::from_static(b"<Contents>\xff");
        assert_eq!(without_foreign(bytes.clone()), bytes);
    }
}
