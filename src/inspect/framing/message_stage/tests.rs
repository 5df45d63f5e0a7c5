use std::sync::{Arc, Mutex};

use super::*;
use crate::inspect::{
    Stages,
    chain::Nothing,
    framing::{spec::Framing, testing::Counted},
    playbook::{Action, Playbook, write},
};

/// Bytes, and whether they are no whole message.
type Part = (Vec<u8>, bool);

/// Records each chunk that it is fed, and lets it pass unless it is to wait.
#[derive(Debug, Clone, Default)]
struct Shown {
    seen: Arc<Mutex<Vec<Part>>>,
    waits: Arc<Mutex<bool>>,
    kept: Option<(Bytes, End)>,
}

impl Shown {
    fn take(&self) -> Vec<(String, bool)> {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        seen.into_iter().map(|(bytes, partial)| (bytes.escape_ascii().to_string(), partial)).collect()
    }

    #[track_caller]
    fn expect(&self, messages: &[&str]) {
        let whole: Vec<_> = messages.iter().map(|message| ((*message).to_owned(), false)).collect();
        assert_eq!(self.take(), whole);
    }

    #[track_caller]
    fn expect_rest(&self, rest: &str) {
        assert_eq!(self.take(), [(rest.to_owned(), true)]);
    }
}

impl Stage for Shown {
    fn feed(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        if !chunk.is_empty() {
            self.seen.lock().unwrap().push((chunk.to_vec(), chunk.is_partial()));
            if *self.waits.lock().unwrap() {
                self.kept = Some((Bytes::copy_from_slice(&chunk), end));
                return Progress::Waiting;
            }
        }
        Nothing.feed(chunk, end, out)
    }

    fn resume(&mut self, out: &mut Outbox) -> Progress {
        let waits = *self.waits.lock().unwrap();
        match self.kept.take_if(|_| !waits) {
            Some((chunk, end)) => Nothing.feed(chunk.into(), end, out),
            None if self.kept.is_some() => Progress::Waiting,
            None => Progress::Moved,
        }
    }
}

fn stage_with(framing: &dyn Framing, rules: FramingRules) -> MessageStage {
    MessageStage::new(framing.framers().to_upstream, rules, 1, Direction::ToUpstream)
}

fn counted() -> MessageStage {
    stage_with(&Counted, FramingRules::default())
}

fn book_with(framing: &dyn Framing, rules: FramingRules) -> (Playbook, Shown) {
    let shown = Shown::default();
    let mut book = Playbook::with_hook(Stages::default(), shown.clone());
    book.set_framer(Some(stage_with(framing, rules)), 0);
    (book, shown)
}

fn book() -> (Playbook, Shown) {
    book_with(&Counted, FramingRules::default())
}

#[test]
fn messages_of_one_read_are_shown_one_by_one_and_written_together_where_they_lie() {
    let (mut book, shown) = book();
    let read = Bytes::from_static(b"\x01a\x02bc\0\x01d\x03ef");
    book.feed(read.clone());
    shown.expect(&["\\x01a", "\\x02bc", "\\x00", "\\x01d"]);
    book.expect([write(b"\x01a\x02bc\0\x01d")]).expect_waiting(false);
    book.feed("g");
    shown.expect(&["\\x03efg"]);
    book.finish("").expect([write(b"\x03efg"), Action::Fin]);
    assert!(shown.take().is_empty());
}

#[test]
fn a_message_that_is_a_whole_read_or_lies_in_one_is_not_copied() {
    let mut stage = counted();
    let (read, mut out) = (Bytes::from_static(b"\x02ab\x02cd"), Outbox::default().between());
    assert!(matches!(stage.feed(read.clone().into(), End::Open, &mut out), Progress::Again));
    assert!(matches!(stage.resume(&mut out), Progress::Moved));
    for at in [0, 3] {
        assert_eq!(out.take_piece().unwrap().bytes.as_ptr(), read[at..].as_ptr());
    }
    assert_eq!(stage.kept(), 0);
}

#[test]
fn the_next_message_is_cut_once_the_one_before_has_its_answer() {
    let (mut book, shown) = book();
    *shown.waits.lock().unwrap() = true;
    book.feed("\x01a\x01b\x01c").expect_waiting(true).expect([]);
    shown.expect(&["\\x01a"]);
    book.wake().expect_waiting(true);
    assert!(shown.take().is_empty(), "its answer is pending");
    *shown.waits.lock().unwrap() = false;
    book.wake().expect_waiting(false).expect([write(b"\x01a"), write(b"\x01b\x01c")]);
    shown.expect(&["\\x01b", "\\x01c"]);
}

