//! One suite for both queues.
