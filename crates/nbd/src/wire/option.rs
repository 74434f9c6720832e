//! Option haggling: the messages of the handshake.

use bytes::{BufMut, BytesMut};

use super::{Fields, MAX_STRING, printable};
use crate::error::Violation;

pub(crate) const GREETING_MAGIC: u64 = 0x4e42_444d_4147_4943;
pub(crate) const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
const REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;

/// Handshake flags of the server, and the client's flags that answer them.
pub(crate) const FIXED_NEWSTYLE: u16 = 1 << 0;
pub(crate) const NO_ZEROES: u16 = 1 << 1;

/// Longest option reply accepted: a string of the longest kind and the fields around it.
pub(crate) const MAX_OPTION_REPLY: u32 = 8192;
/// Most replies accepted to one option before its final one.
pub(crate) const MAX_REPLIES: usize = 1024;

/// The options this client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opt {
    Abort,
    Go,
    StructuredReply,
    ListMetaContext,
    SetMetaContext,
    ExtendedHeaders,
}

impl Opt {
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Abort => 2,
            Self::Go => 7,
            Self::StructuredReply => 8,
            Self::ListMetaContext => 9,
            Self::SetMetaContext => 10,
            Self::ExtendedHeaders => 11,
        }
    }

    pub(crate) fn encode(self, data: &[u8]) -> BytesMut {
        let mut out = BytesMut::with_capacity(16 + data.len());
        out.put_u64(OPTION_MAGIC);
        out.put_u32(self.number());
        put_length(&mut out, data.len());
        out.put_slice(data);
        out
    }
}

fn put_length(out: &mut BytesMut, length: usize) {
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

fn put_string(out: &mut BytesMut, text: &str) {
    put_length(out, text.len());
    out.put_slice(text.as_bytes());
}

const INFO_EXPORT: u16 = 0;
const INFO_BLOCK_SIZE: u16 = 3;

/// Data of `NBD_OPT_GO`: the export, and the wish to be told its block sizes.
pub(crate) fn encode_go(export: &str) -> BytesMut {
    let mut out = BytesMut::new();
    put_string(&mut out, export);
    out.put_u16(1);
    out.put_u16(INFO_BLOCK_SIZE);
    out
}

/// Data of the two metadata context options. No query at all asks `LIST` for everything.
pub(crate) fn encode_contexts(export: &str, queries: &[String]) -> BytesMut {
    let mut out = BytesMut::new();
    put_string(&mut out, export);
    put_length(&mut out, queries.len());
    for query in queries {
        put_string(&mut out, query);
    }
    out
}

/// Length of the header of an option reply.
pub(crate) const REPLY_HEADER: usize = 20;

/// Header of an option reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReplyHeader {
    kind: u32,
    /// Bytes that follow; at most [`MAX_OPTION_REPLY`].
    pub(crate) length: u32,
}

impl ReplyHeader {
    pub(crate) fn decode(bytes: &[u8; REPLY_HEADER], asked: Opt) -> Result<Self, Violation> {
        let mut fields = Fields::new(bytes);
        if fields.u64()? != REPLY_MAGIC {
            return Err(Violation::new("option reply without its magic"));
        }
        if fields.u32()? != asked.number() {
            return Err(Violation::new("reply to an option that was not sent"));
        }
        let (kind, length) = (fields.u32()?, fields.u32()?);
        if length > MAX_OPTION_REPLY {
            return Err(Violation::new(format!("option reply of {length} bytes")));
        }
        Ok(Self { kind, length })
    }
}

/// Why a server refuses an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Unsupported,
    TlsRequired,
    UnknownExport,
    Other(u32),
}

/// An option reply, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Final: done.
    Ack,
    /// Final: refused, with the server's words.
    Refused(Refusal, String),
    /// Size and transmission flags of the export.
    Export { size: u64, flags: u16 },
    /// Minimum, preferred and maximum block size.
    BlockSize {
        minimum: u32,
        preferred: u32,
        maximum: u32,
    },
    /// A metadata context.
    Context { id: u32, name: String },
    /// Information of a type this client does not know; to be ignored.
    UnknownInfo,
}

const REP_ACK: u32 = 1;
const REP_INFO: u32 = 3;
const REP_META_CONTEXT: u32 = 4;
const REP_ERROR_BIT: u32 = 1 << 31;

