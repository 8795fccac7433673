//! RabbitMQ's management API: the policies of our queues, which AMQP does not show.
//!
//! It only reads. The figures there are some seconds old: a policy that was just set appears after
//! up to ten.

use std::time::Duration;

use futures_util::future::try_join_all;
use lapin::uri::{AMQPScheme, AMQPUri};
use reqwest::{Client, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::address::NodeAddress;
use super::topology::Names;
use crate::queue::batch::Source;
use crate::tls;
use crate::url::bracketed;

/// Longest time for one request.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Longest answer that is read: it has some KiB, and more with many consumers.
const ANSWER_MAX: usize = 1 << 20;

/// The answer of the management API.
#[derive(Debug, Clone)]
pub struct PolicyInspection {
    /// Scheme, host and port: the URL without its password.
    pub place: String,
    /// One per queue that exists.
    pub queues: Result<Vec<QueuePolicy>, ManagementError>,
}

/// The policies of one queue.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct QueuePolicy {
    /// The queue.
    pub name: String,
    /// The source that it is; always set by `inspect`.
    #[serde(skip)]
    pub source: Option<Source>,
    /// The name of the policy; `None` without one.
    pub policy: Option<String>,
    /// The name of the operator policy; `None` without one.
    pub operator_policy: Option<String>,
    /// Both, joined. `None` if there are no figures yet.
    #[serde(deserialize_with = "definition")]
    pub effective_policy_definition: Option<Map<String, Value>>,
    /// Dead letters that the broker retains, since they cannot be routed.
    #[serde(rename = "messages_dlx")]
    pub held: u64,
}

/// The API shows an empty object as an empty list.
fn definition<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Map<String, Value>>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Object(definition) => Some(definition),
        Value::Array(_) => Some(Map::new()),
        _ => None,
    })
}

/// Why the policies are not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManagementError {
    /// No server answers; with the reason.
    Away(String),
    /// The user or the password is refused.
    Unauthorized,
    /// The user lacks the permission: a tag, or access to the virtual host.
    Forbidden,
    /// Another server answers; with its status.
    Other(u16),
}

/// Asks at `given`, or at the usual address of each node until one answers.
pub async fn inspect(
    nodes: &[NodeAddress],
    given: Option<&SecretString>,
    names: &Names,
) -> PolicyInspection {
    let mut found = PolicyInspection {
        place: String::new(),
        queues: Err(ManagementError::Away("there is no address to ask".into())),
    };
    for node in nodes {
        let url = match given {
            Some(given) => given.expose_secret().parse().ok(),
            None => usual_url(&node.uri),
        };
        let Some(url) = url else { continue };
        found = PolicyInspection {
            place: place(&url),
            queues: inspect_node(&url, node, names).await,
        };
        if given.is_some() || !matches!(found.queues, Err(ManagementError::Away(_))) {
            break;
        }
    }
    found
}

/// The usual address of the API: encrypted if AMQP is.
fn usual_url(node: &AMQPUri) -> Option<Url> {
    let (scheme, port) = match node.scheme {
        AMQPScheme::AMQP => ("http", 15672),
        AMQPScheme::AMQPS => ("https", 15671),
    };
    let host = node.authority.host.trim_matches(['[', ']']);
    let host = bracketed(host);
    format!("{scheme}://{host}:{port}").parse().ok()
}

fn place(url: &Url) -> String {
    let port = url
        .port_or_known_default()
        .map_or_else(String::new, |port| format!(":{port}"));
    format!(
        "{}://{}{port}",
        url.scheme(),
        url.host_str().unwrap_or_default()
    )
}

async fn inspect_node(
    url: &Url,
    node: &NodeAddress,
    names: &Names,
) -> Result<Vec<QueuePolicy>, ManagementError> {
    // A redirect or a proxy could take the password elsewhere.
    let builder =
        tls::http_client(&node.files).map_err(|error| ManagementError::Away(error.to_string()))?;
    let client = builder
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build();
    let client = client.map_err(|error| ManagementError::Away(explain(&error)))?;
    let sources = [
        Source::Events,
        Source::DeadLetters,
        Source::Unrouted,
        Source::Rescued,
    ];
    let found = sources.map(async |source| {
        let found = queue(&client, url, &node.uri, names.of_source(source)).await?;
        Ok(found.map(|found| QueuePolicy {
            source: Some(source),
            ..found
        }))
    });
    Ok(try_join_all(found).await?.into_iter().flatten().collect())
}

/// The policies of one queue; `None` if it does not exist.
async fn queue(
    client: &Client,
    url: &Url,
    node: &AMQPUri,
    name: &str,
) -> Result<Option<QueuePolicy>, ManagementError> {
    let mut question = url.clone();
    if let Ok(mut path) = question.path_segments_mut() {
        path.pop_if_empty()
            .extend(["api", "queues", &node.vhost, name]);
    }
    let mut request = client.get(question);
    if url.username().is_empty() {
        let user = &node.authority.userinfo;
        request = request.basic_auth(&user.username, Some(&user.password));
    }
    let away = |error: reqwest::Error| ManagementError::Away(explain(&error));
    let mut answer = request.send().await.map_err(away)?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND if is_json(&answer) => return Ok(None),
        StatusCode::UNAUTHORIZED => return Err(ManagementError::Unauthorized),
        StatusCode::FORBIDDEN => return Err(ManagementError::Forbidden),
        other => return Err(ManagementError::Other(other.as_u16())),
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(away)? {
        if body.len() + chunk.len() > ANSWER_MAX {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body)
        .map(Some)
        .map_err(|_| ManagementError::Other(200))
}

fn is_json(answer: &reqwest::Response) -> bool {
    let kind = answer
        .headers()
        .get(reqwest::header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/json"))
}

/// The innermost reason, without the URL.
fn explain(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("it does not answer within {} s", TIMEOUT.as_secs());
    }
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_address_is_encrypted_if_amqp_is() {
        for (node, expected) in [
            (
                "amqp://u:sesame@broker.example:5673/%2f",
                "http://broker.example:15672",
            ),
            (
                "amqps://u:sesame@broker.example/staging",
                "https://broker.example:15671",
            ),
        ] {
            assert_eq!(place(&usual_url(&node.parse().unwrap()).unwrap()), expected);
        }
        let given: Url = "https://u:sesame@broker.example/prefix".parse().unwrap();
        assert_eq!(
            place(&given),
            "https://broker.example:443",
            "no password and no path"
        );
    }

    #[test]
    fn the_answers_of_both_versions_are_parsed() {
        let read = |text: &str| serde_json::from_str::<QueuePolicy>(text).unwrap();
        let young =
            read(r#"{"name":"ns.events","arguments":{"x-queue-type":"quorum"},"type":"quorum"}"#);
        assert_eq!(
            (young.name.as_str(), young.effective_policy_definition),
            ("ns.events", None)
        );
        let none =
            read(r#"{"name":"q","effective_policy_definition":[],"policy":null,"messages_dlx":0}"#);
        assert_eq!(none.effective_policy_definition, Some(Map::new()));
        let some = read(
            r#"{"name":"q","policy":"p","operator_policy":"o","effective_policy_definition":{"message-ttl":5},"messages_dlx":7}"#,
        );
        assert_eq!(
            (
                some.policy.as_deref(),
                some.operator_policy.as_deref(),
                some.held
            ),
            (Some("p"), Some("o"), 7)
        );
        assert_eq!(some.effective_policy_definition.unwrap()["message-ttl"], 5);
    }
}
