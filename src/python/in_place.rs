//! The answers that take the place of a callback's where there is none, or none in time.

use crate::hooks::{Decision, EndVerdict, HelloDecision, Verdict};

/// The answers that a time limit puts in the place of a hook's.
pub(super) trait InPlace: Sized {
    /// Returns the answer with which nothing changes.
    fn pass() -> Self;

    /// Returns the answer that lets nothing on.
    fn drop() -> Self {
        Self::pass()
    }
}

impl InPlace for Decision {
    fn pass() -> Self {
        Self::Default
    }

    fn drop() -> Self {
        Self::Refuse
    }
}

impl InPlace for HelloDecision {
    fn pass() -> Self {
        Self::Default
    }

    fn drop() -> Self {
        Self::Refuse
    }
}

impl InPlace for Option<Decision> {
    fn pass() -> Self {
        Some(Decision::pass())
    }

    fn drop() -> Self {
        Some(<Decision as InPlace>::drop())
    }
}

impl InPlace for () {
    fn pass() -> Self {}
}

impl InPlace for Verdict {
    fn pass() -> Self {
        Self::Pass
    }

    fn drop() -> Self {
        Self::Drop
    }
}

impl InPlace for EndVerdict {
    fn pass() -> Self {
        Self::Pass(Vec::new())
    }
}
