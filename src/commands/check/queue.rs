//! Checks the queue: RabbitMQ's nodes, its topology and the permissions of the user; or the file of
//! the embedded queue.

use secrecy::SecretString;

use super::finding::{self, Finding, fail, note, ok};
use super::time_limit::in_time;
use crate::format;
use crate::queue::rabbitmq::{DeclaredState, NodeInspection, TopologyInspection};
use crate::queue::{self, OpenError, QueueInspection, embedded, rabbitmq};

/// The first RabbitMQ that keeps dead letters safe: at-least-once dead lettering came with it.
const VERSION_MIN: (u32, u32) = (3, 10);

/// The oldest version that its makers maintain.
const MAJOR_KEPT: u32 = 4;

/// Checks the queue. `max_body_bytes` is `None` if the role receives no events; with
/// `publishes_changes` it publishes changes of rows.
pub async fn check(
    options: &queue::Options,
    management_url: Option<&SecretString>,
    max_body_bytes: Option<usize>,
    publishes_changes: bool,
) -> Vec<Finding> {
    let policies = async {
        let queue::Options::RabbitMq(options) = options else {
            return Vec::new();
        };
        let found = in_time(rabbitmq::inspect_policies(options, management_url)).await;
        found.as_ref().map_or_else(Vec::new, super::policies::of)
    };
    let (mut findings, policies) = tokio::join!(check_amqp(options, publishes_changes), policies);
    let is_reached = findings.iter().any(|finding| finding.check == "topology");
    // Not at the same time: a broker with an alarm accepts no message, and blocks the connection
    // that sends one.
    let has_alarm = findings
        .iter()
        .any(|finding| finding.check == "broker" && finding.failed());
    if let (queue::Options::RabbitMq(options), Some(bytes), true, false) =
        (options, max_body_bytes, is_reached, has_alarm)
    {
        let max = in_time(rabbitmq::inspect_body_max(options, bytes))
            .await
            .flatten();
        findings.extend(max.map(|max| of_body_max(max, bytes)));
    }
    findings.extend(
        policies
            .into_iter()
            .filter(|policy| is_reached || policy.failed()),
    );
    findings
}

async fn check_amqp(options: &queue::Options, publishes_changes: bool) -> Vec<Finding> {
    match in_time(queue::inspect(options, publishes_changes)).await {
        Some(Ok(QueueInspection::RabbitMq(found))) => {
            let namespace = match options {
                queue::Options::RabbitMq(options) => options.namespace.as_str(),
                queue::Options::Embedded(_) => "",
            };
            let mut findings = of_nodes(&found.nodes);
            if let Some(shared) = &found.topology {
                findings.extend(of_shared(shared, namespace));
            }
            findings
        }
        Some(Ok(QueueInspection::Embedded(found))) => of_file(options, &found),
        Some(Err(OpenError(text))) => {
            vec![fail(
                "queue",
                text,
                "fix this, and run `clerk-sync check` again",
            )]
        }
        None => vec![fail(
            "broker",
            "RabbitMQ does not answer in time",
            "see whether it runs: `rabbitmqctl status`",
        )],
    }
}

/// Clerk's bodies have some KiB, and never more than this.
const ENOUGH_FOR_CLERK: u64 = 1 << 20;

fn of_body_max(max: u64, max_body_bytes: usize) -> Finding {
    let what = format!(
        "RabbitMQ accepts at most {max} bytes in one message, and MAX_BODY_BYTES is {max_body_bytes}: larger webhooks get 413"
    );
    let remedy = format!("raise max_message_size in rabbitmq.conf, or set MAX_BODY_BYTES={max}");
    let judge = if max < ENOUGH_FOR_CLERK { fail } else { note };
    judge("broker_message_size", what, remedy)
}

fn of_nodes(nodes: &[NodeInspection]) -> Vec<Finding> {
    let all_away = nodes.iter().all(|node| node.fault.is_some());
    nodes
        .iter()
        .flat_map(|node| of_node(node, all_away))
        .collect()
}

fn of_node(node: &NodeInspection, all_away: bool) -> Vec<Finding> {
    let place = &node.place;
    if let Some(fault) = &node.fault {
        let refused = fault.contains("refuses") || fault.contains("REFUSED");
        let remedy = if refused {
            "correct the user, the password and the virtual host in AMQP_URL, or add them: `rabbitmqctl add_user`, `add_vhost`, `set_permissions`"
        } else {
            "start RabbitMQ there, or correct the host and the port in AMQP_URL"
        };
        let (fault, remedy) = finding::split(fault, remedy);
        let what = format!("{place}: {fault}");
        // The other nodes of the cluster still work.
        return vec![if all_away {
            fail("broker", what, remedy)
        } else {
            note("broker", what, remedy)
        }];
    }
    let mut findings = vec![match &node.version {
        None => note(
            "broker",
            format!("{place} does not report its version"),
            "see that it is RabbitMQ 3.10 or later",
        ),
        Some((product, version)) => of_version(product, version, place),
    }];
    if !node.is_private {
        let what = format!("the connection to {place} is not encrypted");
        findings.push(note(
            "broker",
            what,
            "use amqps:// if the network is not yours",
        ));
    }
    findings
}

fn of_version(product: &str, version: &str, place: &str) -> Finding {
    let what = format!("{product} {version} at {place}");
    let mut parts = version
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let number = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if product != "RabbitMQ" {
        return note(
            "broker",
            what,
            "clerk-sync is made for RabbitMQ and tested with nothing else",
        );
    }
    if number < VERSION_MIN {
        return fail(
            "broker",
            format!("{what} is too old"),
            "upgrade to 3.10 at least, better to the newest 4.x",
        );
    }
    if number.0 < MAJOR_KEPT {
        let remedy =
            "upgrade to 4.x when you can, step by step: docs/operations.md, Upgrade RabbitMQ";
        return note(
            "broker",
            format!("{what} works, and is no longer maintained by its makers"),
            remedy,
        );
    }
    ok("broker", what)
}

