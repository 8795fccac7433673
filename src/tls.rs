//! TLS to the servers that we are a client of: which certificates are trusted, and what an error of TLS means.
//!
//! Trusted are the roots of the system and, beside them, the CA that a setting names. `SSL_CERT_FILE` and `SSL_CERT_DIR`
//! say where the system's roots are, as for OpenSSL.

mod certificates;
mod errors;

pub use certificates::{FileError, Files, Material, PemFile, http_client, system_roots};
pub use errors::{Peer, explain};
