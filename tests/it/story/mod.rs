//! What a user does and sees, with the real program.

mod broker_refuses;
mod commands;
mod dead_letters;
mod hostile;
mod kill;
mod limits;
mod many_workers;
mod outage;
mod rotation;
mod samples;
mod signatures;
mod stop;
