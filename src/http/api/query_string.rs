//! Query strings, read into their parameters. Pure.

use std::collections::BTreeMap;
use std::slice;

use actix_web::web::Query;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::IntoParams;
use utoipa::openapi::path::ParameterIn;

use super::invalid::{invalid, renamed, wrong};
use crate::http::problem::Problem;

/// The parameters of a query, by their names.
pub type Parameters = BTreeMap<String, String>;

/// Parameters in which a `+` is a plus and no space: addresses and numbers have one, and few people
/// know that it is written `%2B`.
const WITH_PLUS: [&str; 3] = ["email", "phone", "q"];

/// Reads a query into its parameters, as texts, and these into a filter. Of a repeated one the last
/// counts, but each must be right.
///
/// # Errors
///
/// If a parameter is unknown or has a wrong value.
pub fn read<Q: DeserializeOwned + IntoParams, F>(
    query: &str,
    filter: impl Fn(Q) -> Result<F, Problem>,
) -> Result<F, Problem> {
    let known = Q::into_params(|| Some(ParameterIn::Query));
    let known: Vec<_> = known.iter().map(|parameter| &*parameter.name).collect();
    read_parameters(query, &known, &WITH_PLUS, |parameters| {
        let parameters: Value = parameters.clone().into_iter().collect();
        // Every parameter is an optional text, so that only a name could be wrong.
        let query = serde_json::from_value(parameters);
        filter(query.map_err(|_| unknown([], &known))?)
    })
}

/// The same for parameters with these names. In those of `with_plus` a `+` is a plus.
///
/// # Errors
///
/// See [`read`].
pub fn read_parameters<F>(
    query: &str,
    known: &[&str],
    with_plus: &[&str],
    filter: impl Fn(&Parameters) -> Result<F, Problem>,
) -> Result<F, Problem> {
    let pairs = Query::<Vec<(String, String)>>::from_query(&self::with_plus(query, with_plus))
        .map_err(|_| invalid("the query string cannot be read"))?;
    let read = |pairs: &[(String, String)]| {
        let mut names = pairs.iter().map(|(name, _)| &**name);
        if !names.clone().all(|name| known.contains(&name)) {
            return Err(unknown(names, known));
        }
        // Databases store no NUL character, so nothing is found by one.
        let with_nul = pairs.iter().find(|(_, value)| value.contains('\0'));
        if let Some(name) = with_nul.and_then(|(nul, _)| names.find(|name| name == nul)) {
            return Err(wrong(name, NO_NUL));
        }
        filter(&pairs.iter().cloned().collect())
    };
    for pair in &*pairs {
        read(slice::from_ref(pair))?;
    }
    read(&pairs)
}

/// The error for an unknown parameter. Its text repeats none of these names, which come from
/// outside.
fn unknown<'n>(names: impl IntoIterator<Item = &'n str>, known: &[&str]) -> Problem {
    if let Some(problem) = renamed(names, |new| known.contains(&new)) {
        return problem;
    }
    invalid(match known.split_last() {
        Some((last, [])) => format!("a parameter is unknown; there is {last} alone"),
        Some((last, others)) => format!(
            "a parameter is unknown; there are {} and {last}",
            others.join(", ")
        ),
        None => "a parameter is unknown; there is none".into(),
    })
}

/// The query with each `+` in the values of these parameters as `%2B`.
pub fn with_plus(query: &str, names: &[&str]) -> String {
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name, value)) if names.contains(&name) => {
            format!("{name}={}", value.replace('+', "%2B"))
        }
        _ => pair.to_owned(),
    };
    query.split('&').map(pair).collect::<Vec<_>>().join("&")
}

/// What is wrong with a text that no database stores.
pub const NO_NUL: &str = "it may not contain the character NUL";
