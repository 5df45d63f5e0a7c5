//! The relay that one writes on tokio in an hour: a task and `copy_bidirectional` for each connection.
//!
//! `tokio_copy PORT TARGET_PORT`, both on 127.0.0.1. A peer of `benches/compare.py`; as a benchmark of its own it does
//! nothing.

use std::{env, io};

use tokio::net::{TcpListener, TcpStream};

const BUFFER: usize = 64 * 1024;

fn main() -> io::Result<()> {
    let ports: Vec<u16> = env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let [port, target] = ports[..] else {
        println!("usage: tokio_copy PORT TARGET_PORT; or: python3 -m benches.compare");
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(port, target))
}

async fn serve(port: u16, target: u16) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (mut client, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut upstream = TcpStream::connect(("127.0.0.1", target)).await?;
            client.set_nodelay(true)?;
            upstream.set_nodelay(true)?;
            tokio::io::copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER).await
        });
    }
}
