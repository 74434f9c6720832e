//! Reading of heads and documents: JSON whose size somebody has bounded.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Malformed, malformed};

/// Reads what may have members that this program does not know: they are passed over.
///
/// # Errors
/// When it is not what is expected.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))
}

/// Reads what may have no member that this program does not know, at any depth: none is dropped
/// without a word.
///
/// # Errors
/// When it is not what is expected.
pub fn read_strictly<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, Malformed> {
    let sent: Value = read(bytes)?;
    let kept = T::deserialize(&sent).map_err(|error| malformed(error.to_string()))?;
    let again = serde_json::to_value(&kept).map_err(|error| malformed(error.to_string()))?;
    match unknown(&sent, &again) {
        None => Ok(kept),
        Some(member) => Err(malformed(format!("the member {member:?} is not known"))),
    }
}

/// The first member that was sent and is not kept.
fn unknown<'a>(sent: &'a Value, kept: &Value) -> Option<&'a str> {
    match (sent, kept) {
        (Value::Object(sent), Value::Object(kept)) => {
            sent.iter().find_map(|(name, value)| match kept.get(name) {
                Some(kept) => unknown(value, kept),
                None => Some(name.as_str()),
            })
        }
        (Value::Array(sent), Value::Array(kept)) => {
            let pairs = sent.iter().zip(kept);
            pairs
                .into_iter()
                .find_map(|(sent, kept)| unknown(sent, kept))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Outer {
        a: u8,
        #[serde(default)]
        b: Option<Vec<Inner>>,
        free: Value,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Inner {
        c: u8,
    }

    #[test]
    fn a_member_that_would_be_dropped_is_named() {
        for (text, unknown) in [
            (r#"{"a":1,"free":{"any":[1,{"thing":2}]}}"#, None),
            (r#"{"a":1,"b":[{"c":1}],"free":null}"#, None),
            (r#"{"a":1,"free":1,"d":2}"#, Some("\"d\"")),
            (
                r#"{"a":1,"b":[{"c":1},{"c":2,"e":3}],"free":1}"#,
                Some("\"e\""),
            ),
            (r#"{"a":1,"d":null,"free":1}"#, Some("\"d\"")),
        ] {
            let strict = read_strictly::<Outer>(text.as_bytes());
            assert!(read::<Outer>(text.as_bytes()).is_ok(), "{text}");
            match unknown {
                None => assert!(strict.is_ok(), "{text}: {strict:?}"),
                Some(name) => assert!(strict.unwrap_err().to_string().contains(name), "{text}"),
            }
        }
        assert!(read::<Outer>(b"{").is_err());
    }
}
