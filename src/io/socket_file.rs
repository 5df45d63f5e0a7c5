//! The file of a listening Unix socket: bound, and removed once.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use socket2::{Domain, SockAddr, Socket, Type};

use super::bind_error::bind_error;
use crate::words::{addr::Address, error::Error};

/// Removes the socket's file when dropped, if it is still ours.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
    /// The process that bound it: a forked child has the listener too, and must leave the file to its parent.
    process: u32,
}

impl SocketFile {
    /// Returns the absolute path.
    pub(super) fn path(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// Returns the permissions of the file, which its owner may have changed since the bind.
    pub(super) fn mode(&self) -> Option<u32> {
        fs::symlink_metadata(&self.path).ok().map(|meta| meta.mode())
    }

    /// Sets the permissions of the file.
    pub(super) fn set_mode(&self, mode: u32) {
        // Those of a new file remain where that is forbidden.
        let _ = fs::set_permissions(&self.path, fs::Permissions::from_mode(mode));
    }
}

/// Returns device and inode: another file under the same name has different ones.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = self.process == std::process::id() && identity(&self.path).is_ok_and(|now| now == self.identity);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

pub(super) fn bind_unix(path: &str) -> Result<(Socket, Option<SocketFile>), Error> {
    let address = Address::Unix(path.to_owned());
    let fault = |error: io::Error| bind_error(&address, error);
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(fault)?;
    if let Some(name) = path.strip_prefix('@') {
        socket.bind(&SockAddr::unix(format!("\0{name}")).map_err(fault)?).map_err(fault)?;
        return Ok((socket, None));
    }
    let file = PathBuf::from(path);
    remove_stale(&file);
    socket.bind(&SockAddr::unix(&file).map_err(fault)?).map_err(fault)?;
    let identity = identity(&file).map_err(fault)?;
    // Absolute, because the program may change its working directory before the file is removed. The socket's own name stays
    // as it was given.
    let path = std::path::absolute(&file).unwrap_or(file);
    Ok((socket, Some(SocketFile { path, identity, process: std::process::id() })))
}

/// Removes the file that a killed program left: a socket on which nobody listens. Any other file stays, and makes the bind
/// fail.
fn remove_stale(path: &Path) {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    let nobody = || probe(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if is_socket && nobody() {
        let _ = fs::remove_file(path);
    }
}

/// Connects without waiting, because a listener whose backlog is full may make a connect wait for ever.
fn probe(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}
