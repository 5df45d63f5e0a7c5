//! The state of a relay: both directions, the sides that have failed, and what ends it.

use std::io;

use super::{
    half_close::Phase, peer_timeout::PeerTimeout, progress_timeout::ProgressTimeout, pump::Pump, talk::Talk, yielding::Yielding,
};
use crate::{
    hooks::{Failed, connection_hooks::ConnectionHooks},
    io::stream::Stream,
    live::shared::Shared,
    settings::config::{Coalesce, Splice, Timeouts},
    words::{
        direction::{Both, Side, Sides},
        outcome::CloseReason,
    },
};

/// The connection that a relay carries, and its limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RelayContext<'a> {
    pub shared: &'a Shared,
    pub timeouts: &'a Timeouts,
    pub splice: Splice,
    pub coalesce: Coalesce,
    /// The hooks that may want to see the bytes.
    pub hooks: Option<&'a ConnectionHooks>,
    /// True if the calling thread is the lane of the hooks.
    pub on_lane: bool,
}

/// The end of the relay itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// FIN both ways, everything delivered.
    Finished,
    /// The failed sides are noted in the relay.
    Failed,
    /// A side failed, and the other side did not take the rest of the bytes in time.
    FailedLate,
    /// `close()`: bytes that were read are delivered, and both sides have FIN.
    Closed,
    /// The server ends idle connections, and nothing was under way: both sides have FIN.
    Left,
    /// Abort now, for this reason.
    Abort(CloseReason),
    /// A hook or another stage failed.
    Refused(Failed),
    /// A stage has requested a reset, and its earlier output was written.
    Reset(Failed),
    /// No end: TLS begins with one side or with both, and the relay goes on.
    TlsBegins,
    /// No end: the relay goes on on another thread.
    Moved,
}

/// Both directions of a connection, and what has become of its sides.
#[derive(Debug)]
pub(super) struct Relay<'a> {
    pub(super) streams: Sides<Stream>,
    pub(super) pumps: Both<Pump>,
    /// The error with which each side has failed.
    pub(super) failures: Sides<Option<io::Error>>,
    /// The side that failed first, once one has: its failure is the cause.
    pub(super) failed_first: Side,
    pub(super) closing: bool,
    pub(super) talk: Talk,
    /// True once both sockets may be dropped without a forced reset.
    pub(super) settled: bool,
    pub(super) progress_timeout: ProgressTimeout,
    pub(super) peer_timeout: PeerTimeout,
    pub(super) yielding: Yielding,
    pub(super) refused: Option<Box<End>>,
    pub(super) order: RelayContext<'a>,
}

impl<'a> Relay<'a> {
    pub(super) fn new(client: Stream, upstream: Stream, order: RelayContext<'a>) -> Self {
        Self {
            streams: Sides { client, upstream },
            pumps: Both::default(),
            failures: Sides::default(),
            failed_first: Side::Client,
            closing: false,
            talk: Talk::default(),
            settled: false,
            progress_timeout: ProgressTimeout::default(),
            peer_timeout: PeerTimeout::default(),
            yielding: Yielding::default(),
            refused: None,
            order,
        }
    }

    /// Marks the relay as settled: nothing is left to pass on, so its sockets need not be aborted.
    pub(super) fn settle(&mut self) {
        self.settled = true;
    }

    pub(super) fn is_over(&self) -> bool {
        self.pumps.to_upstream.is_over() && self.pumps.to_client.is_over()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failures.client.is_some() || self.failures.upstream.is_some()
    }

    pub(super) fn end(&self) -> End {
        if self.has_failed() {
            End::Failed
        } else if self.closing && self.order.shared.control.demand().is_none() {
            End::Left
        } else if self.closing {
            End::Closed
        } else {
            End::Finished
        }
    }

    /// Returns true if an end is being passed on: then silence is limited by `half_close`, else by `idle`.
    pub(super) fn is_ending(&self) -> bool {
        self.pumps.to_upstream.phase() != Phase::Open || self.pumps.to_client.phase() != Phase::Open || self.has_failed()
    }
}

impl Drop for Relay<'_> {
    /// Aborts both sides unless settled: a relay dropped in the middle (a defect, a runtime that ends) has not delivered
    /// everything, so neither side may take that for an orderly end.
    fn drop(&mut self) {
        if !self.settled {
            self.streams.client.abort_on_close();
            self.streams.upstream.abort_on_close();
        }
    }
}
