//! TLS to the servers that this program connects to: which certificates are trusted, and what an
//! error of TLS means.
//!
//! The roots of the system are trusted and, beside them, the CA that a setting names.
//! `SSL_CERT_FILE` and `SSL_CERT_DIR` name the system's roots, as for OpenSSL.

mod certificates;
mod errors;

pub use certificates::{
    FileError, Files, Material, PemFile, http_client, http_client_for, system_roots,
};
pub use errors::{Peer, explain};
