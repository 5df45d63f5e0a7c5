//! CPU time and memory of a process and its children, from /proc.

use std::fs::read_to_string;
use std::io;

/// Ticks per second of the times in /proc (`USER_HZ`): 100 on every Linux this runs on.
const TICKS: f64 = 100.0;

/// Seconds of CPU used up to a moment.
pub struct Reading {
    /// By the proxy and its children.
    pub proxy: f64,
    /// By this process.
    pub load: f64,
    /// By everything, per CPU.
    pub cpus: Vec<f64>,
}

pub fn read(proxy: Option<u32>) -> io::Result<Reading> {
    Ok(Reading { proxy: proxy.map_or(Ok(0.0), cpu_of_tree)?, load: cpu_of_tree(std::process::id())?, cpus: cpu_of_machine()? })
}

/// Proportional set size of the process and its children, bytes.
pub fn memory(proxy: u32) -> io::Result<u64> {
    let mut sum = 0;
    for pid in tree(proxy) {
        // A child that ended meanwhile has no memory.
        let Ok(text) = read_to_string(format!("/proc/{pid}/smaps_rollup")) else {
            continue;
        };
        let kib: u64 = text
            .lines()
            .find_map(|line| line.strip_prefix("Pss:"))
            .and_then(|rest| rest.trim().strip_suffix("kB"))
            .and_then(|number| number.trim().parse().ok())
            .ok_or_else(|| io::Error::other("smaps_rollup without Pss"))?;
        sum += kib * 1024;
    }
    Ok(sum)
}

/// User and system time of the living, and of children they waited for.
fn cpu_of_tree(root: u32) -> io::Result<f64> {
    let mut ticks = 0;
    for pid in tree(root) {
        let Ok(text) = read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        // The name, in parentheses, may hold anything; what follows is numbers: the state is the
        // 3rd field, utime stime cutime cstime are the 14th to the 17th.
        let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        ticks += fields.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    }
    if ticks == 0 && read_to_string(format!("/proc/{root}/stat")).is_err() {
        return Err(io::Error::other(format!("process {root} has ended")));
    }
    Ok(ticks as f64 / TICKS)
}

fn tree(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
            next += 1;
            continue;
        };
        for task in tasks.flatten() {
            let children = read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        next += 1;
    }
    found
}

/// Time each CPU was not idle, whoever used it (time stolen by the host included).
fn cpu_of_machine() -> io::Result<Vec<f64>> {
    let text = read_to_string("/proc/stat")?;
    let lines =
        text.lines().filter(|line| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())));
    Ok(lines
        .map(|line| {
            let times: Vec<u64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
            // user nice system idle iowait irq softirq steal
            let busy: u64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|index| times.get(*index)).sum();
            busy as f64 / TICKS
        })
        .collect())
}
