use std::{
    io::ErrorKind,
    net::{Shutdown, TcpStream},
    sync::Arc,
    thread,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::UnbufferedServerConnection,
};
use socket2::SockRef;
use tokio::time::Instant;

use super::{
    super::{
        Stream,
        pair::{pair, read},
    },
    *,
};
use crate::{tls::Truncation, words::direction::Side};

/// Returns the settings of both ends, with a certificate of this run.
fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    static MADE: OnceLock<(Arc<ServerConfig>, Arc<ClientConfig>)> = OnceLock::new();
    MADE.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        (
            Arc::new(server.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap()),
            Arc::new(client.with_root_certificates(roots).with_no_client_auth()),
        )
    })
    .clone()
}

/// A client on a blocking socket.
struct Peer {
    socket: TcpStream,
    session: ClientConnection,
}

impl Peer {
    fn receive(&mut self, bytes: usize) {
        let mut all = vec![0; bytes];
        rustls::Stream::new(&mut self.session, &mut self.socket).read_exact(&mut all).unwrap();
    }

    fn give_notice(&mut self) {
        self.session.send_close_notify();
        while self.session.wants_write() {
            self.session.write_tls(&mut self.socket).unwrap();
        }
    }

    fn reset(self) {
        SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// Returns a stream that has shaken hands, and its client.
async fn shaken(truncation: Truncation) -> (Stream, Peer) {
    let ((server, client), (mut stream, mut socket)) = (configs(), pair());
    // What waits for an acknowledgement would be dropped by a reset.
    socket.set_nodelay(true).unwrap();
    let shaking = thread::Builder::new().spawn(move || {
        let name = ServerName::try_from("localhost").unwrap();
        let mut session = ClientConnection::new(client, name).unwrap();
        while session.is_handshaking() || session.wants_write() {
            session.complete_io(&mut socket).unwrap();
        }
        Peer { socket, session }
    });
    let session = Session::new(UnbufferedServerConnection::new(server).unwrap(), Side::Client, truncation).unwrap();
    stream.start_tls(session).await.unwrap();
    (stream, shaking.unwrap().join().unwrap())
}

async fn write(stream: &mut Stream, bytes: &[u8]) {
    assert_eq!(poll_fn(|cx| stream.poll_write(cx, bytes)).await.unwrap(), bytes.len());
}

async fn end(stream: &mut Stream) -> io::Result<()> {
    poll_fn(|cx| stream.poll_end(cx)).await
}

async fn has_failed(stream: &Stream) -> bool {
    poll_fn(|cx| Poll::Ready(stream.poll_failure(cx).is_ready())).await
}

/// Waits until the kernel has met the reset.
async fn settled(stream: &Stream) {
    while stream.transport().unwrap().peer_name().is_ok() {
        tokio::task::yield_now().await;
    }
}

/// The reset is the answer of the peer's kernel to our notice, and the peer has all of our bytes.
#[tokio::test]
async fn a_peer_that_leaves_behind_its_notice_resets_nothing() {
    for [reads_first, half_closes, watches] in (0..8).map(|bits| [1, 2, 4].map(|bit| bits & bit != 0)) {
        let (mut stream, mut peer) = shaken(Truncation::Reset).await;
        write(&mut stream, b"bytes").await;
        peer.receive(5);
        peer.give_notice();
        if half_closes {
            peer.socket.shutdown(Shutdown::Write).unwrap();
        }
        drop(peer);
        if reads_first {
            assert_eq!(read(&mut stream, 9).await.unwrap(), b"");
        }
        end(&mut stream).await.unwrap();
        settled(&stream).await;
        assert!(!watches || !has_failed(&stream).await, "{reads_first} {half_closes}");
        assert_eq!(read(&mut stream, 9).await.unwrap(), b"", "{reads_first} {half_closes}");
    }
}

/// A client that only sends leaves with the tickets of the handshake unread: its kernel resets the connection for that.
#[tokio::test]
async fn a_peer_that_only_sends_resets_nothing() {
    for reads_first in [true, false] {
        let (mut stream, mut peer) = shaken(Truncation::Reset).await;
        rustls::Stream::new(&mut peer.session, &mut peer.socket).write_all(b"bytes").unwrap();
        peer.give_notice();
        drop(peer);
        settled(&stream).await;
        if reads_first {
            assert_eq!(read(&mut stream, 9).await.unwrap(), b"bytes");
            assert_eq!(read(&mut stream, 9).await.unwrap(), b"");
        }
        end(&mut stream).await.unwrap();
        if !reads_first {
            assert_eq!(read(&mut stream, 9).await.unwrap(), b"bytes");
        }
        assert_eq!(read(&mut stream, 9).await.unwrap(), b"", "{reads_first}");
    }
}

#[tokio::test]
async fn a_reset_without_notice_is_one_even_behind_our_end() {
    for truncation in [Truncation::Reset, Truncation::Allow] {
        for [ends_first, watches] in [[false, false], [true, false], [true, true]] {
            let (mut stream, mut peer) = shaken(truncation).await;
            write(&mut stream, b"bytes").await;
            peer.receive(5);
            if ends_first {
                end(&mut stream).await.unwrap();
            }
            peer.reset();
            settled(&stream).await;
            assert!(!watches || !has_failed(&stream).await, "left to the read");
            if !ends_first && end(&mut stream).await.is_err() {
                continue;
            }
            let kind = read(&mut stream, 9).await.unwrap_err().kind();
            assert_eq!(kind, ErrorKind::ConnectionReset, "{truncation:?} {ends_first} {watches}");
        }
    }
}

#[tokio::test]
async fn bytes_that_meet_a_closed_peer_are_lost_and_that_is_a_reset() {
    let (mut stream, mut peer) = shaken(Truncation::Reset).await;
    write(&mut stream, b"bytes").await;
    peer.receive(5);
    peer.give_notice();
    drop(peer);
    write(&mut stream, b"more").await;
    settled(&stream).await;
    assert!(is_reset(&end(&mut stream).await.unwrap_err()));
}

/// FIN without notice came first, and says more than the reset behind it.
#[tokio::test]
async fn a_peer_that_leaves_without_notice_is_cut_off_or_allowed_to() {
    for truncation in [Truncation::Reset, Truncation::Allow] {
        let (mut stream, mut peer) = shaken(truncation).await;
        write(&mut stream, b"bytes").await;
        peer.receive(5);
        drop(peer);
        end(&mut stream).await.unwrap();
        settled(&stream).await;
        let last = read(&mut stream, 9).await;
        match truncation {
            Truncation::Allow => assert_eq!(last.unwrap(), b""),
            Truncation::Reset => assert_eq!(Failure::of(&last.unwrap_err()), Some(&Failure::Truncated)),
        }
    }
}

/// Returns a session of the server's side, before its handshake.
fn session() -> Session {
    Session::new(UnbufferedServerConnection::new(configs().0).unwrap(), Side::Client, Truncation::Reset).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_stands_still_ends_with_its_limit() {
    for begins in [false, true] {
        let (mut stream, mut peer) = pair();
        if begins {
            let (mut hello, name) = (Vec::new(), ServerName::try_from("localhost").unwrap());
            ClientConnection::new(configs().1, name).unwrap().write_tls(&mut hello).unwrap();
            peer.write_all(&hello[..hello.len() / 2]).unwrap();
        }
        let began = Instant::now();
        let shaken = deadline::within(Duration::from_secs(10), stream.start_tls(session())).await;
        assert!(shaken.is_none(), "{begins}");
        assert_eq!(began.elapsed().as_secs(), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_whose_handshake_has_failed_has_a_second_to_read_why() {
    let (mut stream, mut peer) = pair();
    peer.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let began = Instant::now();
    let error = stream.start_tls(session()).await.unwrap_err();
    assert!(Failure::of(&error).unwrap().to_string().starts_with("speaks HTTP without TLS"), "{error}");
    assert_eq!(began.elapsed().as_secs(), 1);
    let mut alert = [0; 7];
    peer.read_exact(&mut alert).unwrap();
    assert_eq!((alert[0], peer.read(&mut alert).unwrap()), (0x15, 0));
}
