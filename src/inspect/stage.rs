//! The contract of a stage.

use std::fmt;

use crate::{
    inspect::{framing::ReplacedMessages, outbox::Outbox},
    words::{chunk::Chunk, outcome::Failed},
};

/// The end behind the bytes that a stage is fed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum End {
    /// More bytes may come.
    #[default]
    Open,
    /// The source has ended in order (FIN). The end reaches the destination if the stage writes it into the outbox.
    Finished,
    /// No more bytes come: the source has failed, or the direction was ended from outside. The stage does not decide about
    /// this end; it does decide about bytes that it keeps.
    Stopped,
}

/// The progress of a stage with the bytes that it was fed.
#[derive(Debug)]
#[must_use]
pub enum Progress {
    /// The stage takes more.
    Moved,
    /// The stage took the bytes that it was fed, and takes no more before [`Stage::resume`] returns something else. The
    /// direction is not read meanwhile, so the source meets backpressure.
    Waiting,
    /// The stage has more to write without being fed: [`Stage::resume`] is called once all stages behind it have acted on what
    /// it has written, and take more. It is fed nothing before that. With an `end` it keeps that end.
    Again,
    /// The connection ends now, with a reset to both sides. Bytes that were not delivered are counted undeliverable.
    Failed(Failed),
}

/// One stage of one direction. Its state belongs to that direction alone, unless it shares some with the other direction's
/// stage behind a lock of its own. It moves between threads with its connection, and is called by one thread at a time.
pub trait Stage: Send + fmt::Debug {
    /// Takes bytes of the source, together with what lies behind them.
    ///
    /// `chunk` is empty only if `end` is not [`End::Open`]. After such an end there is no other feed. Never called while the
    /// stage waits.
    ///
    /// Each byte fed is pushed into the outbox, dropped there, or kept by the stage to be pushed or dropped by a later call;
    /// with an `end` nothing may be kept, unless the stage waits or goes on. What is kept is bounded by the stage. The borders of chunks
    /// mean nothing to the first stage; a framer gives them a meaning for those behind it.
    ///
    /// With [`End::Finished`] the stage decides: it writes [`Outbox::end`], at once or delayed, or withholds the end. With
    /// [`End::Stopped`] the end is written for it.
    fn feed(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress;

    /// Looks at bytes of the source behind which more may come. Returns true if they pass as they are and at once, and the stage
    /// keeps nothing of them: then they are not fed, which costs less. Returns false, and has not acted on them, if they are to
    /// be fed. Never called while the stage waits or has more to write.
    fn passes(&mut self, bytes: &[u8]) -> bool {
        let _ = bytes;
        false
    }

    /// Goes on after [`Progress::Waiting`] or [`Progress::Again`], or acts because of the time.
    ///
    /// Called when the instant of [`Outbox::wake_at`] has come, when the connection is woken from outside, and possibly at
    /// other times: the stage has to see for itself whether there is something to do. Returning [`Progress::Moved`] without a
    /// reason to, while it waits, lets the direction be read again.
    fn resume(&mut self, out: &mut Outbox) -> Progress {
        let _ = out;
        Progress::Moved
    }

    /// Says whether the chunks to come are messages, and what is to be done with those that are replaced. Called before the
    /// first of them.
    fn framed(&mut self, messages: Option<&ReplacedMessages>) {
        let _ = messages;
    }

    /// Called when what comes next does not go on from what came before: a dialogue begins anew under TLS. Nothing is kept then.
    fn begin_anew(&mut self) {}

    /// Returns the bytes that the stage keeps, in their order, because it is taken out of a live connection. They are fed to
    /// the stage that stands behind it.
    fn release(&mut self) -> Vec<Chunk> {
        Vec::new()
    }

    /// Returns the number of bytes that came to the stage, or that it has added, and that it has neither pushed nor dropped:
    /// they have not passed it.
    fn held(&self) -> usize {
        0
    }

    /// Returns the bytes of memory that the stage keeps, without those that a [budget](crate::inspect::faults::budget) of
    /// their own bounds.
    fn kept(&self) -> usize {
        0
    }

    /// Makes what the stage keeps independent of memory that the next read is to use. Returns false if there is no memory for
    /// that.
    fn make_lasting(&mut self) -> bool {
        true
    }
}
