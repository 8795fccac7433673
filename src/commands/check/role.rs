//! What the process that is to run does.

/// What the process that is to run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    Serve,
    Receiver,
    Worker,
}
