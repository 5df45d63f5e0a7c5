//! Steps that a side passes before its bytes are relayed, in order and within one deadline: a client before `on_accept`, an
//! upstream once it is connected. A step reads and writes the stream, may put another stream in its place, and may name the
//! side anew.

use std::{fmt, pin::Pin, time::Duration};

use crate::{
    io::{deadline, stream::Stream},
    live::shared::SideNames,
    words::outcome::{CloseReason, Outcome},
};

/// A side that passes its steps. Nothing else reads or writes it meanwhile.
#[cfg_attr(not(test), expect(dead_code, reason = "no step is built in yet"))]
pub(crate) struct Opening<'a> {
    /// The stream of the side. Bytes that a step has read and that belong to the relay are put in front again.
    pub stream: &'a mut Stream,
    /// The side's names, as hooks, handles and logs show them from then on.
    pub names: &'a mut SideNames,
}

/// One step.
pub(crate) trait Step: Send + Sync + fmt::Debug {
    /// Completes once `side` has passed. An error ends the connection with that outcome; both sides get RST.
    fn pass<'a>(&'a self, side: &'a mut Opening<'_>) -> Passing<'a>;
}

/// A side on its way through one step.
pub(crate) type Passing<'a> = Pin<Box<dyn Future<Output = Result<(), Outcome>> + Send + 'a>>;

/// The steps of one kind of side.
#[derive(Debug)]
pub(crate) struct Steps {
    /// In the order in which they are passed.
    pub list: Vec<Box<dyn Step>>,
    /// The time for all of them together.
    pub limit: Duration,
    /// The close reason of a side that has not passed all of them in time.
    pub late: CloseReason,
}

impl Steps {
    pub(crate) async fn pass(&self, mut side: Opening<'_>) -> Result<(), Outcome> {
        let all = async {
            for step in &self.list {
                step.pass(&mut side).await?;
            }
            Ok(())
        };
        let late = || Outcome::explained(self.late, format!("the steps before the relay took longer than {:?}", self.limit));
        deadline::within(self.limit, all).await.unwrap_or_else(|| Err(late()))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{future::poll_fn, io::ErrorKind, sync::Arc};

    use bytes::Bytes;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        time::sleep,
    };

    use super::*;
    use crate::{
        connection::{
            self,
            context::{ConnectionContext, ServerShared},
            entry::{Entry, Slot},
        },
        inspect::faults::set::FaultSet,
        io::{listener::Listener, options::SocketOptions, ready::Ready},
        live::handle::Connection,
        settings::{config::Config, forward::Forward},
        threads::workers::Workers,
        words::addr::SocketName,
    };

    const SECOND: Duration = Duration::from_secs(1);

    /// Reads one byte, and fails unless it is this one.
    #[derive(Debug)]
    struct Expect(u8);

