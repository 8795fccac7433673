//! What a URL demands of TLS, as libpq reads it: each demand is met, or is an error.

use crate::tls::{Files, PemFile};
use crate::url::{Parameter, UrlError, pair, refuse};

/// How strict the connection is about TLS, in ascending order. libpq's `allow` is read as `prefer`,
/// which encrypts more often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    Disable,
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

const MODES: &str = "disable, allow, prefer, require, verify-ca, verify-full";

fn mode(text: &str) -> Option<Mode> {
    Some(match text {
        "disable" => Mode::Disable,
        "allow" | "prefer" => Mode::Prefer,
        "require" => Mode::Require,
        "verify-ca" => Mode::VerifyCa,
        "verify-full" => Mode::VerifyFull,
        _ => return None,
    })
}

/// A mode, and the name of what demands it.
type Demand = Option<(Mode, String)>;

/// Keeps the stronger demand; the first of two that are equal.
fn strengthen(demand: &mut Demand, mode: Mode, name: String) {
    if demand.as_ref().is_none_or(|(before, _)| *before < mode) {
        *demand = Some((mode, name));
    }
}

/// What has been demanded so far.
#[derive(Debug, Default)]
pub struct Demands {
    /// Of `sslmode`.
    mode: Demand,
    /// The weak mode that `ssl` names, such as `ssl=prefer`: it counts if there is no `sslmode`.
    weak: Option<Mode>,
    /// What `ssl` or `requiressl` demands whatever `sslmode` says.
    required: Demand,
    /// What another parameter asks for at least.
    at_least: Demand,
    /// Whether only the system's roots are asked for.
    is_system: bool,
    ca: Option<PemFile>,
    /// What names the roots.
    roots_by: Option<String>,
    certificate: Option<PemFile>,
    key: Option<PemFile>,
    sends_no_certificate: bool,
}

