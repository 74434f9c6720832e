//! Two ends of a link, and one end with a peer that does not keep to the protocol.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod decoder;
mod greeting;
mod pair;
mod random;
mod streams;
mod violations;