    impl Step for Expect {
        fn pass<'a>(&'a self, side: &'a mut Opening<'_>) -> Passing<'a> {
            Box::pin(async {
                let mut byte = [0];
                let read = poll_fn(|cx| side.stream.poll_read(cx, &mut byte)).await;
                if read.is_ok_and(|bytes| bytes == 1) && byte[0] == self.0 {
                    return Ok(());
                }
                Err(Outcome::explained(
                    CloseReason::Rejected,
                    format!("{:?} in the place of {:?}", byte[0] as char, self.0 as char),
                ))
            })
        }
    }

    /// Reads as much as has come, and puts it back.
    #[derive(Debug)]
    struct Peek;

    impl Step for Peek {
        fn pass<'a>(&'a self, side: &'a mut Opening<'_>) -> Passing<'a> {
            Box::pin(async {
                let mut bytes = [0; 16];
                let read = poll_fn(|cx| side.stream.poll_read(cx, &mut bytes)).await.unwrap();
                assert!(read > 1, "{read}");
                side.stream.unread(Bytes::copy_from_slice(&bytes[..read]));
                Ok(())
            })
        }
    }

    /// Writes these bytes.
    #[derive(Debug)]
    struct Say(&'static [u8]);

    impl Step for Say {
        fn pass<'a>(&'a self, side: &'a mut Opening<'_>) -> Passing<'a> {
            Box::pin(async {
                let written = poll_fn(|cx| side.stream.poll_write(cx, self.0)).await;
                assert_eq!(written.unwrap(), self.0.len());
                Ok(())
            })
        }
    }

    /// Sets this name as the side's.
    #[derive(Debug)]
    struct Name(&'static str);

    impl Step for Name {
        fn pass<'a>(&'a self, side: &'a mut Opening<'_>) -> Passing<'a> {
            side.names.peer = SocketName::Inet(self.0.parse().unwrap());
            Box::pin(async { Ok(()) })
        }
    }

    /// Takes this long.
    #[derive(Debug)]
    struct Take(Duration);

    impl Step for Take {
        fn pass<'a>(&'a self, _: &'a mut Opening<'_>) -> Passing<'a> {
            Box::pin(async {
                sleep(self.0).await;
                Ok(())
            })
        }
    }

    /// Fails as [`Expect`] does for another byte.
    #[derive(Debug)]
    struct Fail;

    impl Step for Fail {
        fn pass<'a>(&'a self, _: &'a mut Opening<'_>) -> Passing<'a> {
            Box::pin(async { Err(Outcome::explained(CloseReason::Rejected, "nothing in the place of a byte".to_owned())) })
        }
    }

    fn steps<const N: usize>(list: [Box<dyn Step>; N]) -> Option<Arc<Steps>> {
        Some(Arc::new(Steps { list: list.into(), limit: SECOND, late: CloseReason::ConnectTimeout }))
    }

    /// A connection that has ended, and the bytes that came out of it.
    struct Ended {
        connection: Connection,
        /// The bytes that the upstream got.
        reached: Vec<u8>,
        /// The client's reading after its own end: `Ok` is an orderly one.
        client: Result<usize, ErrorKind>,
    }

    /// Carries a client that sends `abcdef` and ends to an upstream that reads to the end.
    async fn carry(arrival: Option<Arc<Steps>>, outbound: Option<Arc<Steps>>) -> Ended {
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let forward = Forward::to(upstream.local_addr().unwrap());
        let config = Config::new("127.0.0.1:0".parse().unwrap(), forward);
        let listener = Listener::bind(&config.listen, 1, false, &SocketOptions { unacknowledged: None }).unwrap();
        let server = Arc::new(ServerShared::new(listener.name().clone(), None, FaultSet::default()));
        let address = server.address.inet().unwrap();
        let ready = Ready::new(listener).map_err(|(_, error)| error).unwrap();
        let reading = tokio::spawn(async move {
            let mut got = Vec::new();
            let (mut side, _) = upstream.accept().await.unwrap();
            let _ = side.read_to_end(&mut got).await;
            got
        });
        let client = async {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(b"abcdef").await.unwrap();
            client.shutdown().await.unwrap();
            client.read(&mut [0]).await.map_err(|error| error.kind())
        };
        let carrying = async {
            let accepted = ready.accept().await.unwrap();
            let context = ConnectionContext { arrival, outbound, ..ConnectionContext::new(server, &config) };
            let entry = Entry::new(Arc::new(context), &accepted);
            let connection = Connection::from(Arc::clone(&entry.shared));
            let slot = Slot { _permit: None, seat: None, reserve: None };
            connection::run(entry, Workers::start(1).unwrap(), accepted, slot).await;
            connection
        };
        let (client, connection) = tokio::join!(client, carrying);
        if connection.upstream().is_none() {
            reading.abort();
        }
        Ended { connection, reached: reading.await.unwrap_or_default(), client }
    }

    #[tokio::test]
    async fn steps_are_passed_in_their_order_before_the_relay() {
        let ended = carry(steps([Box::new(Expect(b'a')), Box::new(Expect(b'b'))]), None).await;
        assert_eq!((ended.connection.reason(), ended.client), (Some(CloseReason::Finished), Ok(0)));
        assert_eq!(ended.reached, b"cdef");
        let ended = carry(None, steps([Box::new(Say(b"1")), Box::new(Say(b"2"))])).await;
        assert_eq!((ended.connection.reason(), ended.client), (Some(CloseReason::Finished), Ok(0)));
        assert_eq!(ended.reached, b"12abcdef");
    }

    #[tokio::test]
    async fn bytes_that_a_step_puts_back_are_read_again_by_the_next_step_and_by_the_relay() {
        let ended = carry(steps([Box::new(Peek), Box::new(Expect(b'a')), Box::new(Peek)]), None).await;
        assert_eq!((ended.connection.reason(), ended.client), (Some(CloseReason::Finished), Ok(0)));
        assert_eq!(ended.reached, b"bcdef");
    }

    #[tokio::test]
    async fn a_step_that_fails_ends_the_connection_with_its_own_reason() {
        let failing = || steps([Box::new(Expect(b'b')), Box::new(Expect(b'a'))]);
        for (arrival, outbound) in [(failing(), None), (None, steps([Box::new(Fail), Box::new(Say(b"1"))]))] {
            let ended = carry(arrival, outbound).await;
            assert_eq!(ended.connection.reason(), Some(CloseReason::Rejected));
            assert!(ended.connection.error().unwrap().contains("in the place of"));
            assert_eq!(ended.client, Err(ErrorKind::ConnectionReset));
            assert!(ended.reached.is_empty());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_steps_of_a_side_have_one_deadline() {
        let slow = || steps([Box::new(Take(SECOND * 3 / 5)), Box::new(Take(SECOND * 3 / 5))]);
        for (arrival, outbound) in [(slow(), None), (None, slow())] {
            let ended = carry(arrival, outbound).await;
            assert_eq!(ended.connection.reason(), Some(CloseReason::ConnectTimeout));
            assert_eq!(ended.client, Err(ErrorKind::ConnectionReset));
        }
        let quick = || steps([Box::new(Take(SECOND * 2 / 5)), Box::new(Take(SECOND * 2 / 5))]);
        assert_eq!(carry(quick(), quick()).await.connection.reason(), Some(CloseReason::Finished));
    }

    #[tokio::test]
    async fn a_side_is_known_by_the_name_that_a_step_gives_it() {
        let name = |text: &str| SocketName::Inet(text.parse().unwrap());
        let ended = carry(steps([Box::new(Name("192.0.2.7:80"))]), steps([Box::new(Name("192.0.2.8:81"))])).await;
        assert_eq!(ended.connection.client().peer, name("192.0.2.7:80"));
        assert_eq!(ended.connection.upstream().unwrap().peer, name("192.0.2.8:81"));
        assert_eq!(ended.connection.reason(), Some(CloseReason::Finished));
        assert_eq!(ended.reached, b"abcdef");
    }
}
