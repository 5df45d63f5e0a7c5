//! Pipes for splice(2), which moves bytes between sockets without copying them. Their number is bounded; the directions of a
//! thread share them.

use std::{
    cell::{Cell, RefCell},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Once,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice};
use socket2::Socket;
use tokio::time::{Instant, sleep};

use crate::{
    settings::{config::MOST_CHUNK, limits::descriptor_limit},
    words::{error::reason_text, log_target},
};

/// Requested size of a pipe. A kernel grants less to an ordinary user who has many pipes (fs.pipe-user-pages-soft).
const SIZE: usize = MOST_CHUNK;

/// Minimum size of a pipe: moving less than this is not worth two system calls.
const LEAST: usize = 128 * 1024;

/// How long an unused pipe is kept, and how long no pipe is requested after the system has refused one.
const KEEP: Duration = Duration::from_secs(1);

/// Number of pipes of this process, each of two descriptors.
static PIPES: AtomicUsize = AtomicUsize::new(0);

/// True if the system has no splice(2), or forbids it to this process.
static NO_SPLICE: AtomicBool = AtomicBool::new(false);

/// Records a splice that has failed. Logged once: the bytes are copied instead, and still arrive.
pub(crate) fn refused(error: &io::Error) {
    static SAID: Once = Once::new();
    if crate::io::errno::is_unknown_call(error) {
        NO_SPLICE.store(true, Relaxed);
    }
    SAID.call_once(|| {
        let why = reason_text(error);
        log::info!(target: log_target::CONNECTION, "bytes that stream are copied where splice(2) fails: {why}");
    });
}

thread_local! {
    static POOL: PipePool = const { PipePool { idle: RefCell::new(Vec::new()), used: Cell::new(false), tended: Cell::new(false), refused: Cell::new(None) } };
}

/// A pipe: empty, or with the bytes of the last splice into it.
#[derive(Debug)]
pub(crate) struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    size: usize,
}

/// The unused pipes of one thread.
struct PipePool {
    idle: RefCell<Vec<Pipe>>,
    /// True if a pipe was taken since the last check by [`tend`].
    used: Cell<bool>,
    /// True while a [`tend`] task runs.
    tended: Cell<bool>,
    refused: Cell<Option<Instant>>,
}

impl Pipe {
    /// Returns an empty pipe. `None` if the limit is reached, or the system grants none of a useful size.
    pub(crate) fn take() -> Option<Self> {
        if NO_SPLICE.load(Relaxed) {
            return None;
        }
        POOL.with(|pool| {
            pool.used.set(true);
            if let Some(pipe) = pool.idle.borrow_mut().pop() {
                return Some(pipe);
            }
            if pool.refused.get().is_some_and(|at| at.elapsed() < KEEP) {
                return None;
            }
            let made = Self::new();
            pool.refused.set(if made.is_none() { Some(Instant::now()) } else { None });
            made
        })
    }

    fn new() -> Option<Self> {
        if PIPES.fetch_add(1, Relaxed) >= most_pipes() {
            PIPES.fetch_sub(1, Relaxed);
            return None;
        }
        let Ok((reader, writer)) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK) else {
            PIPES.fetch_sub(1, Relaxed);
            return None;
        };
        // A refusal is no failure: only the size that the pipe has afterwards counts.
        let _ = fcntl_setpipe_size(&writer, SIZE);
        let size = fcntl_getpipe_size(&writer).unwrap_or(0);
        let pipe = Self { reader, writer, size };
        (size >= LEAST).then_some(pipe)
    }

    /// Returns the pipe, which is empty, to the pool of this thread. It is kept for [`KEEP`], for another direction.
    pub(crate) fn give_back(self) {
        POOL.with(|pool| {
            pool.idle.borrow_mut().push(self);
            if !pool.tended.replace(true) {
                tokio::spawn(tend());
            }
        });
    }

    /// Moves up to `most` bytes from `source` into the pipe, which is empty, and no more than the pipe's size.
    pub(crate) fn fill(&self, source: &Socket, most: usize) -> io::Result<usize> {
        move_bytes(source.as_fd(), self.writer.as_fd(), self.size.min(most))
    }

    /// Moves up to `bytes` bytes from the pipe to `destination`. The thread has SIGPIPE blocked: I/O threads block all
    /// signals.
    pub(crate) fn empty(&self, destination: &Socket, bytes: usize) -> io::Result<usize> {
        move_bytes(self.reader.as_fd(), destination.as_fd(), bytes)
    }
}

