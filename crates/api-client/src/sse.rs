//! Server-sent events, from the bytes that come: a pure parser, bounded.

/// No line of the service's is longer.
const LONGEST_EVENT: usize = 1 << 20;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    pub(crate) data: String,
}

/// An event that is longer than any of the service's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// What was read and is not an event yet.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    /// The last line ended with a carriage return: a line feed after it is no further line.
    returned: bool,
    id: Option<String>,
    name: String,
    data: String,
    has_data: bool,
}

impl Parser {
    /// Takes what came; gives the events that it completes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for byte in bytes {
            let after_return = std::mem::replace(&mut self.returned, *byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => events.extend(self.end_of_line()),
                byte => {
                    if self.line.len() + self.data.len() >= LONGEST_EVENT {
                        return Err(TooLong);
                    }
                    self.line.push(*byte);
                }
            }
        }
        Ok(events)
    }

    fn end_of_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return self.end_of_event();
        }
        let line = String::from_utf8_lossy(&line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.has_data = true;
                self.data.push_str(value);
            }
            // A comment, or what a later version has.
            _ => {}
        }
        None
    }

    fn end_of_event(&mut self) -> Option<Event> {
        let event = Event {
            id: self.id.take(),
            name: std::mem::take(&mut self.name),
            data: std::mem::take(&mut self.data),
        };
        std::mem::take(&mut self.has_data).then_some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = ": hello\n\nid: g-1\nevent: job\ndata: {\"a\":\ndata:1}\n\r\nretry: 5\n\n\
                        event:reset\rdata: {}\r\rdata: without an end";

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let expected = [
            Event {
                id: Some("g-1".to_owned()),
                name: "job".to_owned(),
                data: "{\"a\":\n1}".to_owned(),
            },
            Event {
                id: None,
                name: "reset".to_owned(),
                data: "{}".to_owned(),
            },
        ];
        for size in 1..=TEXT.len() {
            let mut parser = Parser::default();
            let pieces = TEXT.as_bytes().chunks(size);
            let events: Vec<_> = pieces.flat_map(|it| parser.push(it).unwrap()).collect();
            assert_eq!(events, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn what_never_ends_is_refused() {
        let mut parser = Parser::default();
        let line = vec![b'x'; LONGEST_EVENT];
        assert_eq!(parser.push(&line), Ok(vec![]));
        assert_eq!(parser.push(b"x"), Err(TooLong));
        let mut parser = Parser::default();
        let data = [b"data: ", &[b'x'; 1 << 16][..], b"\n"].concat();
        let refused = (0..100).any(|_| parser.push(&data).is_err());
        assert!(refused);
    }
}
