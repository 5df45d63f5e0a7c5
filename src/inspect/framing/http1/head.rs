//! Heads and trailers: what they say of the body (RFC 9112, section 6.3).

use std::{mem::MaybeUninit, ops::Range};

use httparse::{Error, Header, Status};

use super::exchange::Asked;
use crate::inspect::framing::framer::Broken;

/// The maximum number of fields of a head, or of trailers.
pub(super) const MOST_FIELDS: usize = 256;

/// The length of a message's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    Length(u64),
    Chunked,
    UntilClose,
}

/// A request's head.
#[derive(Debug)]
pub(super) struct Request {
    pub asked: Asked,
    pub body: Body,
    /// True if the client waits for an answer to the head before it sends the body.
    pub waits: bool,
}

impl Request {
    /// Reads the head `buffer[start..end]`.
    pub(super) fn read(buffer: &[u8], start: usize, end: usize) -> Result<Self, Broken> {
        let mut space = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut request = httparse::Request::new(&mut []);
        let read = request.parse_with_uninit_headers(&buffer[start..end], &mut space);
        is_whole(read, buffer, start, end, is_wrong_request)?;
        let method = request.method.unwrap_or_default();
        let fields = Fields::read(buffer, request.headers)?;
        let body = match fields.coding(request.version)? {
            Some(Coding::Chunked) => Body::Chunked,
            Some(Coding::Other(at)) => return Err(Broken::at(at, "chunked as the last transfer coding of a request")),
            None => Body::Length(fields.length.unwrap_or(0)),
        };
        let asked = match method {
            "HEAD" => Asked::Head,
            "CONNECT" => Asked::Connect,
            _ => Asked::Other,
        };
        Ok(Self { asked, waits: fields.expects && request.version == Some(1) && body != Body::Length(0), body })
    }
}

/// An answer's head.
#[derive(Debug)]
pub(super) struct Answer {
    pub code: u16,
    version: Option<u8>,
    fields: Result<Fields, Broken>,
}

impl Answer {
    /// Reads the head `buffer[..end]`.
    pub(super) fn read(buffer: &[u8], end: usize) -> Result<Self, Broken> {
        let mut space = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut answer = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let read = config.parse_response_with_uninit_headers(&mut answer, &buffer[..end], &mut space);
        is_whole(read, buffer, 0, end, is_wrong_answer)?;
        let fields = Fields::read(buffer, answer.headers);
        Ok(Self { code: answer.code.unwrap_or_default(), version: answer.version, fields })
    }

    /// Returns the body of this answer to `asked`. What its fields say of a body that it cannot have is not read.
    pub(super) fn body(self, asked: Asked) -> Result<Body, Broken> {
        let tunnel = asked == Asked::Connect && (200..300).contains(&self.code);
        if asked == Asked::Head || tunnel || matches!(self.code, 100..200 | 204 | 304) {
            return Ok(Body::Length(0));
        }
        let fields = self.fields?;
        Ok(match (fields.coding(self.version)?, fields.length) {
            (Some(Coding::Chunked), _) => Body::Chunked,
            (None, Some(length)) => Body::Length(length),
            (Some(Coding::Other(_)) | None, _) => Body::UntilClose,
        })
    }
}

/// Checks the first line of a request, `buffer[line]`.
pub(super) fn check_request_line(buffer: &[u8], line: Range<usize>) -> Result<(), Broken> {
    check_line(buffer, line, is_wrong_request)
}

/// Checks the first line of an answer, `buffer[line]`.
pub(super) fn check_status_line(buffer: &[u8], line: Range<usize>) -> Result<(), Broken> {
    check_line(buffer, line, is_wrong_answer)
}

fn check_line(buffer: &[u8], line: Range<usize>, wrong: impl Fn(&[u8]) -> Option<Error>) -> Result<(), Broken> {
    let begun = &buffer[line.clone()];
    let Some(error) = wrong(begun) else { return Ok(()) };
    Err(Broken::at(line.start + first_wrong(begun, wrong), expected(error)))
}

/// Checks the trailers `buffer[start..end]`.
pub(super) fn read_trailers(buffer: &[u8], start: usize, end: usize) -> Result<(), Broken> {
    is_whole(trailers(&buffer[start..end]), buffer, start, end, |bytes| trailers(bytes).err())
}

fn trailers(bytes: &[u8]) -> httparse::Result<usize> {
    let mut space = [httparse::EMPTY_HEADER; MOST_FIELDS];
    Ok(match httparse::parse_headers(bytes, &mut space)? {
        Status::Complete((length, _)) => Status::Complete(length),
        Status::Partial => Status::Partial,
    })
}

fn is_wrong_request(bytes: &[u8]) -> Option<Error> {
    let mut space = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    httparse::Request::new(&mut []).parse_with_uninit_headers(bytes, &mut space).err()
}

fn is_wrong_answer(bytes: &[u8]) -> Option<Error> {
    let mut space = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let config = httparse::ParserConfig::default();
    config.parse_response_with_uninit_headers(&mut httparse::Response::new(&mut []), bytes, &mut space).err()
}

