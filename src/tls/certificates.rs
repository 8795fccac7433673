//! PEM files: the CA that is trusted beside the system's roots, our certificate as a client, and
//! its key.

use std::path::PathBuf;
use std::sync::OnceLock;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secrecy::SecretSlice;

/// A PEM file, and the setting that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PemFile {
    /// For an error, such as `DATABASE_CA_FILE`.
    pub setting: String,
    /// The path.
    pub path: PathBuf,
}

/// The files of one server. Plain data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// CAs that are trusted beside the system's roots.
    pub ca: Vec<PemFile>,
    /// Our certificate, with those between it and its CA, and its key.
    pub client: Option<(PemFile, PemFile)>,
}

/// The content of the files.
#[derive(Default)]
pub struct Material {
    /// PEM of all CAs; empty if none is given.
    pub ca: String,
    /// PEM of the certificate, PEM of the key.
    pub client: Option<(Vec<u8>, SecretSlice<u8>)>,
}

/// A file that cannot be used. Holds nothing of what is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} {fault}; {remedy}")]
pub struct FileError {
    /// The setting.
    pub setting: String,
    /// What is wrong.
    pub fault: String,
    /// How to fix it.
    pub remedy: &'static str,
}

impl FileError {
    /// Without the remedy.
    pub fn what(&self) -> String {
        format!("{} {}", self.setting, self.fault)
    }
}

impl Files {
    /// Reads the files and checks that TLS can use them.
    ///
    /// # Errors
    /// Fails for a file that is missing, unreadable, or no PEM of the right kind, and for a key of
    /// another certificate.
    pub fn read(&self) -> Result<Material, FileError> {
        let ca = self.ca.iter().map(read_ca).collect::<Result<String, _>>()?;
        let client = self
            .client
            .as_ref()
            .map(|(certificate, key)| read_client(certificate, key))
            .transpose()?;
        Ok(Material { ca, client })
    }
}

/// An HTTP client that trusts the system's roots and these CAs.
///
/// # Errors
/// Fails for a file that cannot be used.
pub fn http_client(files: &Files) -> Result<reqwest::ClientBuilder, FileError> {
    let ca = files.read()?.ca;
    // Each was read once already.
    let certificates = reqwest::Certificate::from_pem_bundle(ca.as_bytes()).unwrap_or_default();
    let builder = reqwest::Client::builder();
    Ok(if certificates.is_empty() {
        builder
    } else {
        builder.tls_certs_merge(certificates)
    })
}

/// An HTTP client for one URL that trusts the system's roots. For `http://` it works as well on a
/// system that has none, such as a small container.
pub fn http_client_for(url: &reqwest::Url) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder();
    if url.scheme() == "http" && system_roots().is_empty() {
        builder.tls_certs_only([])
    } else {
        builder
    }
}

const GIVE_A_CERTIFICATE: &str = "give a file that begins with -----BEGIN CERTIFICATE-----";

impl PemFile {
    /// A file that `setting` names.
    pub fn new(setting: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self {
            setting: setting.into(),
            path: path.into(),
        }
    }

    fn error(&self, fault: impl Into<String>, remedy: &'static str) -> FileError {
        FileError {
            setting: self.setting.clone(),
            fault: fault.into(),
            remedy,
        }
    }

    fn read(&self) -> Result<Vec<u8>, FileError> {
        let fault = |error| format!("names a file that cannot be read ({error})");
        std::fs::read(&self.path).map_err(|error| {
            self.error(
                fault(error),
                "give the path of a PEM file that this process may read",
            )
        })
    }

    fn certificates(&self, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileError> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        match certificates {
            Ok(certificates) if certificates.is_empty() => {
                Err(self.error("names a file without a PEM certificate", GIVE_A_CERTIFICATE))
            }
            Ok(certificates) => Ok(certificates),
            Err(_) => Err(self.error("names a file that is damaged PEM", GIVE_A_CERTIFICATE)),
        }
    }
}

fn read_ca(file: &PemFile) -> Result<String, FileError> {
    let pem = file.read()?;
    for certificate in file.certificates(&pem)? {
        RootCertStore::empty().add(certificate).map_err(|_| {
            file.error(
                "names a file with a certificate that cannot be used as a CA",
                "give the certificate of a CA",
            )
        })?;
    }
    // The text around the certificates may be of any encoding.
    Ok(String::from_utf8_lossy(&pem).into_owned() + "\n")
}

fn read_client(
    certificate: &PemFile,
    key: &PemFile,
) -> Result<(Vec<u8>, SecretSlice<u8>), FileError> {
    const GIVE_THE_KEY: &str =
        "give the private key of the client's certificate, as PEM and without a passphrase";
    let certificate_pem = certificate.read()?;
    let chain = certificate.certificates(&certificate_pem)?;
    let key_pem = key.read()?;
    let is_encrypted = String::from_utf8_lossy(&key_pem).contains("ENCRYPTED");
    let parsed = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|error| match error {
        _ if is_encrypted => key.error(
            "names a key with a passphrase",
            "take it off with `openssl pkey -in … -out …`",
        ),
        pem::Error::NoItemsFound => key.error("names a file without a PEM key", GIVE_THE_KEY),
        _ => key.error("names a file that is damaged PEM", GIVE_THE_KEY),
    })?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    match CertifiedKey::from_der(chain, parsed, &provider) {
        Ok(_) => Ok((certificate_pem, key_pem.into())),
        Err(rustls::Error::InconsistentKeys(_)) => Err(key.error(
            "names the key of another certificate",
            "give certificate and key of one pair",
        )),
        Err(_) => Err(key.error(
            "names a key, or its certificate, that TLS cannot use",
            GIVE_THE_KEY,
        )),
    }
}

/// The system's roots as PEM, those that can be used. Read once.
pub fn system_roots() -> &'static str {
    static ROOTS: OnceLock<String> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let loaded = rustls_native_certs::load_native_certs();
        loaded
            .certs
            .into_iter()
            .filter(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok())
            .map(|certificate| to_pem(&certificate))
            .collect()
    })
}

fn to_pem(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, content: &str) -> PemFile {
        let path =
            std::env::temp_dir().join(format!("clerk-sync-pem-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        PemFile::new("AMQP_CA_FILE", path)
    }

    #[test]
    fn a_file_that_is_no_ca_is_named_without_its_content() {
        let missing = PemFile::new("DATABASE_CA_FILE", "/nowhere/ca.pem");
        let read = |ca: PemFile| {
            Files {
                ca: vec![ca],
                client: None,
            }
            .read()
            .err()
            .unwrap()
            .to_string()
        };
        assert!(read(missing).starts_with("DATABASE_CA_FILE names a file that cannot be read"));
        for (name, content) in [
            ("empty", ""),
            ("text", "hunter2"),
            (
                "key",
                "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n",
            ),
            (
                "no-der",
                "-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----\n",
            ),
            ("cut", "-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n"),
        ] {
            let file = file(name, content);
            let said = read(file.clone());
            assert!(
                said.starts_with("AMQP_CA_FILE names a file "),
                "{name}: {said}"
            );
            assert!(
                !said.contains("hunter2") && !said.contains("aHVudGVyMg"),
                "{said}"
            );
            std::fs::remove_file(file.path).unwrap();
        }
    }
}
