//! What to measure: one line of text, `WORKLOAD key=value …`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The length of a request and of its reply in [`Workload::Connect`], bytes.
pub const REQUEST: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// The backend sends without end, the client reads.
    Bulk,
    /// The client sends a message, the backend returns it, again and again.
    RequestReply { size: usize },
    /// Connect, [`REQUEST`] bytes each way, the backend closes, then the client.
    Connect,
    /// One byte each way, then silence.
    Idle,
}

pub struct Plan {
    pub workload: Workload,
    /// Where the clients connect; none means the backend itself.
    pub target: Option<SocketAddr>,
    /// The process whose CPU time and memory are measured, children included.
    pub proxy: Option<u32>,
    pub connections: usize,
    /// Opened before, and idle while the others are measured.
    pub idle: usize,
    /// Who speaks TLS: the client, the backend.
    pub tls: (bool, bool),
    /// Whether connections of TLS go on with earlier sessions.
    pub resume: bool,
    /// Where the certificate is.
    pub certificates: PathBuf,
    pub warmup: Duration,
    pub window: Duration,
}

impl Plan {
    pub fn parse(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let mut plan = Self {
            workload: Workload::Bulk,
            target: None,
            proxy: None,
            connections: 1,
            idle: 0,
            tls: (false, false),
            resume: false,
            certificates: PathBuf::new(),
            warmup: Duration::from_millis(500),
            window: Duration::from_secs(3),
        };
        let mut size = REQUEST;
        for word in words {
            let (key, value) = word.split_once('=').ok_or_else(|| format!("'{word}' is not key=value"))?;
            match key {
                "target" => plan.target = Some(number(key, value)?),
                "pid" => plan.proxy = Some(number(key, value)?),
                "connections" => plan.connections = number(key, value)?,
                "idle" => plan.idle = number(key, value)?,
                "tls" => plan.tls = ends(value)?,
                "resume" => plan.resume = number(key, value)?,
                "certificates" => plan.certificates = value.into(),
                "size" => size = number(key, value)?,
                "seconds" => plan.window = Duration::from_secs_f64(number(key, value)?),
                "warmup" => plan.warmup = Duration::from_secs_f64(number(key, value)?),
                _ => return Err(format!("unknown key '{key}'")),
            }
        }
        plan.workload = match name {
            "bulk" => Workload::Bulk,
            "rr" => Workload::RequestReply { size: size.max(1) },
            "crr" => Workload::Connect,
            "idle" => Workload::Idle,
            _ => return Err(format!("unknown workload '{name}'")),
        };
        Ok(plan)
    }
}

fn ends(value: &str) -> Result<(bool, bool), String> {
    match value {
        "client" => Ok((true, false)),
        "backend" => Ok((false, true)),
        "both" => Ok((true, true)),
        _ => Err(format!("'{value}' is neither client nor backend nor both")),
    }
}

fn number<T: std::str::FromStr>(key: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("'{value}' is no value for {key}"))
}
