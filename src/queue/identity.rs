//! The identity of a queue: what distinguishes it from another, without user or password.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::embedded;
use super::error::OpenError;
use super::options::Options;

/// What identifies a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Identity {
    /// A namespace at a broker.
    RabbitMq {
        /// One per node, with its port if that is not the usual one.
        hosts: Vec<String>,
        /// The virtual host.
        vhost: String,
        /// The prefix of all names.
        namespace: String,
    },
    /// A file.
    Embedded {
        /// Stored in the file. Empty if an older version created the file.
        id: String,
        /// Where the file was when it was opened.
        path: String,
    },
}

impl Identity {
    /// Whether both are the same queue: one common host of a cluster is enough, and a file may be
    /// moved.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::RabbitMq { namespace, .. },
                Self::RabbitMq {
                    namespace: of_other,
                    ..
                },
            ) => namespace == of_other && self.is_same_broker(other),
            (Self::Embedded { id, .. }, Self::Embedded { id: of_other, .. }) => {
                !id.is_empty() && id == of_other
            }
            _ => false,
        }
    }

    fn is_same_broker(&self, other: &Self) -> bool {
        matches!((self, other), (
            Self::RabbitMq { hosts, vhost, .. },
            Self::RabbitMq { hosts: others, vhost: of_other, .. },
        ) if vhost == of_other && hosts.iter().any(|host| others.contains(host)))
    }

    /// What an operator sets to use this queue, which is the workers', in place of `other`.
    pub fn remedy(&self, other: &Self) -> &'static str {
        match (self, other) {
            (Self::Embedded { .. }, Self::Embedded { .. }) => {
                "set DATA_DIR to the workers' directory"
            }
            (Self::Embedded { .. }, Self::RabbitMq { .. }) => {
                "unset AMQP_URL, and set DATA_DIR to the workers' directory"
            }
            _ if self.is_same_broker(other) => "set AMQP_NAMESPACE to the workers' namespace",
            (Self::RabbitMq { .. }, _) => {
                "set AMQP_URL (and AMQP_NAMESPACE) to the queue of the workers"
            }
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RabbitMq {
                hosts,
                vhost,
                namespace,
            } => {
                write!(
                    f,
                    "RabbitMQ at {} (virtual host {vhost}, namespace {namespace})",
                    hosts.join(", ")
                )
            }
            Self::Embedded { path, .. } => write!(f, "the embedded queue {path}"),
        }
    }
}

/// The identity of the queue of these options; `None` for an embedded one that does not exist.
/// Connects to no broker, and creates nothing.
///
/// # Errors
/// Fails if the file cannot be read.
pub async fn identity(options: &Options) -> Result<Option<Identity>, OpenError> {
    match options {
        Options::RabbitMq(options) => {
            let (hosts, vhost) = options.hosts_and_vhost();
            Ok(Some(Identity::RabbitMq {
                hosts,
                vhost,
                namespace: options.namespace.clone(),
            }))
        }
        Options::Embedded(options) => {
            let path = options.path.canonicalize();
            let path = path.unwrap_or_else(|_| options.path.clone());
            let path = path.display().to_string();
            let id = embedded::identity(options).await?;
            Ok(id.map(|id| Identity::Embedded { id, path }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::rabbitmq;

    fn rabbitmq(hosts: &[&str], namespace: &str) -> Identity {
        let hosts = hosts.iter().map(|host| (*host).into()).collect();
        Identity::RabbitMq {
            hosts,
            vhost: "/".into(),
            namespace: namespace.into(),
        }
    }

    fn embedded(id: &str, path: &str) -> Identity {
        Identity::Embedded {
            id: id.into(),
            path: path.into(),
        }
    }

    #[test]
    fn queues_are_distinguished() {
        let ours = rabbitmq(&["a", "b:5673"], "clerk-sync");
        for (other, expected) in [
            (rabbitmq(&["b:5673", "c"], "clerk-sync"), true),
            (rabbitmq(&["c"], "clerk-sync"), false),
            (rabbitmq(&["b"], "clerk-sync"), false),
            (rabbitmq(&["a"], "staging"), false),
            (embedded("1", "/data/queue.db"), false),
        ] {
            assert_eq!(
                (ours.is(&other), other.is(&ours)),
                (expected, expected),
                "{other}"
            );
        }
        let file = embedded("1", "/data/queue.db");
        assert!(
            file.is(&embedded("1", "/elsewhere/queue.db")),
            "a file that was moved"
        );
        assert!(
            !file.is(&embedded("2", "/data/queue.db")),
            "a file that was created again"
        );
        assert!(!embedded("", "/data/queue.db").is(&embedded("", "/data/queue.db")));
    }

    #[test]
    fn the_variables_to_set_are_named() {
        let (broker, file) = (
            rabbitmq(&["a"], "clerk-sync"),
            embedded("1", "/data/queue.db"),
        );
        assert!(
            broker
                .remedy(&rabbitmq(&["a"], "staging"))
                .starts_with("set AMQP_NAMESPACE to")
        );
        assert!(broker.remedy(&file).starts_with("set AMQP_URL"));
        assert!(
            broker
                .remedy(&rabbitmq(&["c"], "clerk-sync"))
                .starts_with("set AMQP_URL")
        );
        assert!(
            file.remedy(&broker)
                .starts_with("unset AMQP_URL, and set DATA_DIR to")
        );
        assert!(
            file.remedy(&embedded("2", "/x"))
                .starts_with("set DATA_DIR to")
        );
    }

    #[test]
    fn it_is_stored_as_json_without_a_password() {
        let address = "amqp://u:hunter2@Broker.example,amqps://u:hunter2@other:5673/%2f"
            .parse()
            .unwrap();
        let options = rabbitmq::Options {
            address,
            namespace: "clerk-sync".into(),
        };
        let (hosts, vhost) = options.hosts_and_vhost();
        let identity = Identity::RabbitMq {
            hosts,
            vhost,
            namespace: options.namespace,
        };
        let json = serde_json::to_string(&identity).unwrap();
        assert_eq!(
            json,
            r#"{"kind":"rabbitmq","hosts":["broker.example","other:5673"],"vhost":"/","namespace":"clerk-sync"}"#
        );
        assert_eq!(serde_json::from_str::<Identity>(&json).unwrap(), identity);
    }
}
