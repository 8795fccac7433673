//! The secrets: those of webhooks and of Clerk's API, and the tokens. All of these can be read again
//! while the program runs.

use secrecy::{ExposeSecret, SecretString};

use super::environment::{Environment, clean};
use super::error::{ConfigError, wrong};
use super::settings::{OLDER_SIGNING_SECRET, SIGNING_SECRET};
use crate::clerk::{SigningSecret, Verifier};

/// Shorter tokens can be guessed.
const TOKEN_CHARACTERS_MIN: usize = 16;

/// The verifier of these secrets.
///
/// # Errors
///
/// If there are none, or one is not well formed.
pub fn verifier(secrets: &[SecretString]) -> Result<Verifier, ConfigError> {
    if secrets.is_empty() {
        return Err(wrong(
            SIGNING_SECRET,
            absent(),
            "copy the Signing Secret (whsec_…) of your endpoint from Clerk's dashboard, Configure > Webhooks; to try it out without Clerk run `clerk-sync dev`",
        ));
    }
    let secrets = secrets
        .iter()
        .map(signing_secret)
        .collect::<Result<_, _>>()?;
    Ok(Verifier::new(secrets))
}

/// The signing secrets, the newest first. Empty if none is set.
///
/// # Errors
///
/// If one is not well formed, or its file cannot be read.
pub fn signing_secrets(environment: &Environment) -> Result<Vec<SecretString>, ConfigError> {
    let list = match environment.secret(SIGNING_SECRET)? {
        // The older name is read where the newer one is absent.
        None => environment.secret(OLDER_SIGNING_SECRET)?,
        list => list,
    };
    let list = list.unwrap_or_default();
    let parts = list
        .expose_secret()
        .split([',', ' ', '\n', '\r', '\t'])
        .map(clean);
    let secrets = parts
        .filter(|part| !part.is_empty())
        .map(SecretString::from);
    secrets
        .map(|secret| signing_secret(&secret).map(|_| secret))
        .collect()
}

fn signing_secret(secret: &SecretString) -> Result<SigningSecret, ConfigError> {
    let remedy = "copy it whole from Clerk's dashboard; it looks like whsec_ and 32 letters, digits, + and /";
    SigningSecret::parse(secret).map_err(|fault| wrong(SIGNING_SECRET, fault, remedy))
}

/// The secret key of Clerk's Backend API. Returns `None` if it is not set.
///
/// # Errors
///
/// If it is not well formed, or its file cannot be read.
pub fn clerk_secret_key(environment: &Environment) -> Result<Option<SecretString>, ConfigError> {
    let key = environment.secret("CLERK_SECRET_KEY")?;
    if key
        .as_ref()
        .is_some_and(|key| !key.expose_secret().starts_with("sk_"))
    {
        let remedy = "copy the Secret key (sk_live_… or sk_test_…) from Clerk's dashboard, Configure > API keys; the Publishable key (pk_…) and the Signing Secret (whsec_…) are others";
        return Err(wrong("CLERK_SECRET_KEY", "does not begin with sk_", remedy));
    }
    let remedy = "copy the Secret key whole from Clerk's dashboard, Configure > API keys; it has letters, digits and _ alone";
    require_whole("CLERK_SECRET_KEY", key.as_ref(), remedy)?;
    let text = key.as_ref().map_or("", |key| key.expose_secret());
    if text.contains(|letter: char| !letter.is_ascii_graphic()) {
        let fault = "has a character that no key has (not shown)";
        return Err(wrong("CLERK_SECRET_KEY", fault, remedy));
    }
    Ok(key)
}

/// The admin token. Returns `None` if it is not set.
///
/// # Errors
///
/// If it is too short, or its file cannot be read.
pub fn admin_token(environment: &Environment) -> Result<Option<SecretString>, ConfigError> {
    token(environment, "ADMIN_TOKEN")
}

/// The token that only reads. Returns `None` if it is not set.
///
/// # Errors
///
/// As for the admin token, or if it is the same.
pub fn read_token(environment: &Environment) -> Result<Option<SecretString>, ConfigError> {
    let token = token(environment, "READ_TOKEN")?;
    let admin = admin_token(environment)?;
    let texts = [&token, &admin].map(|token| token.as_ref().map(|token| token.expose_secret()));
    if texts[0].is_some() && texts[0] == texts[1] {
        let remedy = "generate another one with `openssl rand -hex 24`: who has this one could do everything";
        return Err(wrong("READ_TOKEN", "is the same as ADMIN_TOKEN", remedy));
    }
    Ok(token)
}

fn token(environment: &Environment, name: &str) -> Result<Option<SecretString>, ConfigError> {
    let token = environment.secret(name)?;
    let characters = |token: &SecretString| token.expose_secret().chars().count();
    if token
        .as_ref()
        .is_some_and(|token| characters(token) < TOKEN_CHARACTERS_MIN)
    {
        return Err(wrong(name, "has fewer than 16 characters", MAKE_A_TOKEN));
    }
    require_whole(name, token.as_ref(), MAKE_A_TOKEN)?;
    Ok(token)
}

const MAKE_A_TOKEN: &str = "generate a long one with `openssl rand -hex 24`";

/// Refuses a value that no program generates, such as a placeholder that a page ends with an
/// ellipsis.
fn require_whole(
    name: &str,
    secret: Option<&SecretString>,
    remedy: &str,
) -> Result<(), ConfigError> {
    let text = secret.map(ExposeSecret::expose_secret).unwrap_or_default();
    if text.ends_with('…') || text.ends_with("...") {
        return Err(wrong(name, "is cut off: it ends with an ellipsis", remedy));
    }
    Ok(())
}

/// Where a setting that is absent was looked for.
pub(super) fn absent() -> String {
    let other = std::path::Path::new(".env.local");
    let other = if other.exists() {
        "; .env.local is not read"
    } else {
        ""
    };
    format!("is not set (not in the environment, nor in ./.env{other})")
}