fn of_shared(shared: &TopologyInspection, namespace: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(reason) = &shared.alarm {
        let remedy = "free memory or disk on the node (`rabbitmqctl status` names the alarm); meanwhile webhooks get 503 and Svix sends them again";
        findings.push(fail(
            "broker",
            format!("it accepts no events now: {reason}"),
            remedy,
        ));
    }
    findings.push(of_user_rights(shared, namespace));
    findings.extend(of_topology(shared));
    findings
}

fn of_user_rights(shared: &TopologyInspection, namespace: &str) -> Finding {
    if shared.refused.is_empty() {
        return ok(
            "broker_rights",
            "the user may configure, write and read what is needed",
        );
    }
    let refused: Vec<_> = shared
        .refused
        .iter()
        .map(|(right, name)| format!("{right} {name}"))
        .collect();
    let own = format!("'^{}\\.'", namespace.replace('.', "\\."));
    let what = format!("the user may not {}", refused.join(", "));
    fail(
        "broker_rights",
        what,
        format!("rabbitmqctl set_permissions --vhost VHOST USER {own} {own} {own}"),
    )
}

fn of_topology(shared: &TopologyInspection) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut missing = Vec::new();
    for (title, state) in &shared.declarations {
        match state {
            DeclaredState::AsWanted => {}
            DeclaredState::Missing => missing.push(title.as_str()),
            DeclaredState::Earlier => {
                let name = title.rsplit(' ').next().unwrap_or(title);
                let remedy = format!(
                    "`rabbitmqctl delete_queue {name}` once it is empty: it is declared again within seconds, and the broker holds dead letters meanwhile"
                );
                findings.push(note(
                    "topology",
                    format!("{title} is as an earlier version declared it: it works, and a policy can empty it"),
                    remedy,
                ));
            }
            DeclaredState::Different(difference) => {
                let name = title.rsplit(' ').next().unwrap_or(title);
                let kind = if title.contains("queue") { "queue" } else { "exchange" };
                let remedy = if kind == "queue" {
                    format!(
                        "let a worker of the version that declared it empty it, then `rabbitmqctl delete_queue {name}`; or set another AMQP_NAMESPACE"
                    )
                } else {
                    "stop the applications that consume from it, and delete it in the management pages; start them once it is declared again, within a minute: they bind their queues again, whose bindings are deleted with it".into()
                };
                findings.push(fail(
                    "topology",
                    format!("{title} exists with other arguments ({difference})"),
                    remedy,
                ));
            }
            DeclaredState::Broken(reason) => findings.push(fail(
                "topology",
                format!("{title} cannot be inspected: {reason}"),
                "see whether it has a leader and a majority: `rabbitmqctl list_queues name type leader online members`",
            )),
        }
    }
    if missing.len() == shared.declarations.len() {
        let remedy = "nothing to do: it is declared at the first start";
        findings.push(note("topology", "no exchange or queue exists yet", remedy));
    } else if !missing.is_empty() {
        let what = format!("missing: {}", missing.join(", "));
        findings.push(note(
            "topology",
            what,
            "start a receiver or a worker: it declares what is missing, and within seconds where it runs",
        ));
    }
    if findings.is_empty() {
        let waiting = shared.waiting.map_or_else(String::new, |events| {
            format!("; {} waiting", format::count(events, "event"))
        });
        findings.push(ok(
            "topology",
            format!("every exchange and queue is as it must be{waiting}"),
        ));
    }
    findings
}

fn of_file(options: &queue::Options, found: &embedded::FileInspection) -> Vec<Finding> {
    let queue::Options::Embedded(embedded::Options { path }) = options else {
        return Vec::new();
    };
    let path = path.display();
    let mut findings = vec![match found.events {
        None => {
            let what = format!("embedded: {path} does not exist yet");
            note(
                "queue",
                what,
                "nothing to do: it is created at the first start",
            )
        }
        Some(events) => ok(
            "queue",
            format!(
                "embedded: {path}; {} waiting",
                format::count(events, "event")
            ),
        ),
    }];
    if !found.is_private {
        let what = format!("others on this machine may read {path}, which holds personal data");
        findings.push(note("queue", what, format!("chmod 600 {path}")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::finding::Severity;

    #[test]
    fn versions_are_compared_by_number() {
        for (version, severity) in [
            ("3.9.29", Severity::Fail),
            ("3.10.0", Severity::Note),
            ("3.13.7", Severity::Note),
            ("4.0.0", Severity::Ok),
            ("4.2.1", Severity::Ok),
            ("10.1", Severity::Ok),
        ] {
            assert_eq!(
                of_version("RabbitMQ", version, "h:5672//").severity,
                severity,
                "{version}"
            );
        }
        assert_eq!(
            of_version("LavinMQ", "2.0.0", "h:5672//").severity,
            Severity::Note
        );
    }

    #[test]
    fn one_node_of_a_cluster_may_be_away() {
        let node = |fault: Option<&str>| NodeInspection {
            place: "h:5672//".into(),
            is_private: true,
            version: Some(("RabbitMQ".into(), "4.2.0".into())),
            fault: fault.map(Into::into),
        };
        let severities = |nodes: &[NodeInspection]| {
            of_nodes(nodes)
                .iter()
                .map(|finding| finding.severity)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            severities(&[node(None), node(Some("away"))]),
            [Severity::Ok, Severity::Note]
        );
        assert_eq!(
            severities(&[node(Some("away")), node(Some("away"))]),
            [Severity::Fail, Severity::Fail]
        );
    }
}
