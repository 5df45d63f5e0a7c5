//! TLS for peers: certificates that are made for one run, and the session of a peer, which threads may read and write at once.
//!
//! To a test such a peer is as one without TLS: what it writes is taken as the kernel takes it, an end is close_notify and
//! then FIN, and a close with bytes unread is a reset, as the kernel makes one of a plain socket.

use std::{
    fs,
    io::{self, BufRead, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use interpose::tls::{
    originate::{TlsUpstream, UpstreamSettings},
    terminate::{Pair, Tls, TlsSettings},
};
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use socket2::SockRef;

use super::{
    folder::Folder,
    peers::{is_reset, pass, spawn},
};

/// Number of tickets that a server sends behind its handshake.
const TICKETS: u32 = 2;

/// The name that every certificate here is for.
pub const NAME: &str = "localhost";

/// A certificate, the settings of both ends with it, and those of peers that fit to them.
pub struct Made {
    pub tls: Arc<Tls>,
    pub upstream: TlsUpstream,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

/// Returns the certificate of this run, and what uses it.
pub fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(make)
}

/// Returns a certificate for these names that nobody has signed but itself, and its key, in PEM.
pub fn self_signed(names: &[&str]) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// Writes a certificate and its key to a folder.
pub fn written(folder: &Folder, name: &str, (certificate, key): (&str, &str)) -> Pair {
    let paths = ["crt", "key"].map(|ending| folder.path(&format!("{name}.{ending}")));
    fs::write(&paths[0], certificate).unwrap();
    fs::write(&paths[1], key).unwrap();
    let [certificate, key] = paths;
    Pair { certificate, key }
}

fn make() -> Made {
    let (certificate, key) = self_signed(&[NAME, "127.0.0.1"]);
    let folder = Folder::new();
    let pair = written(&folder, "peer", (&certificate, &key));
    let settings = UpstreamSettings {
        ca: Some(pair.certificate.clone()),
        server_name: Some(NAME.to_owned()),
        ..UpstreamSettings::default()
    };
    let tls = Arc::new(Tls::load(TlsSettings::new(vec![pair])).unwrap());
    let upstream = TlsUpstream::load(settings).unwrap();
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(der.clone()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let client = Arc::new(client.with_root_certificates(roots).with_no_client_auth());
    let server = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key_der = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let server = Arc::new(server.with_no_client_auth().with_single_cert(vec![der], key_der).unwrap());
    Made { tls, upstream, client, server }
}

/// The session of one peer.
pub struct PeerSession {
    /// Of its own, so that the last of a peer's threads can give notice of the end.
    stream: TcpStream,
    connection: Mutex<Connection>,
    /// Bytes of the wire that the session has not taken yet.
    incoming: Mutex<Vec<u8>>,
    outgoing: Mutex<Outgoing>,
    /// True once a write has met a reset.
    refused: AtomicBool,
}

#[derive(Default)]
struct Outgoing {
    /// Bytes for the wire that the kernel has no room for yet.
    left: Vec<u8>,
    has_ended: bool,
    is_silent: bool,
    is_awaiting: bool,
}

impl std::fmt::Debug for PeerSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerSession").finish_non_exhaustive()
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PeerSession {
    /// Shakes hands as a client.
    pub fn client(stream: &TcpStream) -> io::Result<Self> {
        let name = ServerName::try_from(NAME).unwrap();
        Self::shaken(stream, ClientConnection::new(made().client.clone(), name).unwrap().into())
    }

    /// Shakes hands as a server.
    pub fn server(stream: &TcpStream) -> io::Result<Self> {
        Self::shaken(stream, ServerConnection::new(made().server.clone()).unwrap().into())
    }

    fn shaken(stream: &TcpStream, mut connection: Connection) -> io::Result<Self> {
        let mut wire = stream.try_clone().unwrap();
        while connection.is_handshaking() || connection.wants_write() {
            connection.complete_io(&mut wire)?;
        }
        // A peer that leaves with tickets unread would reset the connection.
        while matches!(&connection, Connection::Client(client) if client.tls13_tickets_received() < TICKETS) {
            connection.complete_io(&mut wire)?;
        }
        Ok(Self {
            stream: wire,
            connection: Mutex::new(connection),
            incoming: Mutex::default(),
            outgoing: Mutex::default(),
            refused: AtomicBool::new(false),
        })
    }

    pub fn read(&self, stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match held(&self.connection).reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // The kernel reports a reset once: here to a write.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof && self.was_refused() => {
                    return Err(ErrorKind::ConnectionReset.into());
                }
                done => return done,
            }
            self.fetch(stream)?;
        }
    }

    /// Takes bytes from the socket to the session. Returns their number: 0 at the end.
    fn fetch(&self, mut stream: &TcpStream) -> io::Result<usize> {
        let mut incoming = held(&self.incoming);
        if incoming.is_empty() {
            let mut bytes = [0; 4096];
            let got = stream.read(&mut bytes)?;
            incoming.extend_from_slice(&bytes[..got]);
        }
        // The session takes what it has room for.
        let mut connection = held(&self.connection);
        let taken = connection.read_tls(&mut &incoming[..])?;
        incoming.drain(..taken);
        connection.process_new_packets().map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        Ok(taken)
    }

    /// Returns true if bytes are unread, be it in the kernel.
    fn has_unread(&self) -> bool {
        let _ = self.stream.set_nonblocking(true);
        while !self.has_bytes() {
            let is_open = held(&self.connection).wants_read();
            if !is_open || !self.fetch(&self.stream).is_ok_and(|bytes| bytes > 0) {
                break;
            }
        }
        self.has_bytes()
    }

    /// Returns true if a write has met a reset. It may be about to say so.
    fn was_refused(&self) -> bool {
        (0..100).any(|_| {
            let refused = self.refused.load(Relaxed);
            if !refused {
                pass(Duration::from_millis(1));
            }
            refused
        })
    }

    /// Notes a write that has met a reset.
    fn noted<T>(&self, written: io::Result<T>) -> io::Result<T> {
        if written.as_ref().is_err_and(is_reset) {
            self.refused.store(true, Relaxed);
        }
        written
    }

    /// Takes the beginning of `data`. What the kernel does not take in time is kept, and goes out before anything else.
    pub fn write(&self, stream: &TcpStream, data: &[u8]) -> io::Result<usize> {
        let mut outgoing = held(&self.outgoing);
        self.noted(flush(stream, &mut outgoing.left))?;
        let taken = {
            let mut connection = held(&self.connection);
            let taken = connection.writer().write(&data[..data.len().min(16 * 1024)])?;
            fetch(&mut connection, &mut outgoing.left);
            taken
        };
        match self.noted(flush(stream, &mut outgoing.left)) {
            Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(error),
            _ => Ok(taken),
        }
    }

    /// Gives notice of the end, and behind it FIN. Returns at once, as a plain shutdown does: bytes that the kernel has no room
    /// for are written by a thread.
    pub fn half_close(self: &Arc<Self>, stream: &TcpStream) {
        let mut outgoing = held(&self.outgoing);
        self.give_notice(&mut outgoing);
        match flush_now(stream, &mut outgoing.left) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            done => {
                let _ = self.noted(done);
                return end(stream);
            }
        }
        let (this, stream) = (Arc::clone(self), stream.try_clone().unwrap());
        spawn(move || {
            let _ = this.noted(flush(&stream, &mut held(&this.outgoing).left));
            end(&stream);
        });
    }

    fn give_notice(&self, outgoing: &mut Outgoing) {
        if !std::mem::replace(&mut outgoing.has_ended, true) {
            let mut connection = held(&self.connection);
            connection.send_close_notify();
            fetch(&mut connection, &mut outgoing.left);
        }
    }

    /// Makes the close one without a word.
    pub fn be_silent(&self) {
        held(&self.outgoing).is_silent = true;
    }

    /// Makes the close one that awaits the other's end: see [`Peer::leave`](super::peers::Peer::leave).
    pub fn await_end(&self) {
        held(&self.outgoing).is_awaiting = true;
    }

    /// Returns true if bytes were taken from the socket and are unread.
    pub fn has_bytes(&self) -> bool {
        self.incoming.try_lock().is_ok_and(|incoming| !incoming.is_empty())
            || held(&self.connection).reader().fill_buf().is_ok_and(|bytes| !bytes.is_empty())
    }
}

