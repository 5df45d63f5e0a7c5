//! Sinks: how events are shown or kept.

mod hexdump;
mod inert;
mod json;
mod line;
mod render;
mod text;

use std::io;

pub use self::{
    hexdump::{Hexdump, HexdumpStyle},
    json::JsonLines,
    line::LineStyle,
    render::{Render, Shown},
    text::Text,
};
use crate::taps::{event::Event, output::Output, writer::Sink};

/// Bytes that are rendered before they are written.
const ENOUGH: usize = 64 * 1024;

/// Writes what events are rendered as.
#[derive(Debug)]
pub struct Rendered<R> {
    render: R,
    output: Output,
    buffer: Vec<u8>,
}

impl<R> Rendered<R> {
    /// Returns the sink of an output.
    pub fn new(render: R, output: Output) -> Self {
        Self { render, output, buffer: Vec::new() }
    }
}

impl<R: Render> Sink for Rendered<R> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let listener = self.output.number(event.connection.server);
        self.render.render(&Shown { event, listener }, &mut self.buffer);
        if self.buffer.len() < ENOUGH { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.output.write_lines(&self.buffer);
        self.buffer.clear();
        written
    }
}