/// Checks that `read` is all of `buffer[start..end]`.
fn is_whole(
    read: httparse::Result<usize>,
    buffer: &[u8],
    start: usize,
    end: usize,
    wrong: impl Fn(&[u8]) -> Option<Error>,
) -> Result<(), Broken> {
    match read {
        Ok(Status::Complete(length)) if start + length == end => Ok(()),
        Ok(_) => Err(Broken::at(end - 1, "the end of the head")),
        Err(error) => Err(Broken::at(start + first_wrong(&buffer[start..end], wrong), expected(error))),
    }
}

/// Returns the index of the first byte with which `bytes` are wrong. The parser does not say; but bytes that are wrong stay so
/// whatever follows them, so few tries find the place.
fn first_wrong(bytes: &[u8], wrong: impl Fn(&[u8]) -> Option<Error>) -> usize {
    let (mut right, mut bad) = (0, bytes.len());
    while bad - right > 1 {
        let middle = right + (bad - right) / 2;
        if wrong(&bytes[..middle]).is_some() { bad = middle } else { right = middle }
    }
    bad - 1
}

fn expected(error: Error) -> &'static str {
    match error {
        Error::HeaderName => "the name of a field with a colon directly behind it, at the beginning of its line",
        Error::HeaderValue => "the value of a field",
        Error::NewLine => "CR LF at the end of the line",
        Error::Status => "a status of three digits",
        Error::Token => "a method, a target and a version, with one space between them",
        Error::TooManyHeaders => "at most 256 fields",
        Error::Version => "HTTP/1.0 or HTTP/1.1",
    }
}

/// The last transfer coding of a message.
enum Coding {
    Chunked,
    /// Any other one, with its place in the buffer.
    Other(usize),
}

/// The fields that determine the framing.
#[derive(Debug, Default)]
struct Fields {
    /// The value of Content-Length; of a number that needs more than 64 bits, the greatest one.
    length: Option<u64>,
    length_at: usize,
    /// The places of the codings that Transfer-Encoding names: of the last one, and of the one that is `chunked`.
    last_coding: Option<usize>,
    chunked: Option<usize>,
    expects: bool,
}

impl Fields {
    fn read(buffer: &[u8], fields: &[Header<'_>]) -> Result<Self, Broken> {
        let mut read = Self::default();
        for field in fields {
            let at = index_in(buffer, field.value);
            if field.name.eq_ignore_ascii_case("content-length") {
                read.add_length(field.value, at)?;
            } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
                read.add_codings(field.value, at)?;
            } else if field.name.eq_ignore_ascii_case("expect") {
                read.expects |= elements(field.value).any(|element| element.eq_ignore_ascii_case(b"100-continue"));
            }
        }
        Ok(read)
    }

    /// Adds the value of a Content-Length. A list of equal numbers counts as that number (RFC 9112, 6.3, 5).
    fn add_length(&mut self, value: &[u8], at: usize) -> Result<(), Broken> {
        for element in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let Some(length) = number(element) else {
                return Err(Broken::at(at, "a Content-Length of decimal digits"));
            };
            if self.length.is_some_and(|other| other != length) {
                return Err(Broken::at(at, "one Content-Length, not two that differ"));
            }
            (self.length, self.length_at) = (Some(length), at);
        }
        Ok(())
    }

    /// Adds the codings of a Transfer-Encoding. `chunked` is the last one and stands there once (RFC 9112, 7.1 and 6.1).
    fn add_codings(&mut self, value: &[u8], at: usize) -> Result<(), Broken> {
        for coding in elements(value) {
            if self.chunked.is_some() {
                return Err(Broken::at(at, "no transfer coding behind chunked"));
            }
            let name = coding.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            if name.eq_ignore_ascii_case(b"chunked") {
                if name.len() < coding.len() {
                    return Err(Broken::at(at, "chunked without parameters"));
                }
                self.chunked = Some(at);
            }
            self.last_coding = Some(at);
        }
        if self.last_coding.is_none() {
            return Err(Broken::at(at, "the name of a transfer coding"));
        }
        Ok(())
    }

    /// Returns the last transfer coding, if there is one. With Content-Length beside it, or in HTTP/1.0, a message has a framing
    /// that other readers may understand differently (RFC 9112, 6.1).
    fn coding(&self, version: Option<u8>) -> Result<Option<Coding>, Broken> {
        let Some(at) = self.last_coding else { return Ok(None) };
        if self.length.is_some() {
            return Err(Broken::at(self.length_at.max(at), "Content-Length or Transfer-Encoding, not both"));
        }
        if version == Some(0) {
            return Err(Broken::at(at, "no Transfer-Encoding in HTTP/1.0"));
        }
        Ok(Some(self.chunked.map_or(Coding::Other(at), |_| Coding::Chunked)))
    }
}

/// Returns the elements of a list that are not empty, without the blanks around them.
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// Returns a decimal number; the greatest one instead of a greater one, since memory holds no message of either.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    let add = |number: u64, digit: &u8| number.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit)).then(|| digits.iter().fold(0, add))
}

/// Returns the index in `buffer` of `part`, which is a part of it.
pub(super) fn index_in(buffer: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(buffer.as_ptr() as usize).min(buffer.len().saturating_sub(1))
}