#[test]
fn the_rest_of_a_stream_is_shown_as_no_whole_message_at_either_end() {
    let (mut book, shown) = book();
    book.feed("\x05ab").finish("c").expect([write(b"\x05abc"), Action::Fin]);
    shown.expect_rest("\\x05abc");
    let (mut book, shown) = self::book();
    book.feed("\x05ab").stop("").expect([write(b"\x05ab")]);
    shown.expect_rest("\\x05ab");
    // The end completes this one; an end from outside does not.
    let (mut book, shown) = self::book();
    book.feed("\x01a\u{fd}").expect([write(b"\x01a")]);
    shown.expect(&["\\x01a"]);
    book.wake();
}

#[test]
fn the_end_of_a_stream_completes_a_message_that_lasts_until_then() {
    let last = Bytes::from_static(b"\xfdto the end");
    let (mut book, shown) = book();
    book.feed(last.clone()).finish("").expect([Action::Write(last.clone()), Action::Fin]);
    shown.expect(&["\\xfdto the end"]);
    let (mut book, shown) = self::book();
    book.feed(last.clone()).stop("");
    shown.expect_rest("\\xfdto the end");
}

#[test]
fn bytes_behind_the_last_message_are_shown_as_they_come() {
    let (mut book, shown) = book();
    book.feed(Bytes::from_static(b"\x01a\xfebc")).feed("d").finish("");
    let expected = [("\\x01a", false), ("\\xfebc", true), ("d", true)];
    assert_eq!(shown.take(), expected.map(|(bytes, partial)| (bytes.to_owned(), partial)));
    book.expect([Action::Write(Bytes::from_static(b"\x01a\xfebc")), write(b"d"), Action::Fin]);
}

#[test]
fn bytes_that_break_the_protocol_reset_behind_the_messages_before_or_end_the_framing() {
    let bad = Bytes::from_static(b"\x01a\xff\x01b");
    let (mut book, shown) = book();
    book.feed(bad.clone()).expect([write(b"\x01a"), Action::Reset(CloseReason::ProtocolError)]);
    shown.expect(&["\\x01a"]);
    assert_eq!(book.kept(), 0);
    let (mut book, shown) = book_with(&Counted, FramingRules { errors: FramingErrors::Chunk, ..FramingRules::default() });
    book.feed(bad.clone()).feed("\x01c").finish("").expect([Action::Write(bad), write(b"\x01c"), Action::Fin]);
    let expected = [("\\x01a", false), ("\\xff\\x01b", true), ("\\x01c", true)];
    assert_eq!(shown.take(), expected.map(|(bytes, partial)| (bytes.to_owned(), partial)));
}

#[test]
fn an_error_names_the_protocol_the_direction_the_place_and_what_was_expected() {
    let mut stage = counted().beginning_at(100);
    let mut out = Outbox::default();
    assert!(matches!(stage.feed(Bytes::from_static(b"\x01a\xff").into(), End::Open, &mut out), Progress::Again));
    assert!(matches!(stage.resume(&mut out), Progress::Moved));
    let Some((crate::inspect::outbox::Finish::Reset(failed), None)) = out.take_finish() else { panic!("it is no reset") };
    assert_eq!(failed.error, "counted to_upstream, byte 102: expected a length below 255");
}

#[test]
fn a_message_of_the_greatest_length_passes_and_one_byte_more_does_not_wherever_it_is_split() {
    let rules = FramingRules { max_message: 5, errors: FramingErrors::Close };
    for split in 1..5 {
        let (mut book, shown) = book_with(&Counted, rules);
        book.feed(&b"\x04abcd"[..split]).feed(&b"\x04abcd"[split..]);
        shown.expect(&["\\x04abcd"]);
        book.feed("\x01x\x05");
        shown.expect(&["\\x01x"]);
        let out = book.take_actions();
        assert_eq!(out.last(), Some(&Action::Reset(CloseReason::MessageTooLong)), "{out:?}");
    }
}

/// Claims a length of its own, whatever the bytes are; without one, that it is not known.
#[derive(Debug, Clone, Copy)]
struct Claims(Option<u64>);

impl Framer for Claims {
    fn protocol(&self) -> &'static str {
        "claims"
    }

    fn cut(&mut self, _: &[u8], _: usize) -> Result<Cut, Broken> {
        Ok(Cut::More { least: self.0 })
    }
}

