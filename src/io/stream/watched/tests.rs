use std::{
    future::poll_fn,
    io::{Read, Write},
    net::Shutdown,
};

use super::*;
use crate::{
    io::stream::{
        Stream,
        pair::{pair, read},
    },
    wire::hello::testing::Parts,
};

fn hello() -> Vec<u8> {
    Parts::default().named("mail.example").wire()
}

fn watched() -> (Stream, std::net::TcpStream) {
    let (mut stream, peer) = pair();
    stream.watch(Start::default());
    (stream, peer)
}

/// Reads until nothing comes but a hello.
async fn until_hello(stream: &mut Stream) -> Vec<u8> {
    let mut all = Vec::new();
    poll_fn(|cx| {
        let mut buffer = [0; 7];
        while let Poll::Ready(read) = stream.poll_read(cx, &mut buffer) {
            all.extend_from_slice(&buffer[..read.unwrap()]);
        }
        if stream.has_hello() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    all
}

/// Reads what there is; waits until the kernel has handed over everything.
async fn until_pending(stream: &mut Stream) -> Vec<u8> {
    let mut all = Vec::new();
    for _ in 0..100 {
        poll_fn(|cx| {
            let mut buffer = [0; 100];
            while let Poll::Ready(read) = stream.poll_read(cx, &mut buffer) {
                all.extend_from_slice(&buffer[..read.unwrap()]);
            }
            Poll::Ready(())
        })
        .await;
        tokio::task::yield_now().await;
    }
    all
}

#[tokio::test]
async fn plaintext_passes_and_a_hello_stays_for_tls() {
    let (mut stream, mut peer) = watched();
    assert!(stream.raw().is_none(), "no byte passes unseen");
    peer.write_all(b"EHLO\r\n").unwrap();
    assert_eq!(read(&mut stream, 100).await.unwrap(), b"EHLO\r\n");
    assert_eq!(poll_fn(|cx| stream.poll_write(cx, b"220 hi\r\n")).await.unwrap(), 8);
    let mut answer = [0; 8];
    peer.read_exact(&mut answer).unwrap();
    peer.write_all(&hello()).unwrap();
    assert!(until_hello(&mut stream).await.is_empty());
    assert!(stream.has_unread() && stream.has_unread_bytes());
    assert!(stream.stop_watching().is_some() && !stream.has_hello());
    assert_eq!(read(&mut stream, 1000).await.unwrap(), hello());
    assert!(stream.stop_watching().is_none(), "it is a socket");
}

#[tokio::test]
async fn a_hello_waits_for_the_answer_that_is_written() {
    let (mut stream, mut peer) = watched();
    peer.write_all(&[&b"STLS\r\n"[..], &hello()].concat()).unwrap();
    assert_eq!(read(&mut stream, 4).await.unwrap(), b"STLS");
    assert_eq!(read(&mut stream, 100).await.unwrap(), b"\r\n");
    assert!(!stream.has_hello());
    assert_eq!(poll_fn(|cx| stream.poll_write_pieces(cx, &[IoSlice::new(b"+OK"), IoSlice::new(b"\r\n")])).await.unwrap(), 5);
    assert!(until_hello(&mut stream).await.is_empty());
    assert_eq!(stream.detach().unwrap().attach().unwrap().stop_watching().map(|start| start.early.len()), Some(0));
}

#[tokio::test]
async fn a_hello_that_is_refused_goes_on_in_plain() {
    let (mut stream, mut peer) = watched();
    peer.write_all(&[&b"STLS\r\n"[..], &hello()].concat()).unwrap();
    assert_eq!(read(&mut stream, 1000).await.unwrap(), b"STLS\r\n");
    assert_eq!(poll_fn(|cx| stream.poll_write(cx, b"-ERR\r\n")).await.unwrap(), 6);
    assert_eq!(read(&mut stream, 1000).await.unwrap(), hello());
}

#[tokio::test]
async fn what_came_in_one_piece_with_a_refused_hello_is_looked_at_behind_it() {
    let (mut stream, mut peer) = watched();
    let both = [&b"STLS\r\n"[..], &hello(), b"STLS\r\n", &hello()].concat();
    peer.write_all(&both).unwrap();
    assert_eq!(read(&mut stream, 1000).await.unwrap(), b"STLS\r\n");
    assert_eq!(poll_fn(|cx| stream.poll_write(cx, b"-ERR\r\n")).await.unwrap(), 6);
    assert_eq!(read(&mut stream, 1000).await.unwrap(), hello());
    assert!(stream.has_unread() && !stream.has_hello());
    assert_eq!(read(&mut stream, 1000).await.unwrap(), b"STLS\r\n");
    assert_eq!(poll_fn(|cx| stream.poll_write(cx, b"+OK\r\n")).await.unwrap(), 5);
    assert!(until_hello(&mut stream).await.is_empty());
}

#[tokio::test]
async fn bytes_that_were_read_before_are_watched_as_well() {
    let (mut stream, _peer) = pair();
    stream.unread(hello().into());
    stream.watch(Start::default());
    assert!(until_hello(&mut stream).await.is_empty());
}

#[tokio::test]
async fn half_a_hello_is_plain_at_the_end_of_the_stream() {
    let (mut stream, mut peer) = watched();
    peer.write_all(&hello()[..50]).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read(&mut stream, 100).await.unwrap(), hello()[..50]);
    assert!(read(&mut stream, 100).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn half_a_hello_does_not_wait_for_ever() {
    let (mut stream, mut peer) = watched();
    peer.write_all(&hello()[..50]).unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!(read(&mut stream, 100).await.unwrap(), hello()[..50]);
    assert!(began.elapsed() >= PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn a_hello_behind_a_refused_one_has_its_own_time() {
    let (mut stream, mut peer) = watched();
    peer.write_all(&[&b"STLS\r\n"[..], &hello()[..50]].concat()).unwrap();
    assert_eq!(read(&mut stream, 100).await.unwrap(), b"STLS\r\n");
    assert!(until_pending(&mut stream).await.is_empty());
    tokio::time::advance(PATIENCE * 3 / 4).await;
    peer.write_all(&[&hello()[50..], b"STLS\r\n", &hello()[..50]].concat()).unwrap();
    assert!(until_pending(&mut stream).await.is_empty());
    assert_eq!(poll_fn(|cx| stream.poll_write(cx, b"-ERR\r\n")).await.unwrap(), 6);
    tokio::time::advance(PATIENCE / 2).await;
    assert_eq!(until_pending(&mut stream).await, [&hello()[..], b"STLS\r\n"].concat(), "the second may still become whole");
}
