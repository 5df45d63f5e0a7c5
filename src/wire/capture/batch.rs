//! Bytes that are written at once: headers that are made here, and payload that is not copied.

use std::io::{self, IoSlice, Write};

use bytes::Bytes;

/// Maximum size of payload that is copied. A larger one keeps its own memory, and is a slice of its own in the write.
const COPIED: usize = 2 * 1024;

/// Slices that one system call takes on every system here (`IOV_MAX`).
const SLICES: usize = 1024;

/// Bytes of a file that are still to be written, in order.
#[derive(Debug, Default)]
pub struct Batch {
    own: Vec<u8>,
    /// Payloads, each with the number of own bytes before it.
    payloads: Vec<(usize, Bytes)>,
    length: usize,
}

impl Batch {
    /// Returns the number of bytes that wait.
    pub fn len(&self) -> usize {
        self.length + self.own.len()
    }

    /// Returns true if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns true if all that waits fits one system call, with `more` payloads behind it.
    pub fn has_room(&self, more: usize) -> bool {
        2 * (self.payloads.len() + more) < SLICES
    }

    /// Returns the memory to which headers are appended.
    pub fn own(&mut self) -> &mut Vec<u8> {
        &mut self.own
    }

    /// Appends payload.
    pub fn payload(&mut self, bytes: Bytes) {
        if bytes.len() <= COPIED {
            self.own.extend_from_slice(&bytes);
        } else {
            self.length += bytes.len();
            self.payloads.push((self.own.len(), bytes));
        }
    }

    /// Writes everything, and forgets it whether that succeeds or not.
    pub fn write_to(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let written = self.write(out);
        self.clear();
        written
    }

    /// Forgets everything that waits.
    pub fn clear(&mut self) {
        self.own.clear();
        self.payloads.clear();
        self.length = 0;
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut slices = Vec::with_capacity(2 * self.payloads.len() + 1);
        let mut start = 0;
        for (end, payload) in &self.payloads {
            if *end > start {
                slices.push(IoSlice::new(&self.own[start..*end]));
            }
            slices.push(IoSlice::new(payload));
            start = *end;
        }
        if self.own.len() > start {
            slices.push(IoSlice::new(&self.own[start..]));
        }
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            let most = rest.len().min(SLICES);
            match out.write_vectored(&rest[..most]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut rest, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes at a time, and is interrupted now and then.
    struct Slow(Vec<u8>, usize);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 += 1;
            if self.1.is_multiple_of(3) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let taken = bytes.len().min(700);
            self.0.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn headers_and_payload_are_written_in_their_order_however_little_is_taken_at_once() {
        let (mut batch, mut all) = (Batch::default(), Vec::new());
        for number in 0..40_u8 {
            let payload = vec![number; usize::from(number) * 173];
            batch.own().push(number);
            batch.payload(payload.clone().into());
            all.push(number);
            all.extend(payload);
        }
        assert_eq!(batch.len(), all.len());
        let mut out = Slow(Vec::new(), 0);
        batch.write_to(&mut out).unwrap();
        assert!(out.0 == all && batch.is_empty());
    }

    #[test]
    fn a_batch_that_fails_is_forgotten() {
        let mut batch = Batch::default();
        batch.payload(Bytes::from(vec![0; 5000]));
        let error = batch.write_to(&mut &mut [0_u8; 100][..]).unwrap_err();
        assert_eq!((error.kind(), batch.len()), (io::ErrorKind::WriteZero, 0));
    }
}
