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
    render::{Render, Shown},
    text::Text,
};
use crate::taps::{event::Event, servers::Servers, writer::Sink};

/// Bytes that are rendered before they are written.
const ENOUGH: usize = 64 * 1024;

/// Writes what events are rendered as.
#[derive(Debug)]
pub struct Rendered<R, W> {
    render: R,
    output: W,
    buffer: Vec<u8>,
    servers: Servers,
}

impl<R, W> Rendered<R, W> {
    /// Returns the sink of an output.
    pub fn new(render: R, output: W) -> Self {
        Self { render, output, buffer: Vec::new(), servers: Servers::default() }
    }
}

impl<R: Render, W: Write + Send> Sink for Rendered<R, W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let listener = self.servers.number(event.connection.server);
        self.render.render(&Shown { event, listener }, &mut self.buffer);
        if self.buffer.len() < ENOUGH { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.output.write_all(&self.buffer);
        self.buffer.clear();
        written?;
        self.output.flush()
    }
}
