//! The trace that an event is a part of, as W3C's Trace Context writes it.

/// The trace of an event: the two headers of W3C's Trace Context. An event carries it; `trace`
/// reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    parent: Box<str>,
    state: Box<str>,
}

impl TraceContext {
    /// `traceparent` has 55 characters in today's version; a later one may have more.
    const PARENT_MAX: usize = 128;
    /// The length that the specification asks for at least.
    const STATE_MAX: usize = 512;

    /// Returns `None` if `parent` cannot be a `traceparent`. A `state` that cannot be a
    /// `tracestate` is left out.
    pub fn new(parent: &str, state: &str) -> Option<Self> {
        let is_plain = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if parent.is_empty() || parent.len() > Self::PARENT_MAX || !is_plain(parent) {
            return None;
        }
        let state = if state.len() <= Self::STATE_MAX && is_plain(state) {
            state
        } else {
            ""
        };
        Some(Self {
            parent: parent.into(),
            state: state.into(),
        })
    }

    /// `traceparent`.
    pub fn parent(&self) -> &str {
        &self.parent
    }

    /// `tracestate`; may be empty.
    pub fn state(&self) -> &str {
        &self.state
    }
}
