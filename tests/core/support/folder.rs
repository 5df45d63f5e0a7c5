//! A folder for a test's Unix sockets, and peers that meet there.

use std::{
    fs,
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use interpose::words::addr::Address;
use socket2::SockRef;

use super::peers::{DEADLINE, Peer};

/// Removed with what is in it when dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Folder {
    pub fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("interpose-test-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn address(&self, name: &str) -> Address {
        Address::Unix(self.path(name).to_str().unwrap().to_owned())
    }

    pub fn connect(&self, name: &str) -> Peer {
        Peer::unix(UnixStream::connect(self.path(name)).unwrap())
    }

    pub fn listen(&self, name: &str) -> UnixListener {
        bounded(UnixListener::bind(self.path(name)).unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A listener whose accept gives up at the deadline.
pub fn bounded(listener: UnixListener) -> UnixListener {
    let limit: Duration = DEADLINE;
    SockRef::from(&listener).set_read_timeout(Some(limit)).unwrap();
    listener
}

pub fn accept(listener: &UnixListener) -> Peer {
    Peer::unix(listener.accept().expect("nobody connected").0)
}
