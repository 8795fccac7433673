//! The walls of the house, as a test.
