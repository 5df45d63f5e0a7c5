//! Sinks: how events are shown or kept.

mod hexdump;
mod inert;
mod json;
mod line;
mod text;

use std::io::{self, Write};

pub use self::{
    hexdump::{Hexdump, HexdumpStyle},
    json::JsonLines,
    line::LineStyle,
    text::Text,
};
use crate::taps::{event::Event, writer::Sink};

/// Renders events as text.
pub trait Render: Send {
    /// Appends the lines of an event to `out`.
    fn render(&mut self, event: &Event, out: &mut Vec<u8>);
}

/// Bytes that are rendered before they are written.
const ENOUGH: usize = 64 * 1024;

/// Writes what events are rendered as.
#[derive(Debug)]
pub struct Rendered<R, W> {
    render: R,
    output: W,
    buffer: Vec<u8>,
}

impl<R, W> Rendered<R, W> {
    /// Returns the sink of an output.
    pub fn new(render: R, output: W) -> Self {
        Self { render, output, buffer: Vec::new() }
    }
}

impl<R: Render, W: Write + Send> Sink for Rendered<R, W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.render.render(event, &mut self.buffer);
        if self.buffer.len() < ENOUGH { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.output.write_all(&self.buffer);
        self.buffer.clear();
        written?;
        self.output.flush()
    }
}
