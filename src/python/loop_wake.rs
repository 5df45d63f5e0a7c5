//! The descriptor that an event loop watches, and the wake-ups by which the threads of connections wake it.

use std::sync::Arc;

use tokio::runtime::Handle;

#[cfg(unix)]
pub(super) use imp::Descriptor;

/// The means to wake the event loop.
#[derive(Debug)]
pub(super) enum Wake {
    #[cfg(unix)]
    Descriptor(Descriptor),
    /// There are no descriptors: a thread waits in [`Queue::wait`](super::questions::Queue::wait).
    #[cfg_attr(unix, expect(dead_code, reason = "a Unix has descriptors"))]
    Thread,
}

/// A wake-up of the loop that takes place at its drop: so also if the runtime ends before its task has run.
pub(super) struct DueWake(Arc<Wake>);

impl DueWake {
    pub(super) fn new(wake: Arc<Wake>) -> Self {
        Self(wake)
    }

    /// Wakes the loop from the thread of the runtime `home`, behind the tasks that are ready there; without one, at once.
    pub(super) fn hand_to(self, home: Option<Handle>) {
        if let Some(home) = home {
            home.spawn(async move { drop(self) });
        }
    }
}

impl Drop for DueWake {
    fn drop(&mut self) {
        match &*self.0 {
            #[cfg(unix)]
            Wake::Descriptor(descriptor) => descriptor.wake(),
            Wake::Thread => {}
        }
    }
}

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