impl Drop for PeerSession {
    fn drop(&mut self) {
        let mut outgoing = std::mem::take(&mut *held(&self.outgoing));
        if outgoing.is_silent {
            return;
        }
        if self.has_unread() {
            // To the kernel they were read.
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
            return;
        }
        self.give_notice(&mut outgoing);
        let flushed = flush_now(&self.stream, &mut outgoing.left);
        let is_full = flushed.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        if is_full || outgoing.is_awaiting {
            // As the kernel goes on sending for a plain socket that is closed.
            let mut stream = self.stream.try_clone().unwrap();
            spawn(move || {
                let _ = stream.set_nonblocking(false);
                let _ = flush(&stream, &mut outgoing.left);
                if outgoing.is_awaiting {
                    end(&stream);
                    while stream.read(&mut [0; 64]).is_ok_and(|bytes| bytes > 0) {}
                }
            });
        }
    }
}

fn fetch(connection: &mut Connection, outgoing: &mut Vec<u8>) {
    while connection.wants_write() {
        connection.write_tls(outgoing).unwrap();
    }
}

fn flush(mut stream: &TcpStream, left: &mut Vec<u8>) -> io::Result<()> {
    while !left.is_empty() {
        let taken = stream.write(left)?;
        left.drain(..taken);
    }
    Ok(())
}

/// Writes what there is room for.
fn flush_now(stream: &TcpStream, left: &mut Vec<u8>) -> io::Result<()> {
    while !left.is_empty() {
        let taken = SockRef::from(stream).send_with_flags(left, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)?;
        left.drain(..taken);
    }
    Ok(())
}

fn end(stream: &TcpStream) {
    match stream.shutdown(Shutdown::Write) {
        Err(error) if error.kind() != ErrorKind::NotConnected => panic!("shutdown: {error}"),
        _ => {}
    }
}
