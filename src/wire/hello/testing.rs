//! Hellos that are made for tests, part by part.

use super::{client_hello::ClientHello, reader::Reader, refusal::Refusal};

/// The parts of a hello, as they are written.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub version: u16,
    pub session: Vec<u8>,
    pub suites: Vec<u16>,
    pub compression: Vec<u8>,
    /// `None` for a hello without the length of extensions.
    pub extensions: Option<Vec<(u16, Vec<u8>)>>,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            version: 0x0303,
            session: vec![7; 32],
            suites: vec![0x1301, 0xc02b],
            compression: vec![0],
            extensions: Some(Vec::new()),
        }
    }
}

impl Parts {
    pub(crate) fn with(mut self, kind: u16, contents: impl Into<Vec<u8>>) -> Self {
        self.extensions.get_or_insert_default().push((kind, contents.into()));
        self
    }

    pub(crate) fn named(self, name: impl AsRef<[u8]>) -> Self {
        self.with(0, long([&[0][..], &long(name)].concat()))
    }

    /// Returns the contents of the message.
    pub(crate) fn contents(&self) -> Vec<u8> {
        let mut all = [&self.version.to_be_bytes()[..], &[9; 32]].concat();
        all.extend(short(&self.session));
        all.extend(long(numbers(&self.suites)));
        all.extend(short(&self.compression));
        if let Some(extensions) = &self.extensions {
            let each = extensions.iter().map(|(kind, contents)| [&kind.to_be_bytes()[..], &long(contents)].concat());
            all.extend(long(each.collect::<Vec<_>>().concat()));
        }
        all
    }

    /// Returns the message, with its header.
    pub(crate) fn message(&self) -> Vec<u8> {
        let contents = self.contents();
        let [_, length @ ..] = u32::try_from(contents.len()).unwrap().to_be_bytes();
        [&[1], &length[..], &contents].concat()
    }

    /// Returns the message in one record.
    pub(crate) fn wire(&self) -> Vec<u8> {
        record(&self.message())
    }
}

/// Returns a record of a handshake.
pub(crate) fn record(contents: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &long(contents)].concat()
}

pub(crate) fn numbers(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// Returns bytes behind their length of one byte.
pub(crate) fn short(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [&[u8::try_from(bytes.len()).unwrap()][..], bytes].concat()
}

/// Returns bytes behind their length of two bytes.
pub(crate) fn long(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// Reads a hello from bytes that come in these pieces.
pub(crate) fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<ClientHello>, Refusal> {
    let mut reader = Reader::default();
    for piece in pieces {
        if let Some(hello) = reader.push(piece)? {
            return Ok(Some(hello));
        }
    }
    Ok(None)
}
