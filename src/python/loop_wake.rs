//! The descriptor that an event loop watches, and by which the threads of connections wake it.

pub(super) use imp::Descriptor;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod imp {
    use std::{
        io,
        os::fd::{AsRawFd, OwnedFd, RawFd},
    };

    use rustix::event::{EventfdFlags, eventfd};

    /// A counter of the kernel's: readable once it was added to, until it is read.
    #[derive(Debug)]
    pub(in crate::python) struct Descriptor(OwnedFd);

    impl Descriptor {
        pub(in crate::python) fn new() -> io::Result<Self> {
            Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
        }

        pub(in crate::python) fn number(&self) -> RawFd {
            self.0.as_raw_fd()
        }

        /// Wakes the loop.
        pub(in crate::python) fn wake(&self) {
            let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
        }

        /// Makes the descriptor wait for the next wake-up.
        pub(in crate::python) fn clear(&self) {
            let _ = rustix::io::read(&self.0, &mut [0; 8]);
        }
    }
}

#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
mod imp {
    use std::{
        io::{self, Read, Write},
        os::{
            fd::{AsRawFd, RawFd},
            unix::net::UnixStream,
        },
    };

    /// A pair of connected sockets: one is watched, a byte in the other wakes.
    #[derive(Debug)]
    pub(in crate::python) struct Descriptor {
        watched: UnixStream,
        waking: UnixStream,
    }

    impl Descriptor {
        pub(in crate::python) fn new() -> io::Result<Self> {
            let (watched, waking) = UnixStream::pair()?;
            watched.set_nonblocking(true)?;
            waking.set_nonblocking(true)?;
            Ok(Self { watched, waking })
        }

        pub(in crate::python) fn number(&self) -> RawFd {
            self.watched.as_raw_fd()
        }

        /// Wakes the loop. A full buffer has woken it already.
        pub(in crate::python) fn wake(&self) {
            let _ = (&self.waking).write(&[1]);
        }

        /// Makes the descriptor wait for the next wake-up.
        pub(in crate::python) fn clear(&self) {
            let _ = (&self.watched).read(&mut [0; 64]);
        }
    }
}
