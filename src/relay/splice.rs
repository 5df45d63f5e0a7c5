//! Splicing: when a direction streams, its bytes go from socket to socket through a pipe, uncopied.
//!
//! On loopback that saves a fifth of the CPU per GiB, and costs small messages a seventh more; so it begins when a
//! direction has streamed for a while, and ends when its source is drained. The pipe is held for a turn, or for as long as the
//! destination does not take what is in it.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use super::{
    streak::Streak,
    turn::{Fault, no_memory},
};
use crate::{
    hooks::Failed,
    io::{
        errno::is_exhaustion,
        stream::{
            Stream,
            splice_pipe::{self, Pipe},
        },
    },
    settings::config::Splice,
    words::{error::reason_text, outcome::CloseReason},
};

/// The splicing state of a direction.
#[derive(Debug, Default)]
pub(super) struct Splicer {
    streak: Streak,
    held: Option<Box<Held>>,
    /// True if these two sockets, or any, cannot be spliced.
    unfit: bool,
}

/// The outcome of filling a pipe.
pub(super) enum Filled {
    /// The number of bytes in the pipe; 0 is the end of the source.
    Bytes(usize),
    /// There is no pipe available, or these sockets cannot be spliced: copy.
    Copy,
}

/// The outcome of emptying a pipe.
pub(super) enum Emptied {
    /// This number of bytes went to the destination.
    Bytes(usize),
    /// The bytes cannot be spliced on, and were taken out of the pipe.
    Copied(Bytes),
}

impl Filled {
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Copy => 0,
        }
    }
}

#[derive(Debug)]
struct Held {
    pipe: Pipe,
    bytes: usize,
}

impl Splicer {
    /// Returns the number of bytes that were taken from the source and wait for the destination.
    pub(super) fn holds(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.bytes)
    }

    /// Drops the held bytes, with their pipe. Returns their number.
    pub(super) fn drop_held(&mut self) -> usize {
        self.held.take().map_or(0, |held| held.bytes)
    }

    /// Returns true if the next read is to be spliced.
    pub(super) fn wants(&self, splice: Splice, source: &mut Stream, destination: &mut Stream) -> bool {
        let due = match splice {
            Splice::Never => false,
            Splice::Streaming => self.streak.streams(),
            Splice::Always => true,
        };
        due && !self.unfit
            && source.raw().is_some_and(|socket| socket.is_spliceable())
            && destination.raw().is_some_and(|socket| socket.is_tcp())
    }

    /// Records a turn that moved `moved` bytes. A turn that moved none does not count.
    pub(super) fn turn_over(&mut self, moved: usize) {
        self.streak.turn_over(moved);
        self.let_go();
    }
}

impl Splicer {
    /// Returns an empty pipe to its pool.
    fn let_go(&mut self) {
        if self.holds() == 0
            && let Some(held) = self.held.take()
        {
            held.pipe.give_back();
        }
    }

    /// Takes the held bytes out of the pipe, and returns the pipe to its pool.
    pub(super) fn take_out(&mut self) -> Result<Option<Bytes>, Failed> {
        let Some(held) = self.held.take() else { return Ok(None) };
        // Caused by this process, and not by a peer.
        let bytes = held.pipe.take_out(held.bytes).map_err(|error| match error.kind() {
            io::ErrorKind::OutOfMemory => no_memory(held.bytes),
            _ => {
                let error = format!("{} bytes cannot be taken out of their pipe: {}", held.bytes, reason_text(&error));
                Failed { reason: CloseReason::InternalError, error }
            }
        })?;
        held.pipe.give_back();
        Ok(Some(bytes))
    }

