//! One try of a call, on one connection.

use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, timeout_at};
use tresor_channel::{Connection, Error as LinkError, ErrorKind as LinkKind, Failure};

use crate::wire;

/// Why a try has not succeeded.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// There is no connection.
    Away,
    /// The connection ended, or gave the call up.
    Link(LinkError),
    /// No answer came, on a connection that is alive.
    Late,
    /// The answer is none: another try would end as this one.
    Answer(String),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Away => f.write_str("there is no connection to the service"),
            Self::Link(_) => f.write_str("the connection to the service was lost"),
            Self::Late => f.write_str("the service does not answer"),
            Self::Answer(why) => write!(f, "the service's answer cannot be used: {why}"),
        }
    }
}

impl std::error::Error for Trouble {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Link(error) => Some(error),
            Self::Away | Self::Late | Self::Answer(_) => None,
        }
    }
}

/// What is asked.
#[derive(Debug)]
pub(crate) struct Asked {
    method: &'static str,
    head: Vec<u8>,
    body: Option<Vec<u8>>,
    /// Most bytes of the answer's body that are taken.
    most: usize,
}

/// What was answered: head and body, or a refusal.
pub(crate) type Answered = Result<Parts, Failure>;

/// An answer.
#[derive(Debug)]
pub(crate) struct Parts {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Parts {
    pub(crate) fn head<T: DeserializeOwned>(&self) -> Result<T, Trouble> {
        wire::read(&self.head).map_err(|error| Trouble::Answer(error.to_string()))
    }

    pub(crate) fn body<T: DeserializeOwned>(&self) -> Result<T, Trouble> {
        wire::read(&self.body).map_err(|error| Trouble::Answer(error.to_string()))
    }
}

impl Asked {
    pub(crate) fn new<H: Serialize>(method: &'static str, head: &H) -> Result<Self, Trouble> {
        Ok(Self {
            method,
            head: encode(head)?,
            body: None,
            most: 0,
        })
    }

    /// With a document as the body.
    pub(crate) fn with<B: Serialize>(self, body: &B) -> Result<Self, Trouble> {
        let body = Some(encode(body)?);
        Ok(Self { body, ..self })
    }

    /// For an answer with a body of at most so many bytes.
    pub(crate) fn taking(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// Bytes of the body.
    pub(crate) fn body_len(&self) -> usize {
        self.body.as_ref().map_or(0, Vec::len)
    }

    pub(crate) async fn once(
        &self,
        connection: &Connection,
        limit: Instant,
    ) -> Result<Answered, Trouble> {
        let answered = timeout_at(limit, self.exchange(connection)).await;
        match answered.map_err(|_| Trouble::Late)? {
            Ok(parts) => Ok(Ok(parts)),
            Err(error) => match (error.kind(), error.failure()) {
                (LinkKind::Refused, Some(failure)) => Ok(Err(failure.clone())),
                (LinkKind::Invalid | LinkKind::TooLarge | LinkKind::Incompatible, _) => {
                    Err(Trouble::Answer(error.to_string()))
                }
                _ => Err(Trouble::Link(error)),
            },
        }
    }

    async fn exchange(&self, connection: &Connection) -> Result<Parts, LinkError> {
        let answer = match &self.body {
            None => connection.call(self.method, &self.head).await?,
            Some(body) => {
                let mut call = connection.call_with_body(self.method, &self.head).await?;
                match call.body.write(body).await {
                    // Answered already: the answer says why.
                    Err(error) if error.kind() != LinkKind::NotWanted => return Err(error),
                    _ => {}
                }
                call.finish().await?
            }
        };
        let body = answer.body.read_to_end(self.most).await?;
        Ok(Parts {
            head: answer.head,
            body,
        })
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Trouble> {
    serde_json::to_vec(value).map_err(|error| Trouble::Answer(error.to_string()))
}