#[test]
fn memory_grows_with_the_bytes_that_have_come_and_not_with_a_length_that_is_claimed() {
    let max_message = 1 << 20;
    for claim in [None, Some(1 << 20)] {
        let rules = FramingRules { max_message, errors: FramingErrors::Close };
        let mut stage = MessageStage::new(Box::new(Claims(claim)), rules, 1, Direction::ToUpstream);
        let mut out = Outbox::default();
        for bytes in (1..).map(|read| read * 1000).take_while(|bytes| *bytes < max_message) {
            assert!(matches!(stage.feed(Bytes::from(vec![0; 1000]).into(), End::Open, &mut out), Progress::Moved));
            assert!(!out.has_finish(), "{bytes}");
            assert!((bytes..=(2 * bytes).min(max_message)).contains(&stage.kept()), "{bytes}: {}", stage.kept());
        }
        let _ = stage.feed(Bytes::from(vec![0; 1000]).into(), End::Open, &mut out);
        assert!(out.has_finish() && stage.kept() == 0);
    }
    let rules = FramingRules { max_message, errors: FramingErrors::Close };
    let mut stage = MessageStage::new(Box::new(Claims(Some(u64::MAX))), rules, 1, Direction::ToUpstream);
    let mut out = Outbox::default();
    let _ = stage.feed(Bytes::from_static(b"x").into(), End::Open, &mut out);
    assert!(out.has_finish() && stage.kept() == 0, "it is refused before memory is needed");
}

/// Counts the bytes that it has to look at before it finds the end of a message of 100,000 bytes.
#[derive(Debug)]
struct Scans(Arc<Mutex<usize>>);

impl Framer for Scans {
    fn protocol(&self) -> &'static str {
        "scans"
    }

    fn cut(&mut self, buffer: &[u8], seen: usize) -> Result<Cut, Broken> {
        *self.0.lock().unwrap() += buffer.len() - seen;
        Ok(buffer[seen..].iter().position(|byte| *byte == b'\n').map_or(Cut::MORE, |at| Cut::Message(seen + at + 1)))
    }
}

#[test]
fn each_byte_of_a_message_that_comes_in_small_pieces_is_looked_at_once() {
    let looked = Arc::new(Mutex::new(0));
    let mut stage = MessageStage::new(Box::new(Scans(Arc::clone(&looked))), FramingRules::default(), 1, Direction::ToUpstream);
    let mut out = Outbox::default();
    for _ in 0..50_000 {
        assert!(matches!(stage.feed(Bytes::from_static(b"ab").into(), End::Open, &mut out), Progress::Moved));
    }
    assert!(matches!(stage.feed(Bytes::from_static(b"\n").into(), End::Open, &mut out), Progress::Moved));
    assert_eq!((out.bytes(), *looked.lock().unwrap()), (100_001, 100_001));
}

#[test]
fn bytes_that_a_framer_keeps_go_to_the_one_that_takes_its_place_or_to_the_hook() {
    let (mut book, shown) = book();
    book.feed("\x05ab").set_framer(
        Some(MessageStage::new(Box::new(Scans(Arc::default())), FramingRules::default(), 1, Direction::ToUpstream)),
        3,
    );
    book.feed("c\nd").expect([write(b"\x05abc\n")]);
    shown.expect(&["\\x05abc\\n"]);
    book.set_framer(None, 6).expect([write(b"d")]);
    shown.expect(&["d"]);
    book.feed("\x05ab").finish("").expect([write(b"\x05ab"), Action::Fin]);
    shown.expect(&["\\x05ab"]);
}

#[test]
fn a_framer_that_is_set_while_an_answer_is_pending_cuts_the_messages_behind_it() {
    let (mut book, shown) = book();
    *shown.waits.lock().unwrap() = true;
    book.feed("\x01a\x01b\nc").expect_waiting(true);
    shown.expect(&["\\x01a"]);
    let scans = MessageStage::new(Box::new(Scans(Arc::default())), FramingRules::default(), 1, Direction::ToUpstream);
    book.set_framer(Some(scans), 6).expect_waiting(true);
    assert!(shown.take().is_empty());
    *shown.waits.lock().unwrap() = false;
    book.wake().finish("");
    assert_eq!(shown.take(), [("\\x01b\\n".to_owned(), false), ("c".to_owned(), true)]);
}
