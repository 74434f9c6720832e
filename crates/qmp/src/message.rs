//! What QEMU sends: one JSON object per line. Pure.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    CommandError, ErrorClass,
    error::{Error, ErrorKind},
};

/// Longest line that is accepted. The largest real reply, `query-named-block-nodes` of a VM with
/// many disks and long backing chains, stays under 1 MiB.
pub const MAX_LINE_BYTES: usize = 8 << 20;

/// QEMU's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// `10` of `10.0.2`.
    pub major: u32,
    /// `0` of `10.0.2`.
    pub minor: u32,
    /// `2` of `10.0.2`.
    pub micro: u32,
    /// What the packager added.
    pub package: String,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// QEMU's first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// Its version.
    pub version: Version,
    /// Capabilities it offers (`oob`).
    pub capabilities: Vec<String>,
}

/// Something that happened in QEMU.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its name (`BLOCK_JOB_COMPLETED`).
    pub name: String,
    /// Its data, as QEMU sent it; `null` when there is none.
    pub data: Value,
}

/// One decoded line.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Message {
    /// The first line.
    Greeting(Greeting),
    /// The answer to the command with this id.
    Reply {
        /// `None` when QEMU could not even read the command.
        id: Option<u64>,
        /// What it returned.
        result: Result<Value, CommandError>,
    },
    /// An event.
    Event(Event),
    /// A well-formed object of a kind this client does not know.
    Unknown,
}

#[derive(Deserialize)]
struct WireGreeting {
    version: WireVersion,
    #[serde(default)]
    capabilities: Vec<Value>,
}

#[derive(Deserialize)]
struct WireVersion {
    qemu: WireNumbers,
    #[serde(default)]
    package: String,
}

#[derive(Deserialize)]
struct WireNumbers {
    major: u32,
    minor: u32,
    micro: u32,
}

#[derive(Deserialize)]
struct WireError {
    class: String,
    desc: String,
}

impl Message {
    /// Decodes one line.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] when it is no JSON object, or a known kind of object with members
    /// of the wrong shape.
    pub fn decode(line: &[u8]) -> Result<Self, Error> {
        if line.len() > MAX_LINE_BYTES {
            return Err(Error::new(ErrorKind::Protocol, "the line is too long"));
        }
        let mut object: Map<String, Value> = serde_json::from_slice(line)
            .map_err(|source| malformed("a message is no JSON object").because(source))?;
        if let Some(greeting) = object.remove("QMP") {
            return Ok(Self::Greeting(decode_greeting(greeting)?));
        }
        if let Some(name) = object.remove("event") {
            let Value::String(name) = name else {
                return Err(malformed("an event's name is no text"));
            };
            let data = object.remove("data").unwrap_or(Value::Null);
            return Ok(Self::Event(Event { name, data }));
        }
        let id = object.get("id").and_then(Value::as_u64);
        if let Some(value) = object.remove("return") {
            return Ok(Self::Reply {
                id,
                result: Ok(value),
            });
        }
        if let Some(error) = object.remove("error") {
            let error: WireError = serde_json::from_value(error)
                .map_err(|source| malformed("an error reply is malformed").because(source))?;
            return Ok(Self::Reply {
                id,
                result: Err(CommandError {
                    class: ErrorClass::from_wire(&error.class),
                    description: error.desc,
                }),
            });
        }
        Ok(Self::Unknown)
    }
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Protocol, what)
}

fn decode_greeting(value: Value) -> Result<Greeting, Error> {
    let wire: WireGreeting = serde_json::from_value(value)
        .map_err(|source| malformed("the greeting is malformed").because(source))?;
    let WireNumbers {
        major,
        minor,
        micro,
    } = wire.version.qemu;
    Ok(Greeting {
        version: Version {
            major,
            minor,
            micro,
            package: wire.version.package,
        },
        capabilities: wire
            .capabilities
            .iter()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_greeting_tells_the_version() {
        let line = br#"{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10},
            "package": "Debian"}, "capabilities": ["oob"], "new": 1}}"#;
        let Message::Greeting(greeting) = Message::decode(line).expect("decodes") else {
            panic!("no greeting");
        };
        assert_eq!(greeting.version.to_string(), "10.0.2");
        assert_eq!(greeting.capabilities, ["oob"]);
    }

    #[test]
    fn an_unknown_event_with_unknown_members_is_an_event() {
        let line = br#"{"event":"FROM_THE_FUTURE","data":{"x":1},"timestamp":{},"more":[]}"#;
        assert_eq!(
            Message::decode(line).expect("decodes"),
            Message::Event(Event {
                name: "FROM_THE_FUTURE".to_owned(),
                data: json!({"x": 1}),
            })
        );
    }

    #[test]
    fn an_error_keeps_its_class_and_text() {
        let line = br#"{"id":7,"error":{"class":"CommandNotFound","desc":"no"}}"#;
        assert_eq!(
            Message::decode(line).expect("decodes"),
            Message::Reply {
                id: Some(7),
                result: Err(CommandError {
                    class: ErrorClass::CommandNotFound,
                    description: "no".to_owned(),
                }),
            }
        );
    }

    #[test]
    fn deep_nesting_is_refused_not_followed() {
        let line = "[".repeat(100_000);
        assert!(Message::decode(format!("{{\"return\":{line}").as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(line in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ignored = Message::decode(&line);
        }

        #[test]
        fn arbitrary_members_never_panic(
            key in "QMP|event|return|error|id|data",
            value in "null|1|-1|\"x\"|\\[\\]|\\{\\}|\\{\"class\":1\\}|1e400",
            id in "1|-1|\"a\"|18446744073709551616",
        ) {
            let _ignored = Message::decode(format!("{{\"{key}\":{value},\"id\":{id}}}").as_bytes());
        }

        #[test]
        fn a_reply_comes_back_as_it_was(id in any::<u64>(), text in ".*") {
            let line = json!({"return": text, "id": id}).to_string();
            let decoded = Message::decode(line.as_bytes()).expect("decodes");
            prop_assert_eq!(decoded, Message::Reply { id: Some(id), result: Ok(Value::String(text)) });
        }
    }
}