    /// Moves up to `most` bytes of the source into a pipe.
    pub(super) fn poll_fill(&mut self, source: &mut Stream, most: usize, cx: &mut Context<'_>) -> Poll<io::Result<Filled>> {
        if self.held.is_none() {
            let Some(pipe) = Pipe::take() else {
                // Another streak before the next try.
                self.streak.begin_anew();
                return Poll::Ready(Ok(Filled::Copy));
            };
            self.held = Some(Box::new(Held { pipe, bytes: 0 }));
        }
        let Some(held) = &mut self.held else { return Poll::Ready(Ok(Filled::Copy)) };
        let Some(source) = source.raw() else { return Poll::Ready(Ok(Filled::Copy)) };
        match source.poll_fill(cx, &held.pipe, most) {
            Poll::Ready(Ok(bytes)) => {
                held.bytes = bytes;
                Poll::Ready(Ok(Filled::Bytes(bytes)))
            }
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => Poll::Ready(Err(error)),
            Poll::Ready(Err(error)) => {
                if let Some(failure) = source.failure_of_read(&error) {
                    return Poll::Ready(Err(failure));
                }
                self.give_up(&error);
                Poll::Ready(Ok(Filled::Copy))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Moves the held bytes to the destination, as far as it takes them.
    pub(super) fn poll_empty(&mut self, destination: &mut Stream, cx: &mut Context<'_>) -> Poll<Result<Emptied, Fault>> {
        let Some(held) = &mut self.held else { return Poll::Ready(Ok(Emptied::Copied(Bytes::new()))) };
        let Some(destination) = destination.raw() else {
            return Poll::Ready(Err(Fault::Destination(io::ErrorKind::NotConnected.into())));
        };
        match ready!(destination.poll_empty(cx, &held.pipe, held.bytes)) {
            Ok(bytes) => {
                held.bytes -= bytes;
                Poll::Ready(Ok(Emptied::Bytes(bytes)))
            }
            Err(error) => {
                if let Some(failure) = destination.failure_of_write(&error) {
                    return Poll::Ready(Err(Fault::Destination(failure)));
                }
                self.give_up(&error);
                Poll::Ready(self.take_out().map(|out| Emptied::Copied(out.unwrap_or_default())).map_err(Fault::Hook))
            }
        }
    }

    /// Records a failed splice: the direction copies from now on, or, after a temporary error, until another streak has
    /// come.
    fn give_up(&mut self, error: &io::Error) {
        self.streak.begin_anew();
        self.unfit |= !is_exhaustion(error);
        splice_pipe::refused(error);
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
impl Splicer {
    /// Returns a splicer with these bytes in a pipe on which every splice fails, and with `count` as their supposed number.
    pub(super) fn holding(bytes: &[u8], count: usize) -> Self {
        let held = Held { pipe: Pipe::unfit(bytes), bytes: count };
        Self { streak: Streak::streaming(), held: Some(Box::new(held)), unfit: false }
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use std::{
        future::poll_fn,
        io::{Read, Write},
    };

    use super::*;
    use crate::io::stream::pair::pair;

    fn holding(bytes: &[u8]) -> Splicer {
        Splicer::holding(bytes, bytes.len())
    }

    #[tokio::test]
    async fn what_cannot_be_spliced_on_is_taken_out_of_the_pipe() {
        let ((mut source, _sender), (mut destination, _peer)) = (pair(), pair());
        let mut splicer = holding(b"held");
        let emptied = poll_fn(|cx| splicer.poll_empty(&mut destination, cx)).await.unwrap();
        assert!(matches!(emptied, Emptied::Copied(bytes) if bytes == "held"));
        assert_eq!(splicer.holds(), 0);
        assert!(!splicer.wants(Splice::Always, &mut source, &mut destination), "nor is it tried again");
    }

    #[tokio::test]
    async fn what_cannot_be_taken_out_is_no_fault_of_a_peers() {
        let (mut destination, _peer) = pair();
        for (bytes, why) in [(usize::MAX, "no memory for "), (10, "10 bytes cannot be taken out of their pipe: ")] {
            let mut splicer = Splicer::holding(b"held", bytes);
            let Err(Fault::Hook(failed)) = poll_fn(|cx| splicer.poll_empty(&mut destination, cx)).await else { panic!("{why}") };
            assert_eq!(failed.reason, CloseReason::InternalError);
            assert!(failed.error.starts_with(why), "{}", failed.error);
        }
    }

    #[tokio::test]
    async fn what_cannot_be_spliced_in_is_still_to_be_read() {
        let (mut source, mut peer) = pair();
        peer.write_all(b"sent").unwrap();
        let mut splicer = holding(b"");
        let filled = poll_fn(|cx| splicer.poll_fill(&mut source, usize::MAX, cx)).await.unwrap();
        assert!(matches!(filled, Filled::Copy));
        let mut buffer = [0; 10];
        assert_eq!(poll_fn(|cx| source.poll_read(cx, &mut buffer)).await.unwrap(), 4);
        assert_eq!(buffer[..4], *b"sent");
    }

    #[tokio::test]
    async fn a_destination_that_has_failed_is_the_failure() {
        let (mut destination, mut peer) = pair();
        poll_fn(|cx| destination.poll_end(cx)).await.unwrap();
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        drop(peer);
        while destination.transport().unwrap().peer_name().is_ok() {
            tokio::task::yield_now().await;
        }
        let mut splicer = holding(b"held");
        assert!(poll_fn(|cx| splicer.poll_empty(&mut destination, cx)).await.is_err());
        assert_eq!(splicer.drop_held(), 4, "nothing is delivered, and all is counted");
    }
}
