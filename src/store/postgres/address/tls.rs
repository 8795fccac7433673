//! What a URL demands of TLS, as libpq reads it: each demand is obeyed, or is an error.

use super::Given;
use crate::url::UrlError;

/// How much is asked of TLS, in ascending order. libpq's `allow` is read as `prefer`, which encrypts more often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

const MODES: &str = "disable, allow, prefer, require, verify-ca, verify-full";

fn mode(text: &str) -> Option<Mode> {
    Some(match text.to_ascii_lowercase().as_str() {
        "disable" => Mode::Disable,
        "allow" | "prefer" => Mode::Prefer,
        "require" => Mode::Require,
        "verify-ca" => Mode::VerifyCa,
        "verify-full" => Mode::VerifyFull,
        _ => return None,
    })
}

/// What is trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Roots {
    #[default]
    System,
    /// The system's, and those of the file at this path.
    File(String),
}

/// What has been demanded so far.
#[derive(Debug, Default)]
pub struct Demands {
    /// Of `sslmode`, and the name of the parameter or the variable.
    mode: Option<(Mode, String)>,
    /// The weak mode that `ssl` names, such as `ssl=prefer`: it counts where there is no `sslmode`.
    weak: Option<Mode>,
    /// What `ssl` or `requiressl` demands whatever `sslmode` says, and its name.
    required: Option<(Mode, String)>,
    /// What another parameter asks for at least, and its name.
    at_least: Option<(Mode, String)>,
    /// Nothing where `sslrootcert` is not given.
    roots: Option<Roots>,
    roots_by: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
    sends_no_certificate: bool,
    /// Certificate and key of the client.
    pub client: Option<(String, String)>,
}