impl Reply {
    pub(crate) fn decode(header: ReplyHeader, data: &[u8]) -> Result<Self, Violation> {
        match header.kind {
            REP_ACK if data.is_empty() => Ok(Self::Ack),
            REP_ACK => Err(Violation::new("acknowledgement with data")),
            REP_INFO => decode_info(data),
            REP_META_CONTEXT => decode_context(data),
            kind if kind & REP_ERROR_BIT != 0 => Ok(Self::Refused(refusal(kind), printable(data))),
            kind => Err(Violation::new(format!(
                "option reply of unknown type {kind}"
            ))),
        }
    }
}

fn refusal(kind: u32) -> Refusal {
    match kind & !REP_ERROR_BIT {
        1 => Refusal::Unsupported,
        5 => Refusal::TlsRequired,
        6 => Refusal::UnknownExport,
        other => Refusal::Other(other),
    }
}

fn decode_info(data: &[u8]) -> Result<Reply, Violation> {
    let mut fields = Fields::new(data);
    let reply = match fields.u16()? {
        INFO_EXPORT => Reply::Export {
            size: fields.u64()?,
            flags: fields.u16()?,
        },
        INFO_BLOCK_SIZE => Reply::BlockSize {
            minimum: fields.u32()?,
            preferred: fields.u32()?,
            maximum: fields.u32()?,
        },
        _ => return Ok(Reply::UnknownInfo),
    };
    if fields.rest().is_empty() {
        Ok(reply)
    } else {
        Err(Violation::new("information longer than its type"))
    }
}

fn decode_context(data: &[u8]) -> Result<Reply, Violation> {
    let mut fields = Fields::new(data);
    let id = fields.u32()?;
    let name = fields.rest();
    if name.len() > MAX_STRING {
        return Err(Violation::new(
            "context name longer than the protocol allows",
        ));
    }
    let name =
        std::str::from_utf8(name).map_err(|_| Violation::new("context name that is not UTF-8"))?;
    Ok(Reply::Context {
        id,
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(kind: u32, length: u32) -> [u8; REPLY_HEADER] {
        let mut out = BytesMut::new();
        out.put_u64(REPLY_MAGIC);
        out.put_u32(Opt::Go.number());
        out.put_u32(kind);
        out.put_u32(length);
        out[..].try_into().unwrap()
    }

    #[test]
    fn go_names_the_export_and_asks_for_block_sizes() {
        assert_eq!(encode_go("vda")[..], *b"\0\0\0\x03vda\0\x01\0\x03");
    }

    #[test]
    fn contexts_are_counted_and_length_prefixed() {
        let data = encode_contexts("", &["a:b".to_owned()]);
        assert_eq!(data[..], *b"\0\0\0\0\0\0\0\x01\0\0\0\x03a:b");
    }

    #[test]
    fn a_reply_to_another_option_or_too_long_is_refused() {
        assert!(ReplyHeader::decode(&header(REP_ACK, 0), Opt::StructuredReply).is_err());
        assert!(ReplyHeader::decode(&header(REP_ACK, MAX_OPTION_REPLY + 1), Opt::Go).is_err());
        assert!(ReplyHeader::decode(&header(REP_ACK, MAX_OPTION_REPLY), Opt::Go).is_ok());
    }

    #[test]
    fn unknown_information_is_passed_over_and_unknown_errors_refuse() {
        let info = ReplyHeader {
            kind: REP_INFO,
            length: 3,
        };
        assert_eq!(
            Reply::decode(info, &[0, 99, 1]).unwrap(),
            Reply::UnknownInfo
        );
        let error = ReplyHeader {
            kind: REP_ERROR_BIT | 77,
            length: 2,
        };
        assert_eq!(
            Reply::decode(error, b"no").unwrap(),
            Reply::Refused(Refusal::Other(77), "no".into())
        );
        assert!(
            Reply::decode(
                ReplyHeader {
                    kind: 50,
                    length: 0
                },
                &[]
            )
            .is_err()
        );
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(head: [u8; REPLY_HEADER], kind: u32, data in prop::collection::vec(any::<u8>(), 0..9000)) {
            if let Ok(header) = ReplyHeader::decode(&head, Opt::Go) {
                prop_assert!(header.length <= MAX_OPTION_REPLY);
            }
            for kind in [kind, kind % 6, kind | REP_ERROR_BIT] {
                match Reply::decode(ReplyHeader { kind, length: 0 }, &data) {
                    Ok(Reply::Context { name, .. }) => prop_assert!(name.len() <= MAX_STRING),
                    Ok(Reply::Refused(_, text)) => prop_assert!(text.chars().count() <= MAX_STRING),
                    _ => {}
                }
            }
        }
    }
}
