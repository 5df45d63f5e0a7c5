//! Sinks: how events are shown or kept.

mod hexdump;
mod inert;
mod json;
mod line;
mod render;
mod text;

use std::io::{self, Write};

pub use self::{
    hexdump::{Hexdump, HexdumpStyle},
    json::JsonLines,
    line::LineStyle,
    render::Render,
    text::Text,
};
use crate::taps::{event::Event, writer::Sink};

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
