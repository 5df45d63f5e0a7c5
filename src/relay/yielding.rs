//! Turns that wait until their lane has polled for other connections.
//!
//! A lane's runtime polls its driver when no task is ready to run, and after 61 tasks otherwise. For a connection that always
//! has more to do, each of its turns is such a task, and takes as long as its hooks do. So time counts here, not tasks:
//! polling the driver more often would cost each connection of one exchange some polls that find nothing.

use std::{
    cell::Cell,
    pin::pin,
    sync::{Arc, LazyLock},
    task::{Context, Wake, Waker},
    time::Duration,
};

use super::turn::Turn;

/// Time of hooks after which the lane polls its driver before the next turn of a connection that has more to do at once.
const SLOW: Duration = Duration::from_millis(1);

thread_local! {
    /// Time that hooks have taken on this lane since a connection last yielded.
    static SPENT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    /// True if a connection has yielded, and the driver was not polled since.
    static IS_DUE: Cell<bool> = const { Cell::new(false) };
}

/// The waker that is woken on the lane after its driver was polled.
struct Polled;

impl Wake for Polled {
    fn wake(self: Arc<Self>) {
        IS_DUE.set(false);
    }
}

static POLLED: LazyLock<Waker> = LazyLock::new(|| Waker::from(Arc::new(Polled)));

/// Wakes the task of `cx` after the lane's other tasks, and after those that its driver finds ready.
fn wake_last(cx: &mut Context<'_>) {
    IS_DUE.set(true);
    let mut polled = Context::from_waker(&POLLED);
    for cx in [&mut polled, cx] {
        let _ = pin!(tokio::task::yield_now()).poll(cx);
    }
}

/// The state of one connection: true while it lets others run first.
#[derive(Debug, Default)]
pub(super) struct Yielding(bool);

impl Yielding {
    /// Returns true if the connection must not have its turn yet. It is woken for it; hooks that send in reply to what they
    /// see have woken it before.
    pub(super) fn waits(&mut self, cx: &mut Context<'_>) -> bool {
        self.0 = self.0 && IS_DUE.get();
        if self.0 {
            wake_last(cx);
        }
        self.0
    }

    /// Records a turn of each direction, of a connection that has `more` to do at once or not. Returns true if others of the
    /// lane run first, because this connection has taken long.
    pub(super) fn lets_others(&mut self, more: bool, turns: [&Turn; 2], cx: &mut Context<'_>) -> bool {
        let spent = SPENT.get() + turns[0].spent + turns[1].spent;
        self.0 = more && (spent >= SLOW || turns.iter().any(|turn| turn.long));
        if self.0 {
            wake_last(cx);
        }
        SPENT.set(if self.0 { Duration::ZERO } else { spent });
        self.0
    }
}
