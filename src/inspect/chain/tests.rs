use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use super::*;
use crate::inspect::playbook::Later;

/// Keeps bytes until it has `size` of them.
#[derive(Debug)]
struct Blocks {
    size: usize,
    kept: Vec<u8>,
}

impl Stage for Blocks {
    fn feed(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        self.kept.extend_from_slice(&chunk);
        while self.kept.len() >= self.size {
            let rest = self.kept.split_off(self.size);
            out.push(Bytes::from(mem::replace(&mut self.kept, rest)));
        }
        if end != End::Open {
            out.push(Bytes::from(mem::take(&mut self.kept)));
        }
        if end == End::Finished {
            out.end();
        }
        Progress::Moved
    }

    fn release(&mut self) -> Vec<Chunk> {
        vec![Bytes::from(mem::take(&mut self.kept)).into()]
    }
}

/// Takes one feed, then waits until it is let go.
#[derive(Debug, Default)]
struct Asks {
    asked: Option<(Chunk, End)>,
    answers: bool,
    seen: Vec<usize>,
}

impl Stage for Asks {
    fn feed(&mut self, chunk: Chunk, end: End, _: &mut Outbox) -> Progress {
        self.seen.push(chunk.len());
        self.asked = Some((chunk, end));
        Progress::Waiting
    }

    fn resume(&mut self, out: &mut Outbox) -> Progress {
        match self.asked.take_if(|_| self.answers) {
            Some((chunk, end)) => Nothing.feed(chunk, end, out),
            None if self.asked.is_some() => Progress::Waiting,
            None => Progress::Moved,
        }
    }
}

/// Lets bytes pass that have no `x`, and records how it got each.
#[derive(Debug, Default)]
struct Picks(Arc<Mutex<Vec<String>>>);

impl Picks {
    fn note(&self, how: &str, bytes: &[u8]) {
        self.0.lock().unwrap().push(format!("{how} {}", bytes.escape_ascii()));
    }
}

impl Stage for Picks {
    fn feed(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        self.note("fed", &chunk);
        Nothing.feed(chunk, end, out)
    }

    fn passes(&mut self, bytes: &[u8]) -> bool {
        let passes = !bytes.contains(&b'x');
        if passes {
            self.note("passes", bytes);
        }
        passes
    }
}

#[test]
fn bytes_that_pass_some_stages_are_fed_to_those_behind_them_alone() {
    let (first, second, third) = (Picks::default(), Picks::default(), Picks::default());
    let seen = [&first, &second, &third].map(|stage| Arc::clone(&stage.0));
    let mut stages = Stages::default().before_hook(first).before_hook(second).after_hook(third);
    let (mut hook, mut out) = (Picks::default(), Outbox::default());
    assert_eq!(stages.pass(&mut hook, b"a"), None);
    // As if the second stage had become choosy.
    assert_eq!(stages.pass(&mut hook, b"x"), Some(0));
    let _ = stages.feed_from(1, &mut hook, Bytes::from_static(b"x").into(), End::Open, &mut out);
    assert_eq!(seen.map(|seen| seen.lock().unwrap().join(", ")), ["passes a", "passes a, fed x", "passes a, fed x"]);
    assert_eq!(hook.0.lock().unwrap().join(", "), "passes a, fed x");
    assert_eq!(pieces(&mut out), [(1, None)]);
}

#[test]
fn nothing_passes_a_stage_that_waits_or_has_ended() {
    let mut stages = Stages::default().before_hook(Asks::default());
    let (mut hook, mut out) = (Picks::default(), Outbox::default());
    let _ = stages.feed(&mut hook, Bytes::from_static(b"a"), End::Open, &mut out);
    assert_eq!(stages.pass(&mut hook, b"b"), Some(0));
    let mut stages = Stages::default().before_hook(Picks::default());
    let _ = stages.feed(&mut hook, Bytes::new(), End::Finished, &mut out);
    assert_eq!(stages.pass(&mut hook, b"b"), Some(0));
}

fn pieces(out: &mut Outbox) -> Vec<(usize, Option<Instant>)> {
    std::iter::from_fn(|| out.next_piece()).map(|(bytes, due)| (bytes.len(), due)).collect()
}

fn bytes(count: usize) -> Bytes {
    vec![7; count].into()
}

fn moved(progress: Progress) -> bool {
    match progress {
        Progress::Moved => true,
        Progress::Waiting | Progress::Again => false,
        Progress::Failed(failed) => panic!("{failed:?}"),
    }
}

