//! Which queue it is: what tells one from another, without a user or a password.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{OpenError, Options, embedded, rabbitmq};

/// What a queue is known by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Identity {
    RabbitMq {
        /// One a node, with its port where that is not the usual one.
        hosts: Vec<String>,
        vhost: String,
        namespace: String,
    },
    Embedded {
        /// Goes with the file. Empty in one that an older program made.
        id: String,
        /// Where it lay when it was opened.
        path: String,
    },
}

impl Identity {
    /// Whether both are the same queue: one host of a cluster is enough, and a file may be moved.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::RabbitMq {
                    hosts,
                    vhost,
                    namespace,
                },
                Self::RabbitMq {
                    hosts: others,
                    vhost: other_vhost,
                    namespace: other_namespace,
                },
            ) => {
                vhost == other_vhost
                    && namespace == other_namespace
                    && hosts.iter().any(|host| others.contains(host))
            }
            (Self::Embedded { id, .. }, Self::Embedded { id: other, .. }) => {
                !id.is_empty() && id == other
            }
            _ => false,
        }
    }

    /// What a person sets in place of `other` to use this queue, which is the workers'.
    pub fn remedy(&self, other: &Self) -> &'static str {
        match (self, other) {
            (Self::Embedded { .. }, Self::Embedded { .. }) => {
                "set DATA_DIR to the workers' directory"
            }
            (Self::Embedded { .. }, Self::RabbitMq { .. }) => {
                "unset AMQP_URL, and set DATA_DIR to the workers' directory"
            }
            (
                Self::RabbitMq { hosts, vhost, .. },
                Self::RabbitMq {
                    hosts: others,
                    vhost: other,
                    ..
                },
            ) if vhost == other && hosts.iter().any(|host| others.contains(host)) => {
                "set AMQP_NAMESPACE to the workers' namespace"
            }
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

/// What the queue of these options is known by; `None` if it is an embedded one that does not exist. Connects to no broker, and makes
/// nothing.
///
/// # Errors
///
/// When the file cannot be read.
pub async fn identity(options: &Options) -> Result<Option<Identity>, OpenError> {
    match options {
        Options::RabbitMq(options) => {
            let (hosts, vhost) = rabbitmq::whereabouts(options);
            Ok(Some(Identity::RabbitMq {
                hosts,
                vhost,
                namespace: options.namespace.clone(),
            }))
        }
        Options::Embedded(options) => {
            let path = options
                .path
                .canonicalize()
                .unwrap_or_else(|_| options.path.clone())
                .display()
                .to_string();
            Ok(embedded::identity(options)
                .await?
                .map(|id| Identity::Embedded { id, path }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_queue_is_told_from_another() {
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
            "a file that was made anew"
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
    fn it_is_kept_as_json_without_a_password() {
        let address = "amqp://u:hunter2@Broker.example,amqps://u:hunter2@other:5673/%2f"
            .parse()
            .unwrap();
        let options = rabbitmq::Options {
            address,
            namespace: "clerk-sync".into(),
        };
        let (hosts, vhost) = rabbitmq::whereabouts(&options);
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
