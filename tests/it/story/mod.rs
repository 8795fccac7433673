//! What a user does and sees, with the real program.

mod api;
mod backlog;
mod broker_refuses;
mod commands;
mod dashboard;
mod dead_letters;
mod denied;
mod embedded_files;
mod erasure;
mod hand_back;
mod hostile;
mod kill;
mod least_rights;
mod lethal;
mod limits;
mod many_workers;
mod openapi;
mod outage;
mod replay;
mod rotation;
mod samples;
mod secrecy;
mod signatures;
mod stats;
mod stop;
