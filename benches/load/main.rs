//! The load generator and the backend of `benches/compare.py`: both ends of every measured
//! connection, in one thread over one epoll, so that a proxy between them is the only other
//! program at work.
//!
//! `load run` says on which port its backend listens (one line of JSON), reads one line that says
//! what to measure and through which address, measures, prints the result (one line of JSON) and
//! ends. `load certificates FOLDER` makes what measurements with TLS need there. `cargo bench
//! --bench load` measures each workload briefly without a proxy in between.

#[cfg(target_os = "linux")]
mod backend;
#[cfg(target_os = "linux")]
mod client;
#[cfg(target_os = "linux")]
mod credentials;
#[cfg(target_os = "linux")]
mod engine;
#[cfg(target_os = "linux")]
mod measure;
#[cfg(target_os = "linux")]
mod meter;
#[cfg(target_os = "linux")]
mod plan;
#[cfg(target_os = "linux")]
mod tally;
#[cfg(target_os = "linux")]
mod wire;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_default();
    let result = match argument.as_str() {
        "run" => run(),
        "certificates" => credentials::make(std::env::args().nth(2).unwrap_or_default().as_ref()),
        "--bench" => floor(),
        _ => {
            println!("usage: load run; or: cargo bench --bench load; or: python3 -m benches.compare");
            Ok(())
        }
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("load: this benchmark reads /proc and uses epoll, so it runs on Linux only");
}

/// One measurement, ordered over standard input.
#[cfg(target_os = "linux")]
fn run() -> std::io::Result<()> {
    let mut engine = engine::Engine::new()?;
    println!("{{\"backend\": {}}}", engine.address().port());
    let mut line = String::new();
    if std::io::stdin().read_line(&mut line)? == 0 {
        return Ok(());
    }
    let plan = plan::Plan::parse(&line).map_err(std::io::Error::other)?;
    println!("{}", measure::measure(&mut engine, &plan)?);
    Ok(())
}

/// What this machine does without a proxy, one second each.
#[cfg(target_os = "linux")]
fn floor() -> std::io::Result<()> {
    for line in [
        "bulk connections=1",
        "bulk connections=16",
        "rr connections=1 size=64",
        "rr connections=32 size=64",
        "crr connections=32",
    ] {
        let plan = plan::Plan::parse(&format!("{line} seconds=1 warmup=0.2")).map_err(std::io::Error::other)?;
        let result = measure::measure(&mut engine::Engine::new()?, &plan)?;
        println!("{line}: {result}");
    }
    Ok(())
}
