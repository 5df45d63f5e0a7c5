//! A slow clock that costs an I/O thread nothing between two ticks: a timer of the runtime would set a timeout, and with it a
//! kernel timer, on every wait for the sockets.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime};
use tokio::io::{Interest, unix::AsyncFd};

/// A kernel timer (timerfd(2)), watched by the runtime of one thread.
#[derive(Debug)]
pub struct Ticks(AsyncFd<OwnedFd>);

impl Ticks {
    /// Starts a clock with the calling thread's runtime.
    pub fn every(time: Duration) -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let time = Timespec::try_from(time).map_err(|_| io::ErrorKind::InvalidInput)?;
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: time, it_value: time })?;
        super::unix::watch(timer, Interest::READABLE).map(Self).map_err(|(_, error)| error)
    }

    /// Completes at the next tick. Ticks that passed without a waiting task count as one.
    pub async fn next(&self) -> io::Result<()> {
        let mut passed = [0; 8];
        self.0.async_io(Interest::READABLE, |timer| Ok(rustix::io::read(timer.as_fd(), &mut passed)?)).await.map(drop)
    }
}
