//! The making of framers: one call for each connection, for both directions.

use std::{fmt, sync::Arc};

use crate::{inspect::framing::framer::Framer, words::direction::Both};

/// A protocol with its arguments. Makes the framers of each connection.
///
/// An implementation checks its arguments when it is constructed: making framers cannot fail.
pub trait Framing: Send + Sync + fmt::Debug {
    fn protocol(&self) -> &'static str;

    /// Returns new framers for both directions of one connection. They may share state behind a lock of their own.
    fn framers(&self) -> Both<Box<dyn Framer>>;

    /// Returns true if a framer must see the other direction too, because the messages of one determine those of the other.
    /// Both directions are framed then while hooks see at least one.
    fn needs_both(&self) -> bool {
        false
    }
}

/// A framer that can be copied is a framing too: each direction of each connection has a copy of its own.
impl<F: Framer + Clone + Sync + 'static> Framing for F {
    fn protocol(&self) -> &'static str {
        Framer::protocol(self)
    }

    fn framers(&self) -> Both<Box<dyn Framer>> {
        Both { to_upstream: Box::new(self.clone()), to_client: Box::new(self.clone()) }
    }
}

/// The framing of each direction of a connection, if it has one.
#[derive(Debug, Clone, Default)]
pub struct FramingPair {
    pub of_client: Option<Arc<dyn Framing>>,
    pub of_upstream: Option<Arc<dyn Framing>>,
}

impl FramingPair {
    /// Returns a pair in which both directions speak one protocol, and share what its framers share.
    pub fn both(framing: Arc<dyn Framing>) -> Self {
        Self { of_client: Some(Arc::clone(&framing)), of_upstream: Some(framing) }
    }

    /// Returns true if one object frames both directions, so that its framers share their state.
    fn is_shared(&self) -> bool {
        matches!((&self.of_client, &self.of_upstream), (Some(one), Some(other)) if Arc::ptr_eq(one, other))
    }

    /// Returns true if a framer must see both directions.
    pub fn needs_both(&self) -> bool {
        self.is_shared() && self.of_client.as_ref().is_some_and(|framing| framing.needs_both())
    }

    /// Returns the framing of one connection.
    pub fn framed(&self, rules: FramingRules) -> Framed {
        Framed { framers: self.framers(), needs_both: self.needs_both(), rules }
    }

    /// Returns new framers for one connection. Two objects share no state, also if they are of one kind.
    pub fn framers(&self) -> Both<Option<Box<dyn Framer>>> {
        if let (true, Some(framing)) = (self.is_shared(), &self.of_client) {
            let Both { to_upstream, to_client } = framing.framers();
            return Both { to_upstream: Some(to_upstream), to_client: Some(to_client) };
        }
        Both {
            to_upstream: self.of_client.as_ref().map(|framing| framing.framers().to_upstream),
            to_client: self.of_upstream.as_ref().map(|framing| framing.framers().to_client),
        }
    }
}

/// The effect on a direction of a message that is too long, or of bytes that break its protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FramingErrors {
    /// Both sides are reset behind the messages before, and the connection's close reason says which of the two it was.
    #[default]
    Close,
    /// The direction is unframed from the first byte of that message on.
    Chunk,
}

/// The limits of a connection's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramingRules {
    /// Maximum bytes of a message, at least 1. Default 16 MiB.
    pub max_message: usize,
    pub errors: FramingErrors,
}

impl Default for FramingRules {
    fn default() -> Self {
        Self { max_message: 16 * 1024 * 1024, errors: FramingErrors::default() }
    }
}

/// The framers of one connection, for the directions that have one.
#[derive(Debug)]
pub struct Framed {
    pub framers: Both<Option<Box<dyn Framer>>>,
    /// True if both directions are framed while hooks see at least one.
    pub needs_both: bool,
    pub rules: FramingRules,
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::inspect::framing::framer::{Broken, Cut};

    /// Counts the bytes that the framers of one call have seen together.
    #[derive(Debug)]
    struct Counts(&'static str);

    #[derive(Debug)]
    struct Counter(&'static str, Arc<Mutex<usize>>);

    impl Framing for Counts {
        fn protocol(&self) -> &'static str {
            self.0
        }

        fn framers(&self) -> Both<Box<dyn Framer>> {
            let shared = Arc::new(Mutex::new(0));
            let framer = || Box::new(Counter(self.0, Arc::clone(&shared)));
            Both { to_upstream: framer(), to_client: framer() }
        }

        fn needs_both(&self) -> bool {
            true
        }
    }

    impl Framer for Counter {
        fn protocol(&self) -> &'static str {
            self.0
        }

        fn cut(&mut self, buffer: &[u8], _: usize) -> Result<Cut, Broken> {
            let mut count = self.1.lock().unwrap();
            *count += buffer.len();
            Ok(Cut::More { least: Some(*count as u64) })
        }
    }

    fn cut_by_both(pair: &FramingPair) -> [(&'static str, Cut); 2] {
        let Both { to_upstream, to_client } = pair.framers();
        [to_upstream, to_client].map(|framer| {
            let mut framer = framer.unwrap();
            (framer.protocol(), framer.cut(b"abc", 0).unwrap())
        })
    }

    #[test]
    fn one_object_shares_its_state_between_the_directions_and_two_objects_do_not() {
        let counts = |name| -> Arc<dyn Framing> { Arc::new(Counts(name)) };
        let more = |bytes| Cut::More { least: Some(bytes) };
        let one = FramingPair::both(counts("one"));
        assert_eq!(cut_by_both(&one), [("one", more(3)), ("one", more(6))]);
        assert!(one.needs_both());
        let two = FramingPair { of_client: Some(counts("one")), of_upstream: Some(counts("other")) };
        assert_eq!(cut_by_both(&two), [("one", more(3)), ("other", more(3))]);
        assert!(!two.needs_both());
        let none = FramingPair { of_upstream: None, ..two };
        assert!(none.framers().to_client.is_none());
    }
}