#[test]
fn a_stage_is_fed_each_piece_of_the_one_before_it() {
    let mut stages = Stages::default().before_hook(Blocks { size: 4, kept: Vec::new() });
    let (mut hook, mut out) = (Asks { answers: true, ..Asks::default() }, Outbox::default());
    assert!(!moved(stages.feed(&mut hook, bytes(10), End::Open, &mut out)));
    assert_eq!((&hook.seen[..], out.bytes()), (&[4][..], 0), "it waits, so it is fed no second");
    assert!(!moved(stages.resume(&mut hook, &mut out)));
    assert!(moved(stages.resume(&mut hook, &mut out)));
    assert!(!moved(stages.feed(&mut hook, bytes(0), End::Finished, &mut out)));
    assert!(moved(stages.resume(&mut hook, &mut out)));
    assert_eq!(hook.seen, [4, 4, 2], "the end comes with the last bytes");
    assert_eq!(pieces(&mut out).iter().map(|piece| piece.0).collect::<Vec<_>>(), [4, 4, 2]);
    assert!(matches!(out.take_finish(), Some((Finish::Fin, None))));
    assert_eq!(out.take_figures(), (0, 0));
}

#[test]
fn delays_add_up_and_the_end_is_as_late_as_what_is_before_it() {
    let (start, ms) = (Instant::now(), Duration::from_millis);
    let mut stages = Stages::default().after_hook(Later(ms(10))).after_hook(Later(ms(5)));
    let mut out = Outbox::at(start);
    assert!(moved(stages.feed(&mut Nothing, bytes(3), End::Open, &mut out)));
    assert!(moved(stages.inject(&mut Nothing, bytes(2), &mut out)));
    out.set_now(start + ms(1));
    assert!(moved(stages.feed(&mut Nothing, bytes(0), End::Finished, &mut out)));
    assert_eq!(pieces(&mut out), [(3, Some(start + ms(15))), (2, Some(start + ms(15)))]);
    assert!(matches!(out.take_finish(), Some((Finish::Fin, Some(due))) if due == start + ms(16)));
    assert_eq!(out.take_figures(), (2, 0));
}

#[test]
fn a_direction_that_is_stopped_lets_go_of_all_that_stages_keep() {
    let mut stages = Stages::default().before_hook(Blocks { size: 4, kept: Vec::new() });
    let mut stages = stages_after(&mut stages);
    let (mut hook, mut out) = (Asks { answers: true, ..Asks::default() }, Outbox::default());
    assert!(moved(stages.feed(&mut hook, bytes(3), End::Open, &mut out)));
    assert!(!moved(stages.feed(&mut hook, bytes(0), End::Stopped, &mut out)));
    assert!(moved(stages.resume(&mut hook, &mut out)), "the end goes on once it has answered");
    assert_eq!(pieces(&mut out), [(3, None)]);
    assert!(!out.has_finish(), "that is not a stage's to decide");
}

fn stages_after(stages: &mut Stages) -> Stages {
    mem::take(stages).after_hook(Blocks { size: 100, kept: Vec::new() })
}

#[test]
fn what_a_stage_that_is_taken_out_keeps_is_not_lost() {
    for behind in [false, true] {
        let blocks = Blocks { size: 4, kept: Vec::new() };
        let stages = Stages::default();
        let mut stages = if behind { stages.after_hook(blocks) } else { stages.before_hook(blocks) };
        let mut out = Outbox::default();
        assert!(moved(stages.feed(&mut Nothing, bytes(3), End::Open, &mut out)));
        assert!(out.is_empty());
        let at = usize::from(behind);
        assert!(stages.remove(1 - at).is_none(), "the hook stays");
        assert!(stages.remove(at).is_some());
        assert!(moved(stages.resume(&mut Nothing, &mut out)));
        assert!(moved(stages.feed(&mut Nothing, bytes(2), End::Open, &mut out)));
        assert_eq!(pieces(&mut out), [(3, None), (2, None)]);
    }
}

#[test]
fn an_end_that_a_stage_waits_with_goes_on_without_it() {
    for (behind, end) in [(false, End::Finished), (true, End::Finished), (false, End::Stopped)] {
        let stages = Stages::default();
        let mut stages = if behind { stages.after_hook(Asks::default()) } else { stages.before_hook(Asks::default()) };
        let mut out = Outbox::default();
        assert!(!moved(stages.feed(&mut Nothing, bytes(0), end, &mut out)));
        assert!(stages.remove(usize::from(behind)).is_some());
        assert!(moved(stages.resume(&mut Nothing, &mut out)));
        assert_eq!(out.has_finish(), end == End::Finished);
        assert!(stages.links.iter().all(|link| link.state == LinkState::Ended), "{stages:?}");
    }
}

#[test]
fn a_place_beyond_the_last_is_behind_it() {
    let mut stages = Stages::default();
    stages.insert(9, Box::new(Nothing));
    assert_eq!((stages.places(), stages.hook_place()), (2, 0));
}