impl Demands {
    /// Returns whether the parameter is one of TLS or authentication.
    ///
    /// # Errors
    /// Fails for one that cannot be met.
    pub fn take(&mut self, parameter: &Parameter) -> Result<bool, UrlError> {
        let shown = || parameter.shown().to_owned();
        let file = || {
            let path = parameter.non_empty()?;
            Some(PemFile::new(parameter.setting("DATABASE_URL"), path))
        };
        let none_of = |values: &str| Err(parameter.none_of(values));
        let unsupported = |remedy| Err(parameter.unsupported(remedy));
        let value = parameter.text().to_ascii_lowercase();
        match (parameter.name.as_str(), value.as_str()) {
            ("sslmode", text) => {
                let fault = format!("whose value is none of {MODES}");
                let remedy =
                    "give one of them: require encrypts without verifying, verify-full verifies";
                let mode = mode(text).ok_or_else(|| parameter.error(&fault, remedy))?;
                self.mode = Some((mode, shown()));
            }
            ("ssl", "true" | "1" | "on" | "yes") | ("requiressl", "1") => {
                strengthen(&mut self.required, Mode::Require, shown())
            }
            ("ssl", "false" | "0" | "off" | "no") | ("requiressl", "0") => {}
            ("ssl", text) => match mode(text) {
                Some(mode) if mode >= Mode::Require => {
                    strengthen(&mut self.required, mode, shown())
                }
                Some(mode) => self.weak = Some(mode),
                None => return none_of(&format!("true, false, {MODES}")),
            },
            ("sslaccept", "strict") => {
                strengthen(&mut self.at_least, Mode::VerifyFull, shown() + "=strict")
            }
            ("channel_binding", "require") => {
                strengthen(&mut self.at_least, Mode::Require, shown() + "=require")
            }
            ("sslrootcert", value) => {
                self.is_system = value == "system";
                self.ca = file().filter(|_| !self.is_system);
                self.roots_by = parameter.non_empty().map(|_| shown());
            }
            ("sslcert", _) => self.certificate = file(),
            ("sslkey", _) => self.key = file(),
            ("sslcertmode", "disable") => self.sends_no_certificate = true,
            // These demand nothing beyond the default.
            ("sslaccept", "accept_invalid_certs")
            | ("sslcertmode", "allow")
            | ("channel_binding" | "gssencmode", "disable" | "prefer")
            | ("sslnegotiation", "postgres")
            | ("sslsni", "1")
            | ("sslcompression", "0" | "1")
            | ("ssl_min_protocol_version", "" | "tlsv1" | "tlsv1.1" | "tlsv1.2")
            | ("ssl_max_protocol_version", "" | "tlsv1.3") => {}
            ("sslcertmode", "require") => {
                return unsupported("take it out: the server decides whether it asks for one");
            }
            ("gssencmode", "require") => {
                return unsupported("take it out, and encrypt with sslmode=verify-full");
            }
            ("sslnegotiation", "direct") => {
                return unsupported("take it out: TLS begins after a question to the server");
            }
            ("sslsni", _) => {
                return unsupported("take it out: the host is always named to the server");
            }
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
            ("requiressl" | "sslcompression", _) => return none_of("0, 1"),
            ("sslaccept", _) => return none_of("strict, accept_invalid_certs"),
            ("sslcertmode", _) => return none_of("disable, allow"),
            ("channel_binding", _) => return none_of("disable, prefer, require"),
            ("gssencmode", _) => return none_of("disable, prefer"),
            ("sslnegotiation", _) => return none_of("postgres"),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The names of what asks for TLS, for the person who has to take it out.
    pub fn asking(&self) -> Vec<String> {
        let of_mode = self
            .mode
            .as_ref()
            .filter(|(mode, _)| *mode >= Mode::Require);
        let demands = [of_mode, self.required.as_ref(), self.at_least.as_ref()];
        let names = demands.into_iter().flatten().map(|(_, name)| name);
        names
            .chain(&self.roots_by)
            .map(|name| match name.starts_with("PG") {
                true => name.clone(),
                false => format!("{name} in DATABASE_URL"),
            })
            .collect()
    }

    /// The mode and the files that all demands come to, with the CA of the settings.
    ///
    /// # Errors
    /// Fails for demands that contradict each other.
    pub fn settle(self, beside: Option<PemFile>) -> Result<(Mode, Files), UrlError> {
        let client = if self.sends_no_certificate {
            None
        } else {
            pair(("sslcert", self.certificate), ("sslkey", self.key))?
        };
        let by = self.required.as_ref().or(self.at_least.as_ref());
        let disabled = match (&self.mode, self.weak) {
            (Some((Mode::Disable, name)), _) => by.map(|(_, by)| (name.as_str(), by)),
            (None, Some(Mode::Disable)) => by.map(|(_, by)| ("ssl", by)),
            (Some((mode, by)), Some(Mode::Disable)) if *mode >= Mode::Require => Some(("ssl", by)),
            _ => None,
        };
        if let Some((weak, by)) = disabled {
            return refuse(
                format!("has {weak}=disable and {by}, which asks for TLS"),
                "take one of them out",
            );
        }
        let of = |demand: &Demand| demand.as_ref().map(|(mode, _)| *mode);
        let given = of(&self.mode).or(self.weak).max(of(&self.required));
        let ca: Vec<_> = self.ca.into_iter().chain(beside).collect();
        let mode = match given {
            Some(mode) if self.is_system && mode < Mode::VerifyFull => {
                return refuse(
                    "has sslrootcert=system and a weaker sslmode than verify-full",
                    "give sslmode=verify-full: anybody can have a certificate from one of the system's roots",
                );
            }
            Some(mode) if !ca.is_empty() && mode < Mode::Require => {
                return refuse(
                    "has a CA and an sslmode that does not verify",
                    "give sslmode=verify-full, or take the CA out",
                );
            }
            Some(Mode::Require) if !ca.is_empty() => Mode::VerifyCa,
            Some(mode) => mode,
            // If a CA is given it must be used: sslmode=prefer would connect without TLS if the
            // certificate does not match.
            None if self.is_system || !ca.is_empty() => Mode::VerifyFull,
            None => Mode::Prefer,
        };
        let mode = Some(mode).max(of(&self.at_least)).unwrap_or_default();
        Ok((mode, Files { ca, client }))
    }
}
