//! The page of metrics, alerts and dashboards name the metrics that are served, and no delivery
//! creates a time series.

use std::collections::BTreeSet;

use clerk_sync::clock::now;
use clerk_sync::store::Status;

use super::metrics::{body, is_clean};
use crate::support::app::{Place, SECRET, headers};
use crate::support::scrape::{Scrape, family};

/// Returns the page of a process that has a sample of every metric.
async fn full_page(place: &Place) -> Scrape {
    place.succeed(&["migrate"]);
    let limit = std::num::NonZeroU32::new(1000);
    place.store().set_rate_limit(limit).await.unwrap();
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("CHANGE_FEED", "on"),
    ];
    let app = place.start(&["serve"], &variables).await;
    app.deliver("msg_1", body("user.updated", "user_1", 0))
        .await;
    assert_eq!(app.settled("msg_1").await.status, Status::Applied);
    Scrape::of(&app).await
}

#[tokio::test]
async fn the_page_lists_exactly_the_served_metrics() {
    let scrape = full_page(&Place::servers().await).await;
    let page = include_str!("../../../docs/observability.md");
    let section = page
        .split("\n## ")
        .find(|section| section.starts_with("Metrics\n"))
        .expect("a section Metrics");
    let rows: Vec<Vec<&str>> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let mut listed = BTreeSet::new();
    for row in &rows {
        let names: Vec<&str> = row[0]
            .split('`')
            .filter(|text| text.contains('_'))
            .collect();
        for name in names {
            assert!(listed.insert(name.to_owned()), "{name} is listed twice");
            let kind = scrape
                .types
                .get(name)
                .unwrap_or_else(|| panic!("{name} is listed and not served"));
            assert_eq!(row[1], kind, "{name}");
            let labels: BTreeSet<String> = row[2]
                .split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect();
            assert_eq!(labels, scrape.labels(name), "{name}");
        }
    }
    assert_eq!(
        listed,
        scrape.types.keys().cloned().collect(),
        "what is listed, and what is served"
    );
}

#[test]
fn each_alert_has_a_description_and_a_runbook() {
    let rules = include_str!("../../../deploy/prometheus/rules.yml");
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert_eq!(alerts.len(), 11);
    let page = include_str!("../../../docs/operations.md");
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        let description = alert.split("description: >-").nth(1).unwrap_or_default();
        assert!(
            alert.contains("summary: ") && description.len() > 100,
            "{name}"
        );
        let section = format!("runbook_url: docs/operations.md#{}\n", name.to_lowercase());
        assert!(alert.contains(&section), "{name} has not {section}");
        let has_section = page
            .lines()
            .any(|line| line.trim_start_matches('#') == format!(" {name}"));
        assert!(has_section, "docs/operations.md has no section {name}");
    }
}

/// Words of a text that are names of metrics.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    words
        .filter(|word| {
            ["clerk_sync_", "process_"]
                .iter()
                .any(|begin| word.starts_with(begin))
        })
        .collect()
}

#[tokio::test]
async fn rules_and_dashboard_use_served_metrics() {
    let scrape = full_page(&Place::servers().await).await;
    for (file, text) in [
        (
            "rules.yml",
            include_str!("../../../deploy/prometheus/rules.yml"),
        ),
        (
            "rules.test.yml",
            include_str!("../../../deploy/prometheus/rules.test.yml"),
        ),
        (
            "clerk-sync.json",
            include_str!("../../../deploy/grafana/clerk-sync.json"),
        ),
    ] {
        let names = named(text);
        assert!(names.len() > 5, "{file} names {names:?}");
        for name in names {
            assert!(
                scrape.types.contains_key(&family(name, &scrape.types)),
                "{file} names {name}, which is not served"
            );
        }
    }
}

/// Sends deliveries of many kinds, valid and invalid ones.
#[tokio::test]
async fn no_delivery_creates_a_time_series() {
    let place = Place::embedded();
    let app = place.serve().await;
    app.deliver("msg_0", body("user.updated", "user_1", 0))
        .await;
    app.settled("msg_0").await;
    let before = Scrape::of(&app).await;
    for number in 1..50 {
        app.deliver(
            &format!("msg_{number}"),
            body(&format!("kind.{number}"), &format!("user_{number}"), 0),
        )
        .await;
        app.deliver(
            &format!("msg_{number}x"),
            format!(r#"{{"type":"user.deleted","data":{{"id":{number}}}}}"#),
        )
        .await;
        app.post(
            &headers(&format!("msg.{number}"), now(), &number.to_string()),
            vec![],
        )
        .await;
        app.get(&format!("/somewhere/{number}")).await;
    }
    app.settled("msg_49x").await;
    let after = Scrape::of(&app).await;
    let queued = after.get(r#"clerk_sync_webhooks_total{result="queued",type="user.deleted"}"#);
    assert_eq!(queued, Some(49.0));
    assert_eq!(before.series(), after.series());
    is_clean(&after);
}
