//! Faults that concern clients before their bytes: those that are refused, and those whose upstream is connected late.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    effect::Effect,
    fault::Fault,
    flap::{Down, Flap},
    set::Place,
    strikes::Strikes,
};
use crate::words::outcome::Failed;

/// Returns true if a fault refuses clients, now or later.
pub fn may_refuse(fault: &Fault) -> bool {
    match &fault.effect {
        Effect::RefuseConnect => true,
        Effect::Flap(flap) => flap.down != Down::Link,
        _ => false,
    }
}

/// Returns true if faults refuse clients now, and the instant at which that changes by itself.
pub fn refuses(faults: &[Arc<Fault>], now: Instant) -> (bool, Option<Instant>) {
    let flaps = |fault: &Arc<Fault>| match &fault.effect {
        Effect::Flap(flap) if flap.down != Down::Link => Some(Flap::phase(flap, now)),
        _ => None,
    };
    let phases: Vec<_> = faults.iter().filter_map(flaps).collect();
    let refuses = faults.iter().any(|fault| matches!(fault.effect, Effect::RefuseConnect));
    let next = phases.iter().map(|(_, until)| *until).min();
    (refuses || phases.iter().any(|(is_up, _)| !is_up), next)
}

/// Returns how long the connecting of an upstream is delayed.
pub fn connect_delay(faults: &[Arc<Fault>], place: &Place) -> Result<Duration, Failed> {
    let mut total = Duration::ZERO;
    for (index, fault) in faults.iter().enumerate() {
        let Effect::SlowConnect(delay) = fault.effect else { continue };
        let Place { connection, direction, ref witnesses, .. } = *place;
        if let Some((deciders, questions)) = &fault.deciders
            && questions.chooses
            && !deciders.of(connection.number, direction).chooses()?
        {
            continue;
        }
        // The third word is none of a direction's.
        let mut random = place.draws.of(connection.number, 2, index);
        let strikes = Strikes { fault: Arc::clone(fault), connection, direction, witnesses: Arc::clone(witnesses) };
        if strikes.occurs(&mut random) {
            total = total.saturating_add(delay);
        }
    }
    Ok(total)
}
