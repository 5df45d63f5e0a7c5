//! A framer that has passed a message which nobody has seen.

use std::sync::Arc;

use super::{
    framer::{Answered, Broken, Cut, Framer},
    length_field::LengthField,
};

/// Cuts the message that `framer` has passed once more, without it, and leaves the rest of the stream to it.
#[derive(Debug)]
pub(crate) struct Passed {
    /// The length of the message in bytes; 0 once it is cut.
    length: usize,
    framer: Box<dyn Framer>,
}

impl Passed {
    /// Returns the framer of a stream that goes on with a message of `length` bytes, which `framer` has passed.
    pub fn new(length: usize, framer: Box<dyn Framer>) -> Self {
        Self { length, framer }
    }
}

impl Framer for Passed {
    fn protocol(&self) -> &'static str {
        self.framer.protocol()
    }

    fn cut(&mut self, buffer: &[u8], seen: usize) -> Result<Cut, Broken> {
        if self.length == 0 {
            return self.framer.cut(buffer, seen);
        }
        let cut = Cut::whole(self.length as u64, buffer.len());
        if matches!(cut, Cut::Message(_)) {
            self.length = 0;
        }
        Ok(cut)
    }

    fn begin_anew(&mut self) {
        self.framer.begin_anew();
    }

    fn ends_with_stream(&mut self, buffer: &[u8]) -> bool {
        self.length == 0 && self.framer.ends_with_stream(buffer)
    }

    fn length_field(&self) -> Option<Arc<dyn LengthField>> {
        self.framer.length_field()
    }

    fn answered(&self) -> Option<Arc<dyn Answered>> {
        self.framer.answered()
    }
}
