//! The blocks of a pcapng file, as they are read.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    block::{BYTE_ORDER, kind, option},
    record::{Broken, Clock, Interface, Order, Packet},
};

/// Maximum length of a block. Wireshark has the same bound.
const LONGEST_BLOCK: usize = 16 * 1024 * 1024;

/// Maximum number of interfaces of a section.
const MOST_INTERFACES: usize = 65_536;

/// Maximum number of comments of a packet that are kept.
const MOST_COMMENTS: usize = 16;

/// A section of a file: its order of bytes, and the interfaces that were described so far.
#[derive(Debug)]
pub(super) struct Section {
    order: Order,
    interfaces: Vec<Arc<Interface>>,
}

/// Returns the length of the block that `bytes` begin with, once its header is there. `place` is that of the block.
pub(super) fn length(section: Option<&Section>, bytes: &[u8], place: u64) -> Result<Option<usize>, Broken> {
    if bytes.len() < 12 {
        return Ok(None);
    }
    let order = match order(section, bytes) {
        Some(order) => order,
        None => {
            return Err(Broken::at(place, "a section header has no mark for the order of its bytes; the file is damaged here"));
        }
    };
    let length = order.u32(bytes, 4) as usize;
    if !length.is_multiple_of(4) || length < 12 {
        return Err(Broken::at(place, format!("a block has the length {length}, which none can have; the file is damaged here")));
    }
    if length > LONGEST_BLOCK {
        return Err(Broken::at(
            place,
            format!("a block has {length} bytes, more than the {LONGEST_BLOCK} of the longest that is read"),
        ));
    }
    Ok(Some(length))
}

/// Returns the order of bytes of the block that `bytes` begin with: the section's, or its own if it begins one.
fn order(section: Option<&Section>, bytes: &[u8]) -> Option<Order> {
    // The type of a section header reads the same in both orders.
    if Order::Little.u32(bytes, 0) == kind::SECTION {
        return [Order::Little, Order::Big].into_iter().find(|order| order.u32(bytes, 8) == BYTE_ORDER);
    }
    section.map(|section| section.order)
}

/// Reads a whole block. Returns its packet, if it is one.
pub(super) fn block(section: &mut Option<Section>, bytes: &Bytes, place: u64) -> Result<Option<Packet>, Broken> {
    let damaged = |what: &str| Broken::at(place, format!("{what}; the file is damaged here"));
    let order = order(section.as_ref(), bytes).ok_or_else(|| damaged("no section header is before a block"))?;
    if order.u32(bytes, bytes.len() - 4) as usize != bytes.len() {
        return Err(damaged("the lengths at the two ends of a block differ"));
    }
    let body = bytes.slice(8..bytes.len() - 4);
    let kind = order.u32(bytes, 0);
    if kind == kind::SECTION {
        if order.u16(&body, 4) != 1 {
            return Err(Broken::at(place, format!("version {} of pcapng is not known; 1 is", order.u16(&body, 4))));
        }
        *section = Some(Section { order, interfaces: Vec::new() });
        return Ok(None);
    }
    let Some(section) = section.as_mut() else { return Err(damaged("no section header is before a block")) };
    match kind {
        kind::INTERFACE => {
            section.interface(&body).map(|()| None).ok_or_else(|| damaged("an interface is one too many, or cut short"))
        }
        kind::PACKET | kind::OLD_PACKET | kind::SIMPLE_PACKET => {
            let packet = section.packet(kind, &body, place);
            packet.map(Some).ok_or_else(|| damaged("a packet has no interface, or is longer than its block"))
        }
        _ => Ok(None),
    }
}

impl Section {
    fn interface(&mut self, body: &Bytes) -> Option<()> {
        if body.len() < 8 || self.interfaces.len() == MOST_INTERFACES {
            return None;
        }
        let (mut name, mut clock) = (String::new(), Clock::MICROSECONDS);
        for (code, value) in self.options(&body[8..]) {
            match code {
                option::INTERFACE_NAME => name = text(value),
                option::TIME_RESOLUTION => clock.resolution = value.first().copied().unwrap_or(6),
                option::TIME_OFFSET if value.len() == 8 => clock.offset = self.i64(value),
                _ => {}
            }
        }
        self.interfaces.push(Arc::new(Interface { link: self.order.u16(body, 0), name, clock }));
        Some(())
    }

    fn packet(&self, kind: u32, body: &Bytes, place: u64) -> Option<Packet> {
        let word = |place| self.order.u32(body, place);
        // The number of the interface, and where the fields behind it begin.
        let interface = match kind {
            kind::PACKET => word(0),
            kind::OLD_PACKET => u32::from(self.order.u16(body, 0)),
            _ => 0,
        };
        let interface = Arc::clone(self.interfaces.get(interface as usize)?);
        if kind == kind::SIMPLE_PACKET {
            let (original, rest) = (word(0), body.len().checked_sub(4)?);
            let data = body.slice(4..4 + rest.min(original as usize));
            return Some(Packet { place, at: 0, interface, data, original, comments: Vec::new() });
        }
        let (captured, original) = (word(12) as usize, word(16));
        let end = captured.checked_add(20).filter(|end| *end <= body.len())?;
        let at = interface.clock.nanoseconds(u64::from(word(4)) << 32 | u64::from(word(8)));
        let options = body.get(end.next_multiple_of(4)..).unwrap_or_default();
        let comments = self.options(options).filter(|(code, _)| *code == option::COMMENT);
        let comments = comments.map(|(_, value)| text(value)).take(MOST_COMMENTS).collect();
        Some(Packet { place, at, interface, data: body.slice(20..end), original, comments })
    }

    /// Returns the options of a block, up to the first that is cut short.
    fn options<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let (order, mut rest) = (self.order, bytes);
        std::iter::from_fn(move || {
            let header = rest.get(..4)?;
            let (code, length) = (order.u16(header, 0), usize::from(order.u16(header, 2)));
            let value = rest.get(4..4 + length).filter(|_| code != option::END)?;
            rest = rest.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
            Some((code, value))
        })
    }

    fn i64(&self, bytes: &[u8]) -> i64 {
        let (first, second) = (u64::from(self.order.u32(bytes, 0)), u64::from(self.order.u32(bytes, 4)));
        let number = if self.order == Order::Little { second << 32 | first } else { first << 32 | second };
        number.cast_signed()
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
