//! Realistic signed events.
