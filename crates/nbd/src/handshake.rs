//! The handshake: from a fresh byte stream to an export and what was agreed on for it.

use std::{collections::BTreeMap, sync::Arc};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    address::{ReadHalf, WriteHalf},
    assembly::Contexts,
    error::{Error, ErrorKind, Result, Violation},
    info::{BlockSizes, ExportInfo},
    wire::{
        MAX_STRING,
        option::{
            FIXED_NEWSTYLE, GREETING_MAGIC, MAX_REPLIES, NO_ZEROES, OPTION_MAGIC, Opt,
            REPLY_HEADER, Refusal, Reply, ReplyHeader, encode_contexts, encode_go,
        },
        request::Framing,
    },
};

/// What client and server agreed on for one connection.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) info: ExportInfo,
    pub(crate) framing: Framing,
    /// In the order the caller asked for them; the ids are this connection's own.
    pub(crate) contexts: Contexts,
}

/// A connection in the handshake.
pub(crate) struct Handshake<'a> {
    read: &'a mut ReadHalf,
    write: &'a mut WriteHalf,
}

impl<'a> Handshake<'a> {
    /// Takes the greeting and answers it. The caller bounds the time.
    pub(crate) async fn begin(read: &'a mut ReadHalf, write: &'a mut WriteHalf) -> Result<Self> {
        let lost = "in the greeting";
        let magic = read.read_u64().await.map_err(Error::lost(lost))?;
        let style = read.read_u64().await.map_err(Error::lost(lost))?;
        if magic != GREETING_MAGIC || style != OPTION_MAGIC {
            return Err(Violation::new("not the greeting of an NBD server of the newstyle").into());
        }
        let flags = read.read_u16().await.map_err(Error::lost(lost))?;
        if flags & FIXED_NEWSTYLE == 0 {
            return Err(Error::new(
                ErrorKind::Refused,
                "the server is too old: no fixed newstyle",
            ));
        }
        let answer = u32::from(flags & (FIXED_NEWSTYLE | NO_ZEROES));
        write.write_u32(answer).await.map_err(Error::lost(lost))?;
        Ok(Self { read, write })
    }

    /// Agrees on framing and contexts, and enters transmission on the export.
    pub(crate) async fn enter(&mut self, export: &str, contexts: &[String]) -> Result<Session> {
        let outcome = self.negotiate(export, contexts).await;
        if let Err(error) = &outcome {
            self.part(error.kind()).await;
        }
        outcome
    }

    async fn negotiate(&mut self, export: &str, contexts: &[String]) -> Result<Session> {
        check_names(export, contexts)?;
        let framing = self.agree_on_framing().await?;
        let contexts = self.agree_on_contexts(export, contexts, framing).await?;
        let info = self.go(export).await?;
        Ok(Session {
            info,
            framing,
            contexts,
        })
    }

    /// The names of all contexts the server offers for an export; ends the session.
    pub(crate) async fn list_contexts(&mut self, export: &str) -> Result<Vec<String>> {
        check_names(export, &[])?;
        let outcome = async {
            if self.agree_on_framing().await? == Framing::Simple {
                return Ok(Vec::new());
            }
            self.offered_contexts(export).await
        }
        .await;
        self.part(ErrorKind::Disconnected).await;
        outcome
    }

    /// The widest framing the server knows.
    async fn agree_on_framing(&mut self) -> Result<Framing> {
        for (option, framing) in [
            (Opt::ExtendedHeaders, Framing::Extended),
            (Opt::StructuredReply, Framing::Structured),
        ] {
            let (_, refusal) = self.ask(option, &[]).await?;
            match refusal {
                None => return Ok(framing),
                Some((Refusal::TlsRequired, text)) => {
                    return Err(refused(Refusal::TlsRequired, &text));
                }
                // Any other refusal of a feature leaves the session as it was.
                Some(_) => {}
            }
        }
        Ok(Framing::Simple)
    }

    async fn agree_on_contexts(
        &mut self,
        export: &str,
        wanted: &[String],
        framing: Framing,
    ) -> Result<Contexts> {
        if wanted.is_empty() {
            return Ok(Arc::from([]));
        }
        if framing == Framing::Simple {
            return Err(Error::new(
                ErrorKind::ContextUnknown,
                "the server has no structured replies, thus no contexts",
            ));
        }
        let (replies, refusal) = self
            .ask(Opt::SetMetaContext, &encode_contexts(export, wanted))
            .await?;
        match refusal {
            None => {}
            Some((Refusal::Unsupported, _)) => {
                return Err(Error::new(
                    ErrorKind::ContextUnknown,
                    "the server has no metadata contexts",
                ));
            }
            Some((refusal, text)) => return Err(refused(refusal, &text)),
        }
        let ids = judge_contexts(replies, wanted)?;
        let mut contexts = Vec::with_capacity(wanted.len());
        for name in wanted {
            let Some(id) = ids.get(name) else {
                return Err(self.unknown_context(export, name).await);
            };
            contexts.push((*id, Arc::from(name.as_str())));
        }
        Ok(contexts.into())
    }

    /// The error for a context the server does not have, with what it has instead.
    async fn unknown_context(&mut self, export: &str, name: &str) -> Error {
        match self.offered_contexts(export).await {
            Ok(offered) => Error::new(
                ErrorKind::ContextUnknown,
                format!("{name}; the server offers: {}", offered.join(", ")),
            ),
            Err(_) => Error::new(ErrorKind::ContextUnknown, name.to_owned()),
        }
    }

