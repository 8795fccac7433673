//! What AMQP does not show: which policies are in force on our queues, asked of RabbitMQ's management API.
//!
//! It only reads. The figures there are some seconds old: a policy that was just set shows after up to ten.

use std::time::Duration;

use futures_util::future::join_all;
use lapin::uri::{AMQPScheme, AMQPUri};
use reqwest::{Client, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::address::Node;
use super::topology::Names;
use crate::queue::Source;
use crate::tls;

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Longest answer that is read: about a queue it has some KiB, and more with many consumers.
const ANSWER_MAX: usize = 1 << 20;

/// What the management API says of our queues.
#[derive(Debug, Clone)]
pub struct Management {
    /// Scheme, host and port: the URL without its password.
    pub place: String,
    pub queues: Result<Vec<QueuePolicy>, Unseen>,
}

/// What is in force on one queue.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct QueuePolicy {
    pub name: String,
    #[serde(skip)]
    pub source: Option<Source>,
    pub policy: Option<String>,
    pub operator_policy: Option<String>,
    /// Of both, joined. `None` where there are no figures yet.
    #[serde(deserialize_with = "definition")]
    pub effective_policy_definition: Option<Map<String, Value>>,
    /// Dead letters that cannot be routed.
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

/// Why nothing is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unseen {
    /// Nobody answers there; the reason.
    Away(String),
    /// The user or the password is not taken.
    Unauthorized,
    /// The user may not look: it has no tag for it, or no right to the virtual host.
    Forbidden,
    /// What answers is not the management API: its status.
    Other(u16),
}

/// Asks `given`, or the usual port of each node until one answers.
pub async fn ask(nodes: &[Node], given: Option<&SecretString>, names: &Names) -> Management {
    let urls: Vec<(Url, &Node)> = match given {
        Some(given) => given
            .expose_secret()
            .parse()
            .ok()
            .into_iter()
            .zip(nodes)
            .collect(),
        None => nodes
            .iter()
            .filter_map(|node| Some((usual_url(&node.uri)?, node)))
            .collect(),
    };
    let mut asked = Management {
        place: String::new(),
        queues: Err(Unseen::Away("there is no address to ask".into())),
    };
    for (url, node) in urls {
        asked = Management {
            place: place(&url),
            queues: ask_one(&url, node, names).await,
        };
        if !matches!(asked.queues, Err(Unseen::Away(_))) {
            break;
        }
    }
    asked
}

/// Where the API listens unless it is configured otherwise: encrypted where AMQP is.
fn usual_url(node: &AMQPUri) -> Option<Url> {
    let (scheme, port) = match node.scheme {
        AMQPScheme::AMQP => ("http", 15672),
        AMQPScheme::AMQPS => ("https", 15671),
    };
    let host = node.authority.host.as_str();
    let is_bare_ipv6 = host.contains(':') && !host.starts_with('[');
    let host = if is_bare_ipv6 {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
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

async fn ask_one(url: &Url, node: &Node, names: &Names) -> Result<Vec<QueuePolicy>, Unseen> {
    // A redirect or a proxy could take the password elsewhere.
    let builder = tls::http_client(&node.files).map_err(|error| Unseen::Away(error.to_string()))?;
    let client = builder
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build();
    let client = client.map_err(|error| Unseen::Away(explain(&error)))?;
    let sources = [
        Source::Events,
        Source::DeadLetters,
        Source::Unrouted,
        Source::Rescued,
    ];
    let answers = sources.map(|source| {
        let client = &client;
        async move {
            let found = queue(client, url, &node.uri, names.of_source(source)).await?;
            Ok(found.map(|found| QueuePolicy {
                source: Some(source),
                ..found
            }))
        }
    });
    let found: Result<Vec<Option<QueuePolicy>>, Unseen> =
        join_all(answers).await.into_iter().collect();
    Ok(found?.into_iter().flatten().collect())
}

/// One queue; `None` where it is not there.
async fn queue(
    client: &Client,
    url: &Url,
    node: &AMQPUri,
    name: &str,
) -> Result<Option<QueuePolicy>, Unseen> {
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
    let away = |error: reqwest::Error| Unseen::Away(explain(&error));
    let mut answer = request.send().await.map_err(away)?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND if is_json(&answer) => return Ok(None),
        StatusCode::UNAUTHORIZED => return Err(Unseen::Unauthorized),
        StatusCode::FORBIDDEN => return Err(Unseen::Forbidden),
        other => return Err(Unseen::Other(other.as_u16())),
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
        .map_err(|_| Unseen::Other(200))
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
    fn the_usual_address_is_encrypted_where_amqp_is() {
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
    fn an_answer_is_read_as_both_versions_give_it() {
        let read = |text: &str| serde_json::from_str::<QueuePolicy>(text).unwrap();
        let young =
            read(r#"{"name":"ns.users","arguments":{"x-queue-type":"quorum"},"type":"quorum"}"#);
        assert_eq!(
            (young.name.as_str(), young.effective_policy_definition),
            ("ns.users", None)
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
