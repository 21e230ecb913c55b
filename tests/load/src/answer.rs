//! Answers of HTTP/1.1 (RFC 9112): just enough of it to know where one ends, what its status is, and what it says.

use std::borrow::Cow;

/// The most headers that an answer may have.
const HEADERS: usize = 64;

/// A complete answer at the start of what was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: Cow<'a, [u8]>,
    /// Whether the connection can be used again.
    pub(crate) keep_alive: bool,
    /// How many bytes it took.
    pub(crate) length: usize,
}

/// The bytes are no answer, or one that goes on until the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an HTTP answer: {0}")]
pub(crate) struct Malformed(&'static str);

/// How the end of a body is told.
enum Framing {
    Length(usize),
    Chunked,
}

/// The answer at the start of the bytes; `None` when more bytes are needed.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Answer<'_>>, Malformed> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let head_length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Malformed("its head cannot be read")),
    };
    let status = head.code.unwrap_or_default();
    let mut keep_alive = head.version == Some(1);
    let mut framing = None;
    for header in head.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            framing = framing.or(Some(Framing::Length(decimal(header.value)?)));
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            framing = Some(Framing::Chunked);
        } else if header.name.eq_ignore_ascii_case("connection") {
            keep_alive &= !header.value.eq_ignore_ascii_case(b"close");
        }
    }
    let rest = bytes.get(head_length..).unwrap_or_default();
    let body = match framing {
        Some(Framing::Length(length)) => {
            rest.get(..length).map(|body| (Cow::Borrowed(body), length))
        }
        Some(Framing::Chunked) => chunks(rest)?.map(|(body, length)| (Cow::Owned(body), length)),
        None => return Err(Malformed("it does not say how long it is")),
    };
    Ok(body.map(|(body, length)| Answer {
        status,
        body,
        keep_alive,
        length: head_length + length,
    }))
}

fn decimal(value: &[u8]) -> Result<usize, Malformed> {
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or(Malformed("its content-length is no number"))
}

/// The chunks of a body joined, and how many bytes they took with all that is around them; `None` when some are still to come.
fn chunks(mut rest: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Malformed> {
    let broken = Malformed("its chunks cannot be read");
    let all = rest.len();
    let mut body = Vec::new();
    loop {
        let (after_size, size) = match httparse::parse_chunk_size(rest) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(broken),
        };
        let size = usize::try_from(size).map_err(|_| broken)?;
        let Some(chunk) = rest.get(after_size..after_size.saturating_add(size)) else {
            return Ok(None);
        };
        body.extend_from_slice(chunk);
        rest = rest.get(after_size + size..).unwrap_or_default();
        match rest.get(..2) {
            Some(b"\r\n") => rest = rest.get(2..).unwrap_or_default(),
            Some(_) => return Err(broken),
            None => return Ok(None),
        }
        if size == 0 {
            return Ok(Some((body, all - rest.len())));
        }
    }
}

/// Whether a JSON object of strings has this member with something in it. What is looked for comes first in most answers.
pub(crate) fn has_member(body: &[u8], member: &str) -> bool {
    let start = format!("\"{member}\":\"");
    let start = start.as_bytes();
    let found = match body.get(1..=start.len()) {
        Some(first) if first == start => Some(1),
        _ => body.windows(start.len()).position(|window| window == start),
    };
    found
        .and_then(|at| body.get(at + start.len()))
        .is_some_and(|byte| *byte != b'"')
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: 17\r\n\r\n{\"token\":\"a.b.c\"}";
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"tok\r\nc\r\nen\":\"a.b.c\"}\r\n0\r\n\r\n";

    #[test]
    fn an_answer_is_taken_when_its_last_byte_is_there_and_not_before() {
        for whole in [PLAIN, CHUNKED] {
            for end in 0..whole.len() {
                assert_eq!(parse(&whole[..end]), Ok(None), "{end}");
            }
            let answer = parse(whole).unwrap().unwrap();
            assert_eq!(answer.status, 200);
            assert_eq!(&*answer.body, b"{\"token\":\"a.b.c\"}");
            assert!(answer.keep_alive);
            assert_eq!(answer.length, whole.len());
        }
    }

    #[test]
    fn what_follows_an_answer_is_not_taken() {
        for whole in [PLAIN, CHUNKED] {
            let two = [whole, b"HTTP/1.1 500"].concat();
            assert_eq!(parse(&two).unwrap().unwrap().length, whole.len());
        }
    }

    #[test]
    fn the_end_of_a_connection_is_heard() {
        let closing =
            b"HTTP/1.1 503 Service Unavailable\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n";
        let answer = parse(closing).unwrap().unwrap();
        assert_eq!((answer.status, answer.keep_alive), (503, false));
        let old = b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert!(!parse(old).unwrap().unwrap().keep_alive);
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for bytes in [
            &b"SSH-2.0-OpenSSH\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
        ] {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn members_are_found_wherever_they_are() {
        assert!(has_member(
            b"{\"secure_request\":\"abc\"}",
            "secure_request"
        ));
        assert!(has_member(
            b"{\"detail\":\"\",\"secure_request\":\"abc\"}",
            "secure_request"
        ));
        assert!(!has_member(b"{\"secure_request\":\"\"}", "secure_request"));
        assert!(!has_member(
            b"{\"error\":\"Request denied\"}",
            "secure_request"
        ));
        assert!(!has_member(b"", "secure_request"));
    }
}
