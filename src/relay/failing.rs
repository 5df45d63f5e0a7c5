//! Sides that fail, and what a relay still does then.

use std::{
    io,
    task::{Context, Poll},
};

use super::{
    Relay,
    pump::{Fault, Turn},
};
use crate::{
    io::{errno::is_behind_fin, stream::Stream},
    words::stats::Direction::{ToClient, ToUpstream},
};

impl Relay<'_> {
    /// Reads, and gives up, what a side still sends to one that has failed. A side that is blocked in sending
    /// would not take what is left for it. No progress in the sense of a time limit.
    pub(super) fn discard(&mut self, scratch: &mut [u8], cx: &mut Context<'_>) -> Turn {
        let mut turn = Turn::default();
        if self.client_failure.is_some() && self.upstream_failure.is_none() && !self.to_upstream.is_over() {
            turn = self.to_client.discard(&mut self.upstream, &self.shared.to_client, scratch, cx);
            if let Some(Fault::Source(error)) = turn.fault.take() {
                turn.failed = self.upstream_failed(error);
            }
        } else if self.upstream_failure.is_some() && self.client_failure.is_none() && !self.to_client.is_over() {
            turn = self.to_upstream.discard(&mut self.client, &self.shared.to_upstream, scratch, cx);
            if let Some(Fault::Source(error)) = turn.fault.take() {
                turn.failed = self.client_failed(error);
            }
        }
        turn
    }

    /// Looks for the failure of a side that is not being read, or that is silent.
    pub(super) fn watch(&mut self, cx: &mut Context<'_>) -> bool {
        let mut failed = self.look();
        if !self.to_upstream.is_reading()
            && self.client_failure.is_none()
            && let Poll::Ready(error) = self.client.poll_failure(cx)
        {
            failed |= self.client_failed(error);
        }
        if !self.to_client.is_reading()
            && self.upstream_failure.is_none()
            && let Poll::Ready(error) = self.upstream.poll_failure(cx)
        {
            failed |= self.upstream_failed(error);
        }
        failed
    }

    /// Resets a failed side whose socket goes on: no read would ever tell of its end, and its peer is not to wait for that
    /// either. What has come from it was read in a turn since it failed. Says whether a pump has something to do for it.
    pub(super) fn end_survivors(&mut self, had_turn: (bool, bool)) -> bool {
        let goes_on = |had_turn: bool, stream: &Stream, failure: &Option<io::Error>| {
            had_turn && failure.as_ref().is_some_and(|error| survives(stream, error))
        };
        let client = goes_on(had_turn.0, &self.client, &self.client_failure);
        let upstream = goes_on(had_turn.1, &self.upstream, &self.upstream_failure);
        if client {
            self.client.abort_on_close();
        }
        if upstream {
            self.upstream.abort_on_close();
        }
        let (client, upstream) = (client && self.to_upstream.end(), upstream && self.to_client.end());
        client || upstream
    }

    /// The side that another connection carries has failed: so does the place that nobody has in this one.
    pub(super) fn fail_alone(&mut self) {
        let reset = || io::ErrorKind::ConnectionReset.into();
        if self.client_failure.is_some() || self.upstream_failure.is_some() {
            return;
        }
        if self.client.is_nowhere() {
            self.to_upstream.end();
            self.client_failed(reset());
        } else {
            self.to_client.end();
            self.upstream_failed(reset());
        }
    }

    /// Nothing more reaches the client. What it sent before is still read and delivered, then the upstream is aborted.
    pub(super) fn client_failed(&mut self, error: io::Error) -> bool {
        self.client_failed_first |= self.upstream_failure.is_none();
        self.to_upstream.source_failed(is_behind_fin(&error) && !survives(&self.client, &error));
        self.client_failure.get_or_insert(error);
        self.to_client.cut(self.shared, ToClient);
        true
    }

    /// The mirror of [`client_failed`](Self::client_failed).
    pub(super) fn upstream_failed(&mut self, error: io::Error) -> bool {
        self.to_client.source_failed(is_behind_fin(&error) && !survives(&self.upstream, &error));
        self.upstream_failure.get_or_insert(error);
        self.to_upstream.cut(self.shared, ToUpstream);
        true
    }
}

/// Returns true if a side's socket still works after a call failed with `error`.
fn survives(stream: &Stream, error: &io::Error) -> bool {
    stream.transport().is_some_and(|socket| socket.survives(error))
}