impl Pipe {
    /// Copies the `bytes` bytes of the pipe into memory.
    pub(crate) fn take_out(&self, bytes: usize) -> io::Result<Bytes> {
        let (mut out, mut taken) = (Vec::new(), 0);
        out.try_reserve_exact(bytes).map_err(|_| io::ErrorKind::OutOfMemory)?;
        out.resize(bytes, 0);
        while taken < bytes {
            match rustix::io::read(&self.reader, &mut out[taken..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(more) => taken += more,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(out.into())
    }
}

#[cfg(test)]
impl Pipe {
    /// Returns a pipe on which every splice fails, with these bytes in it.
    pub(crate) fn unfit(bytes: &[u8]) -> Self {
        use std::io::Write;
        let (reader, mut writer) = std::os::unix::net::UnixStream::pair().expect("a pair");
        writer.write_all(bytes).expect("room");
        writer.shutdown(std::net::Shutdown::Write).expect("a socket");
        PIPES.fetch_add(1, Relaxed);
        Self { reader: reader.into(), writer: writer.into(), size: SIZE }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        PIPES.fetch_sub(1, Relaxed);
    }
}

/// Returns the maximum number of pipes of this process, of two descriptors each: half of the reserve where few descriptors
/// are allowed, more where many are.
fn most_pipes() -> usize {
    const OF_DESCRIPTORS: u64 = 64;
    let fit = descriptor_limit().map_or(u64::MAX, |limit| limit / OF_DESCRIPTORS);
    usize::try_from(fit.clamp(4, 64)).unwrap_or(64)
}

fn move_bytes(from: BorrowedFd<'_>, to: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
    Ok(splice(from, None, to, None, bytes, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)?)
}

/// Closes the pipes of this thread once none was used for [`KEEP`].
async fn tend() {
    loop {
        sleep(KEEP).await;
        let idle = POOL.with(|pool| {
            let unused = !pool.used.replace(false);
            pool.tended.set(!unused);
            if unused { Some(std::mem::take(&mut *pool.idle.borrow_mut())) } else { None }
        });
        if idle.is_some() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        task::{Context, Poll, Waker},
        thread,
    };

    use socket2::SockRef;

    use super::*;
    use crate::io::stream::{Stream, pair::pair};

    /// Returns a pipe with bytes in it, and their number.
    fn filled() -> (Pipe, usize) {
        let pipe = Pipe::new().expect("a pipe");
        let bytes = rustix::io::write(&pipe.writer, &vec![7; SIZE]).expect("room");
        (pipe, bytes)
    }

    /// Writes through pipes until a write fails or the peer's end can be read. Returns the failure.
    async fn splice_until_failure(stream: &mut Stream) -> Option<io::Error> {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            let (pipe, mut left) = filled();
            while left > 0 {
                match stream.raw().unwrap().poll_empty(&mut cx, &pipe, left) {
                    Poll::Ready(Ok(taken)) => left -= taken,
                    Poll::Ready(Err(error)) => return Some(error),
                    Poll::Pending => tokio::task::yield_now().await,
                }
                match stream.poll_read(&mut cx, &mut [0]) {
                    Poll::Ready(Ok(_)) => return None,
                    Poll::Ready(Err(error)) => return Some(error),
                    Poll::Pending => {}
                }
            }
        }
    }

    #[tokio::test]
    async fn a_splice_that_a_reset_cuts_short_tells_of_it() {
        for round in 0..300 {
            let (mut stream, mut peer) = pair();
            let reading = thread::Builder::new().spawn(move || {
                let (start, mut buffer) = (Instant::now(), vec![0; 1 << 16]);
                while start.elapsed() < Duration::from_micros(300 + round) {
                    let _ = peer.read(&mut buffer);
                }
                SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
            });
            let reading = reading.unwrap();
            let failure = splice_until_failure(&mut stream).await;
            let failure = failure.map(|error| error.kind());
            assert_eq!(failure, Some(io::ErrorKind::ConnectionReset), "round {round}");
            reading.join().unwrap();
        }
    }
}
