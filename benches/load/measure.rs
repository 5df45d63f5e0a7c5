//! Runs one plan and says what came out.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::credentials::Credentials;
use crate::engine::Engine;
use crate::meter;
use crate::plan::{Plan, Workload};
use crate::tally::Tally;

/// Connections opened at once: a proxy's backlog need not hold more.
const OPENING: usize = 64;
/// Within this all connections of a plan have to carry a first byte.
const START: Duration = Duration::from_secs(30);
/// What a proxy gets to put its house in order before its memory is read.
const SETTLE: Duration = Duration::from_millis(300);

/// The curve of the latencies goes from 0 up to 0.9999, with this many steps from one nine to the next.
const NINES: usize = 4;
const STEPS_PER_NINE: usize = 15;

pub fn measure(engine: &mut Engine, plan: &Plan) -> io::Result<String> {
    let (client, backend) = plan.tls;
    engine.credentials = Credentials::load(&plan.certificates, client, backend, plan.resume)?;
    match plan.workload {
        Workload::Idle => idle(engine, plan),
        Workload::Bulk | Workload::RequestReply { .. } | Workload::Connect => rate(engine, plan),
    }
}

fn rate(engine: &mut Engine, plan: &Plan) -> io::Result<String> {
    let target = plan.target.unwrap_or_else(|| engine.address());
    open(engine, Workload::Idle, target, plan.idle)?;
    engine.tally.started = 0;
    if plan.workload == Workload::Connect {
        engine.again = Some((target, plan.workload));
    }
    open(engine, plan.workload, target, plan.connections)?;
    engine.turn_until(Instant::now() + plan.warmup)?;
    engine.tally.restart();
    let before = meter::read(plan.proxy)?;
    let begin = Instant::now();
    engine.turn_until(begin + plan.window)?;
    let seconds = begin.elapsed().as_secs_f64();
    let after = meter::read(plan.proxy)?;
    engine.close_clients();

    let tally = &mut engine.tally;
    let mut text = format!(
        "{{\"seconds\": {seconds:.6}, \"bytes\": {}, \"replies\": {}, \"connections\": {}, \
         \"handshakes\": {}, \"resumed\": {}, \"errors\": {}, \"proxy_cpu\": {:.3}, \"load_cpu\": {:.3}",
        tally.bytes,
        tally.replies,
        tally.connections,
        tally.handshakes,
        tally.resumed,
        tally.errors,
        after.proxy - before.proxy,
        after.load - before.load,
    );
    if let Some([p50, p90, p99, p999]) = tally.quantiles([0.5, 0.9, 0.99, 0.999]) {
        write!(text, ", \"p50\": {p50:.1}, \"p90\": {p90:.1}, \"p99\": {p99:.1}, \"p999\": {p999:.1}")
            .map_err(io::Error::other)?;
        write!(text, ", \"quantiles\": [{}]", curve(tally).join(", ")).map_err(io::Error::other)?;
    }
    let busy: Vec<String> = after.cpus.iter().zip(&before.cpus).map(|(after, before)| format!("{:.2}", after - before)).collect();
    write!(text, ", \"cpus\": [{}]}}", busy.join(", ")).map_err(io::Error::other)?;
    Ok(text)
}

/// Pairs of a share and the microseconds below which it lies. The shares are as dense in a tail as
/// they are in the middle: what is left above them falls by the same factor each time.
fn curve(tally: &mut Tally) -> Vec<String> {
    let shares: [f64; STEPS_PER_NINE * NINES + 1] =
        std::array::from_fn(|step| 1.0 - 10_f64.powf(-(step as f64) / STEPS_PER_NINE as f64));
    let latencies = tally.quantiles(shares);
    shares.iter().zip(latencies.iter().flatten()).map(|(share, latency)| format!("[{share:.6}, {latency:.1}]")).collect()
}

/// The memory of a proxy that has served a few connections, then of the same with many idle ones.
fn idle(engine: &mut Engine, plan: &Plan) -> io::Result<String> {
    let target = plan.target.unwrap_or_else(|| engine.address());
    let proxy = plan.proxy.unwrap_or_else(std::process::id);
    open(engine, plan.workload, target, OPENING.min(plan.connections))?;
    engine.close_clients();
    engine.turn_until(Instant::now() + SETTLE)?;
    let before = meter::memory(proxy)?;

    engine.tally.started = 0;
    open(engine, plan.workload, target, plan.connections)?;
    engine.turn_until(Instant::now() + SETTLE)?;
    let after = meter::memory(proxy)?;
    Ok(format!(
        "{{\"held\": {}, \"errors\": {}, \"memory_before\": {before}, \"memory_after\": {after}}}",
        engine.tally.started, engine.tally.errors
    ))
}

/// Opens this many clients, and waits until a byte came back over each.
fn open(engine: &mut Engine, workload: Workload, target: SocketAddr, connections: usize) -> io::Result<()> {
    for opened in 1..=connections {
        engine.open(target, workload)?;
        all_started(engine, opened.saturating_sub(OPENING))?;
    }
    all_started(engine, connections)
}

fn all_started(engine: &mut Engine, connections: usize) -> io::Result<()> {
    let deadline = Instant::now() + START;
    while engine.tally.started < connections {
        if Instant::now() >= deadline {
            let started = engine.tally.started;
            let why = engine.tally.first_error.clone().unwrap_or_default();
            return Err(io::Error::other(format!("only {started} of {connections} connections carried a byte: {why}")));
        }
        engine.turn(deadline)?;
    }
    Ok(())
}
