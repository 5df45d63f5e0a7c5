//! What the clients counted.

use std::time::Duration;

/// Room for the latencies of one measurement, so that none is moved while it runs.
const LATENCIES: usize = 1 << 20;

pub struct Tally {
    /// Connections over which at least one byte came back.
    pub started: usize,
    pub bytes: u64,
    pub replies: u64,
    pub connections: u64,
    /// Handshakes of TLS, and those of them that went on with an earlier session.
    pub handshakes: u64,
    pub resumed: u64,
    pub errors: u64,
    pub first_error: Option<String>,
    /// Nanoseconds from a request to its reply, or from connect to the end.
    latencies: Vec<u32>,
}

impl Tally {
    pub fn new() -> Self {
        Self {
            started: 0,
            bytes: 0,
            replies: 0,
            connections: 0,
            handshakes: 0,
            resumed: 0,
            errors: 0,
            first_error: None,
            latencies: Vec::with_capacity(LATENCIES),
        }
    }

    /// Forgets what was counted so far, except errors: those of the warm-up are errors too.
    pub fn restart(&mut self) {
        self.bytes = 0;
        self.replies = 0;
        self.connections = 0;
        self.handshakes = 0;
        self.resumed = 0;
        self.latencies.clear();
    }

    pub fn reply(&mut self, latency: Duration) {
        self.replies += 1;
        self.keep(latency);
    }

    pub fn connected(&mut self, latency: Duration) {
        self.connections += 1;
        self.keep(latency);
    }

    pub fn shaken(&mut self, resumed: bool) {
        self.handshakes += 1;
        self.resumed += u64::from(resumed);
    }

    pub fn error(&mut self, why: &std::io::Error) {
        self.errors += 1;
        if self.first_error.is_none() {
            self.first_error = Some(why.to_string());
        }
    }

    /// Microseconds below which these shares of the latencies lie.
    pub fn quantiles<const N: usize>(&mut self, shares: [f64; N]) -> Option<[f64; N]> {
        self.latencies.sort_unstable();
        let last = self.latencies.len().checked_sub(1)?;
        Some(shares.map(|share| {
            // A share of an index that fits.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let index = (last as f64 * share).round() as usize;
            f64::from(self.latencies[index.min(last)]) / 1000.0
        }))
    }

    fn keep(&mut self, latency: Duration) {
        self.latencies.push(u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX));
    }
}
