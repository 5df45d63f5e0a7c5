//! Faults, for Python. None of them attaches to the interpreter.

use std::{sync::Arc, time::Duration};

use pyo3::prelude::*;

use super::{convert, deciding::OfFault, errors::Kind, fault::Fault, filters::Directions, handle};
use crate::{
    inspect::faults::{
        bandwidth::Bandwidth,
        condition::Condition,
        cut::How,
        decider::Questions,
        effect::Effect,
        flap::{Down, Flap},
        latency::{Distribution, Latency},
        message::Change,
        set::{self, Faults},
        slicer::Slicer,
    },
    live::inbox::Refused,
    matching::{expression::Expression, literals::Literals, matcher::Matcher},
    words::direction::Both,
};

/// The numbers of an effect: seconds, counts, and the seconds of a schedule.
type Numbers = ((f64, f64), (u64, u64), Vec<f64>);

/// Probability, bytes before it, pattern and whether that is an expression, the number of the first strike, maximum strikes.
type When = (f64, u64, Option<(Vec<u8>, bool)>, Option<u64>, Option<u64>);

#[pymethods]
impl Fault {
    /// Makes a fault. `word`: how a cut ends, a distribution, or what is down. `concerns`: the directions, and whether a
    /// function decides about connections and about messages.
    #[new]
    fn new(
        py: Python<'_>,
        name: String,
        kind_and_word: (String, String),
        numbers: Numbers,
        when: When,
        concerns: (Directions, (bool, bool)),
    ) -> PyResult<Self> {
        let effect = effect(py, &kind_and_word.0, numbers, &kind_and_word.1)?;
        let (probability, after_bytes, pattern, nth, times) = when;
        let matcher = pattern.map(|(pattern, is_expression)| matcher(py, &pattern, is_expression)).transpose()?;
        let condition = Condition { probability, after_bytes, matcher, nth, times };
        let ((to_upstream, to_client), (chooses, matches)) = concerns;
        let is_own = matches!(effect, Effect::Own);
        let fault = set::Fault::new(name, effect, condition, Both { to_upstream, to_client });
        if !(is_own || chooses || matches) {
            return Ok(Self(Arc::new(fault)));
        }
        let deciders = Arc::new(OfFault(fault.number));
        Ok(Self(Arc::new(fault.decided_by(deciders, Questions { chooses, matches }))))
    }

    /// Its number in this process.
    #[getter]
    fn number(&self) -> u64 {
        self.0.number
    }

    /// Counts from the beginning again.
    fn begin_anew(&self) {
        self.0.begin_anew();
    }

    /// How often it has struck.
    #[getter]
    fn strikes(&self) -> u64 {
        self.0.strikes()
    }
}

fn matcher(py: Python<'_>, pattern: &[u8], is_expression: bool) -> PyResult<Arc<Matcher>> {
    let made = if is_expression {
        Expression::new(pattern).map(|expression| Matcher::Expression(Box::new(expression)))
    } else {
        Literals::new(&[pattern]).map(Matcher::Literals)
    };
    made.map(Arc::new).map_err(|error| Kind::Config.raise(py, format!("on_match: {error}")))
}

fn flap(py: Python<'_>, schedule: &[f64], word: &str) -> PyResult<Effect> {
    let spans: PyResult<Vec<_>> = schedule
        .iter()
        .map(|span| convert::seconds(py, "schedule", Some(*span)).map(|time: Option<Duration>| time.unwrap_or_default()))
        .collect();
    let down = match word {
        "entrance" => Down::Entrance,
        "link" => Down::Link,
        _ => Down::Server,
    };
    let flap = Flap::new(spans?, down);
    let wrong = || Kind::Config.raise(py, "schedule: give times that it is up and down, by turns, such as [1.0, 0.5]");
    flap.map(|flap| Effect::Flap(Arc::new(flap))).ok_or_else(wrong)
}

fn effect(py: Python<'_>, kind: &str, numbers: Numbers, word: &str) -> PyResult<Effect> {
    let ((first, second), (count, more), schedule) = numbers;
    let seconds = |value| convert::seconds(py, "seconds", Some(value)).map(|time: Option<Duration>| time.unwrap_or_default());
    let how = match word {
        "reset" => How::Reset,
        "stall" => How::Stall,
        _ => How::Fin,
    };
    let distribution = match word {
        "normal" => Distribution::Normal,
        "pareto" => Distribution::Pareto,
        _ => Distribution::Uniform,
    };
    Ok(match kind {
        "latency" => Effect::Latency(Latency {
            delay: seconds(first)?,
            jitter: seconds(second)?,
            distribution,
            most: usize::try_from(count).unwrap_or(usize::MAX),
        }),
        "bandwidth" => Effect::Bandwidth(Bandwidth { rate: count, burst: more }),
        "slicer" => Effect::Slicer(Slicer { size: count, variation: more, delay: seconds(first)? }),
        "cut" => Effect::Cut(how),
        "close_after" => Effect::CloseAfter(seconds(first)?, how),
        "stall" => Effect::Stall,
        "blackhole" => Effect::Blackhole,
        "half_close" => Effect::HalfClose,
        "slow_close" => Effect::SlowClose(seconds(first)?),
        "corrupt" => Effect::Message(Change::Corrupt { bits: count }),
        "duplicate" => Effect::Message(Change::Duplicate),
        "truncate" => Effect::Message(Change::Truncate { keep: count }),
        "drop" => Effect::Message(Change::Drop),
        "flap" => return flap(py, &schedule, word),
        "refuse_connect" => Effect::RefuseConnect,
        "slow_connect" => Effect::SlowConnect(seconds(first)?),
        "own" => Effect::Own,
        _ => return Err(Kind::Config.raise(py, format!("fault: there is no {kind}"))),
    })
}

/// Returns the faults of a server or a side.
pub(super) fn list(faults: &[PyRef<'_, Fault>]) -> Faults {
    faults.iter().map(|fault| Arc::clone(&fault.0)).collect()
}

/// Puts faults in the places of those before, for what one side of a connection sends.
#[pyfunction]
pub(super) fn set_faults(
    py: Python<'_>,
    connection: &handle::Connection,
    to_upstream: bool,
    faults: Vec<PyRef<'_, Fault>>,
) -> PyResult<()> {
    let connection = connection.task(py)?;
    match connection.set_faults(handle::direction(to_upstream), list(&faults)) {
        Ok(()) => Ok(()),
        Err(Refused::Ended) => {
            let message = format!("faults: connection {} has ended, so nothing of it can be harmed", connection.id());
            Err(Kind::Ended.raise(py, message))
        }
        Err(Refused::Full) => {
            let message = format!("faults: 64 changes wait on connection {}; set them once", connection.id());
            Err(Kind::Full.raise(py, message))
        }
    }
}
