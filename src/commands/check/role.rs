//! `check --role`: the role whose needs are checked.

/// The role of the process that is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    Serve,
    Receiver,
    Worker,
}
