//! Certificates of our own, made with openssl, which PostgreSQL's and RabbitMQ's packages need
//! themselves.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::app::tempdir::TempDir;

const CONFIG: &str = "[req]
distinguished_name = name
prompt = no
[name]
CN = test
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
[leaf]
basicConstraints = CA:FALSE
subjectAltName = IP:127.0.0.1
";

/// A CA and what it signs. Everything goes when it is dropped.
pub struct Ca {
    directory: TempDir,
}

/// A certificate and its key.
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Ca {
    pub fn new() -> Self {
        let ca = Self {
            directory: TempDir::new(),
        };
        std::fs::write(ca.file("config"), CONFIG).unwrap();
        let made = [
            "req",
            "-x509",
            "-extensions",
            "ca",
            "-days",
            "2",
            "-subj",
            "/CN=a CA of a test",
        ];
        ca.openssl(
            &[
                &made[..],
                &NEW_KEY,
                &["-config", "config", "-keyout", "ca.key", "-out", "ca.pem"],
            ]
            .concat(),
        );
        ca
    }

    /// The CA's own certificate.
    pub fn certificate(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// A certificate for 127.0.0.1, and for no other name, which expires in so many days; in 0, at
    /// once.
    pub fn sign(&self, name: &str, days: u32) -> Pair {
        let (key, request, certificate) = (
            format!("{name}.key"),
            format!("{name}.csr"),
            format!("{name}.pem"),
        );
        let subject = format!("/CN={name}");
        let made = [
            "req", "-new", "-config", "config", "-subj", &subject, "-keyout", &key, "-out",
            &request,
        ];
        self.openssl(&[&made[..], &NEW_KEY].concat());
        let signed = [
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
        ];
        let days = days.to_string();
        let form = [
            "-days",
            &days,
            "-extfile",
            "config",
            "-extensions",
            "leaf",
            "-out",
            &certificate,
        ];
        self.openssl(&[&signed[..], &form].concat());
        Pair {
            certificate: self.file(&certificate),
            key: self.file(&key),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(self.directory.path())
            .output();
        let output = output.expect("openssl comes with the packages of the servers");
        assert!(
            output.status.success(),
            "openssl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

const NEW_KEY: [&str; 5] = [
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
];

impl Pair {
    /// Copies both to where a server may read them, which wants its key for itself alone.
    pub fn copy_to(&self, folder: &Path, owner: Option<(u32, u32)>) -> Pair {
        let copied = |from: &Path| {
            let to = folder.join(from.file_name().unwrap());
            std::fs::copy(from, &to).unwrap();
            std::fs::set_permissions(&to, std::os::unix::fs::PermissionsExt::from_mode(0o600))
                .unwrap();
            if let Some((user, group)) = owner {
                std::os::unix::fs::chown(&to, Some(user), Some(group)).unwrap();
            }
            to
        };
        Pair {
            certificate: copied(&self.certificate),
            key: copied(&self.key),
        }
    }
}