    async fn offered_contexts(&mut self, export: &str) -> Result<Vec<String>> {
        let (replies, refusal) = self
            .ask(Opt::ListMetaContext, &encode_contexts(export, &[]))
            .await?;
        match refusal {
            None => {}
            Some((Refusal::Unsupported, _)) => return Ok(Vec::new()),
            Some((refusal, text)) => return Err(refused(refusal, &text)),
        }
        let names = replies.into_iter().filter_map(|reply| match reply {
            Reply::Context { name, .. } => Some(name),
            _ => None,
        });
        Ok(names.collect())
    }

    async fn go(&mut self, export: &str) -> Result<ExportInfo> {
        let (replies, refusal) = self.ask(Opt::Go, &encode_go(export)).await?;
        if let Some((refusal, text)) = refusal {
            return Err(refused(refusal, &text));
        }
        Ok(judge_info(&replies)?)
    }

    /// Sends an option and takes replies to the final one: what came before it, and the refusal if it is one.
    async fn ask(
        &mut self,
        option: Opt,
        data: &[u8],
    ) -> Result<(Vec<Reply>, Option<(Refusal, String)>)> {
        let lost = "in the handshake";
        self.write
            .write_all(&option.encode(data))
            .await
            .map_err(Error::lost(lost))?;
        self.write.flush().await.map_err(Error::lost(lost))?;
        let mut replies = Vec::new();
        for _ in 0..=MAX_REPLIES {
            let mut header = [0; REPLY_HEADER];
            self.read
                .read_exact(&mut header)
                .await
                .map_err(Error::lost(lost))?;
            let header = ReplyHeader::decode(&header, option)?;
            // Bounded: the header is refused when it announces more than a few KiB.
            let mut data = vec![0; header.length as usize];
            self.read
                .read_exact(&mut data)
                .await
                .map_err(Error::lost(lost))?;
            match Reply::decode(header, &data)? {
                Reply::Ack => return Ok((replies, None)),
                Reply::Refused(refusal, text) => return Ok((replies, Some((refusal, text)))),
                Reply::UnknownInfo => {}
                reply => replies.push(reply),
            }
        }
        Err(Violation::new("too many replies to one option").into())
    }

    /// Says goodbye while that is still possible, so that the server does not log a broken client.
    async fn part(&mut self, why: ErrorKind) {
        if matches!(why, ErrorKind::Protocol | ErrorKind::ConnectionLost) {
            return;
        }
        let goodbye = async {
            self.write.write_all(&Opt::Abort.encode(&[])).await?;
            self.write.flush().await
        };
        if let Err(error) = goodbye.await {
            tracing::debug!(%error, "the server left before our goodbye");
        }
    }
}

/// What a caller may ask for: the protocol's limit on strings holds for ours too.
fn check_names(export: &str, contexts: &[String]) -> Result<()> {
    let names = contexts.iter().map(String::as_str).chain([export]);
    for name in names {
        if name.len() > MAX_STRING || name.contains('\0') {
            return Err(Error::new(
                ErrorKind::Invalid,
                "a name longer than 4096 bytes or with a NUL in it",
            ));
        }
    }
    // Two runs of one context could not be told apart in a reply.
    if contexts
        .iter()
        .enumerate()
        .any(|(index, name)| contexts[..index].contains(name))
    {
        return Err(Error::new(ErrorKind::Invalid, "a context asked for twice"));
    }
    Ok(())
}

fn refused(refusal: Refusal, text: &str) -> Error {
    match refusal {
        Refusal::TlsRequired => Error::new(ErrorKind::TlsRequired, text.to_owned()),
        Refusal::UnknownExport => Error::new(ErrorKind::ExportUnknown, text.to_owned()),
        other => Error::new(ErrorKind::Refused, format!("{other:?} ({text})")),
    }
}

/// The id of each context, if the server answered only what it was asked.
fn judge_contexts(
    replies: Vec<Reply>,
    wanted: &[String],
) -> Result<BTreeMap<String, u32>, Violation> {
    let mut ids = BTreeMap::new();
    for reply in replies {
        let Reply::Context { id, name } = reply else {
            return Err(Violation::new(
                "a reply to the context option that names no context",
            ));
        };
        if !wanted.contains(&name) {
            return Err(Violation::new("a context that was not asked for"));
        }
        if ids.values().any(|known| *known == id) || ids.insert(name, id).is_some() {
            return Err(Violation::new("a context or a context id given twice"));
        }
    }
    Ok(ids)
}

/// The export, from what the server said before it agreed to go. The last word on each point counts.
fn judge_info(replies: &[Reply]) -> Result<ExportInfo, Violation> {
    let mut export = None;
    let mut block_sizes = BlockSizes::default();
    for reply in replies {
        match reply {
            Reply::Export { size, flags } => export = Some((*size, *flags)),
            Reply::BlockSize {
                minimum,
                preferred,
                maximum,
            } => {
                block_sizes = BlockSizes::from_wire(*minimum, *preferred, *maximum)?;
            }
            _ => return Err(Violation::new("a reply to go that is no information")),
        }
    }
    let (size, flags) = export.ok_or_else(|| Violation::new("an export without a size"))?;
    ExportInfo::from_wire(size, flags, block_sizes)
}