impl Demands {
    /// Whether the parameter is one of TLS or authentication.
    ///
    /// # Errors
    /// Fails for one that cannot be satisfied.
    pub fn take(&mut self, given: &Given<'_>) -> Result<bool, UrlError> {
        let path = || Some(given.value.to_owned()).filter(|path| !path.is_empty());
        let none_of = |values: &str| {
            Err(given.error(
                &format!("whose value is none of {values}"),
                "give one of them",
            ))
        };
        let unsupported =
            |remedy: &str| Err(given.error("which clerk-sync cannot satisfy", remedy));
        let value = given.value.to_ascii_lowercase();
        match (given.name, value.as_str()) {
            ("sslmode", text) => {
                let fault = format!("whose value is none of {MODES}");
                let remedy =
                    "give one of them: require encrypts without verifying, verify-full verifies";
                let mode = mode(text).ok_or_else(|| given.error(&fault, remedy))?;
                self.mode = Some((mode, given.shown.to_owned()));
            }
            ("ssl", "true" | "1" | "on" | "yes") | ("requiressl", "1") => {
                self.require(Mode::Require, given)
            }
            ("ssl", "false" | "0" | "off" | "no") | ("requiressl", "0") => {}
            ("ssl", text) => match mode(text) {
                Some(mode) if mode >= Mode::Require => self.require(mode, given),
                Some(mode) => self.weak = Some(mode),
                None => return none_of(&format!("true, false, {MODES}")),
            },
            ("requiressl", _) => return none_of("0, 1"),
            ("sslaccept", "strict") => self.demand(Mode::VerifyFull, given),
            ("sslaccept", "accept_invalid_certs") => {}
            ("sslaccept", _) => return none_of("strict, accept_invalid_certs"),
            ("sslrootcert", value) => {
                self.roots = if value == "system" {
                    Some(Roots::System)
                } else {
                    path().map(Roots::File)
                };
                self.roots_by = Some(given.shown.to_owned());
            }
            ("sslcert", _) => self.certificate = path(),
            ("sslkey", _) => self.key = path(),
            ("sslcertmode", "allow") => {}
            ("sslcertmode", "disable") => self.sends_no_certificate = true,
            ("sslcertmode", "require") => {
                return unsupported("take it out: the server decides whether it asks for one");
            }
            ("sslcertmode", _) => return none_of("disable, allow"),
            ("channel_binding", "disable" | "prefer") => {}
            ("channel_binding", "require") => self.demand(Mode::Require, given),
            ("channel_binding", _) => return none_of("disable, prefer, require"),
            ("gssencmode", "disable" | "prefer") => {}
            ("gssencmode", "require") => {
                return unsupported("take it out, and encrypt with sslmode=verify-full");
            }
            ("gssencmode", _) => return none_of("disable, prefer"),
            ("sslnegotiation", "postgres") => {}
            ("sslnegotiation", "direct") => {
                return unsupported("take it out: TLS begins after a question to the server");
            }
            ("sslnegotiation", _) => return none_of("postgres"),
            ("sslsni", "1") | ("sslcompression", "0" | "1") => {}
            ("sslsni", _) => {
                return unsupported("take it out: the host is always named to the server");
            }
            ("sslcompression", _) => return none_of("0, 1"),
            ("ssl_min_protocol_version", "" | "tlsv1" | "tlsv1.1" | "tlsv1.2") => {}
            ("ssl_max_protocol_version", "" | "tlsv1.3") => {}
            ("ssl_min_protocol_version" | "ssl_max_protocol_version", _) => {
                return unsupported(
                    "take it out: TLS 1.2 and 1.3 are spoken, the newest that the server has",
                );
            }
            ("sslpassword", _) => {
                return unsupported("give a key without a passphrase: `openssl pkey -in … -out …`");
            }
            ("sslcrl" | "sslcrldir", _) => {
                return unsupported("take it out: revocation lists are not read");
            }
            ("require_auth", _) => {
                return unsupported(
                    "take it out, and let sslmode=verify-full show that it is the right server",
                );
            }
            ("sslidentity", _) => return unsupported("give sslcert and sslkey, both PEM"),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn require(&mut self, mode: Mode, given: &Given<'_>) {
        if self
            .required
            .as_ref()
            .is_none_or(|(before, _)| *before < mode)
        {
            self.required = Some((mode, given.shown.to_owned()));
        }
    }

    fn demand(&mut self, mode: Mode, given: &Given<'_>) {
        if self
            .at_least
            .as_ref()
            .is_none_or(|(before, _)| *before < mode)
        {
            self.at_least = Some((
                mode,
                format!("{}={}", given.shown, given.value.to_ascii_lowercase()),
            ));
        }
    }

    /// The names of what asks for TLS, for whoever has to take it out.
    pub fn asking(&self) -> Vec<String> {
        let of_mode = self
            .mode
            .as_ref()
            .filter(|(mode, _)| *mode >= Mode::Require)
            .map(|(_, name)| name.clone());
        let required = self.required.as_ref().map(|(_, by)| by.clone());
        let at_least = self.at_least.as_ref().map(|(_, by)| by.clone());
        let roots = self.roots.as_ref().and(self.roots_by.clone());
        [of_mode, required, at_least, roots]
            .into_iter()
            .flatten()
            .collect()
    }

    /// The mode and the roots that all demands come to. On a socket there is no TLS, as in libpq.
    ///
    /// # Errors
    /// Fails for demands that contradict each other.
    pub fn settle(
        &mut self,
        has_ca_file: bool,
        is_socket: bool,
    ) -> Result<(Mode, Roots), UrlError> {
        if is_socket {
            return Ok((Mode::Disable, Roots::System));
        }
        self.client = match (self.certificate.take(), self.key.take()) {
            _ if self.sends_no_certificate => None,
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            _ => {
                let remedy = "give both, sslcert and sslkey, or neither";
                return Err(UrlError::new(
                    "has one of sslcert and sslkey without the other",
                    remedy,
                ));
            }
        };
        let sslmode = self.mode.as_ref().map(|(mode, _)| *mode);
        let demanding = (self.required.as_ref().map(|(_, by)| by.as_str()))
            .or(self.at_least.as_ref().map(|(_, by)| by.as_str()));
        let contradiction = |weak: &str, by: &str| {
            Err(UrlError::new(
                format!("has {weak}=disable and {by}, which asks for TLS"),
                "take one of them out",
            ))
        };
        match (&self.mode, self.weak, demanding) {
            (Some((Mode::Disable, name)), _, Some(by)) => return contradiction(name, by),
            (None, Some(Mode::Disable), Some(by)) => return contradiction("ssl", by),
            (Some((mode, name)), Some(Mode::Disable), _) if *mode >= Mode::Require => {
                return contradiction("ssl", name);
            }
            _ => {}
        }
        let given = sslmode
            .or(self.weak)
            .max(self.required.as_ref().map(|(mode, _)| *mode));
        let is_system = self.roots == Some(Roots::System);
        let has_ca = has_ca_file || matches!(self.roots, Some(Roots::File(_)));
        let mode = match given {
            Some(mode) if is_system && mode < Mode::VerifyFull => {
                let remedy = "give sslmode=verify-full: anybody can have a certificate from one of the system's roots";
                return Err(UrlError::new(
                    "has sslrootcert=system and a weaker sslmode than verify-full",
                    remedy,
                ));
            }
            Some(mode) if has_ca && mode < Mode::Require => {
                let remedy = "give sslmode=verify-full, or take the CA out";
                return Err(UrlError::new(
                    "has a CA and an sslmode that does not verify",
                    remedy,
                ));
            }
            Some(Mode::Require) if has_ca => Mode::VerifyCa,
            Some(mode) => mode,
            // Who gives a CA wants it to be used; sslmode=prefer would go on without TLS where it does not match.
            None if is_system || has_ca => Mode::VerifyFull,
            None => Mode::Prefer,
        };
        let mode = self
            .at_least
            .as_ref()
            .map_or(mode, |(least, _)| mode.max(*least));
        Ok((mode, self.roots.take().unwrap_or_default()))
    }
}
