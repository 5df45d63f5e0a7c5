//! Locks that stay usable after a panic.

use std::sync::LockResult;

/// Takes a lock's guard, also if a thread has panicked while it held the lock.
///
/// A panic ends the task or the thread in which it happens, and is reported there. The state under every lock of this crate
/// is changed in steps that each leave it valid, so the other holders may go on: an ended connection must not end the rest.
pub trait EvenPoisoned<Guard> {
    /// Returns the guard of a lock, or the result of a wait for a condition.
    fn even_poisoned(self) -> Guard;
}

impl<Guard> EvenPoisoned<Guard> for LockResult<Guard> {
    fn even_poisoned(self) -> Guard {
        self.unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, thread};

    use super::*;

    #[test]
    fn a_lock_whose_holder_panicked_is_still_taken() {
        let lock = Mutex::new(1);
        let panicked = thread::scope(|scope| {
            let holder = scope.spawn(|| {
                let _held = lock.lock();
                std::panic::resume_unwind(Box::new("on purpose"));
            });
            holder.join().is_err()
        });
        assert!(panicked && lock.is_poisoned());
        assert_eq!(*lock.lock().even_poisoned(), 1);
    }
}
