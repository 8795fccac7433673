//! Runs of `send` with a rate, a file or a stop, and its command line.

use super::*;

#[tokio::test]
async fn nothing_listening_is_a_failure_that_names_the_cause() {
    // Port 1 is tcpmux's, which does not run here.
    let args = args("user.created --count 2 --url http://me:hidden@127.0.0.1:1/");
    let summary = summary(&args).await;
    assert_eq!((summary.sent, summary.failed, summary.accepted), (2, 2, 0));
    assert!(summary.latency_ms.is_none());
    let printed = serde_json::to_string(&summary).unwrap() + &summary.table();
    assert!(
        printed.contains("cannot connect: Connection refused"),
        "{printed}"
    );
    assert!(!printed.contains("hidden"), "{printed}");
}

#[tokio::test]
async fn latency_at_a_rate_counts_from_when_the_delivery_was_due() {
    // The first answer takes half a second. With one connection the others wait behind it, which
    // they must show.
    let stalls = Receiver::start(|n| {
        (
            Duration::from_millis(if n == 0 { 500 } else { 0 }),
            queued(),
        )
    });
    let started = Instant::now();
    let summary = stalls
        .send("user.created --count 40 --rate 100 --connections 1")
        .await;
    assert!(
        started.elapsed() >= Duration::from_millis(390),
        "40 at 100 per second take 0.39 s"
    );
    let latency = summary.latency_ms.unwrap();
    assert!(latency.max >= 495.0 && latency.p50 >= 200.0, "{latency:?}");

    // Where nothing stalls, a rate spreads the deliveries over time.
    let calm = Receiver::queueing();
    let started = Instant::now();
    assert!(
        calm.send("user.created --count 30 --rate 100 --connections 4")
            .await
            .is_whole()
    );
    assert!(started.elapsed() >= Duration::from_millis(290));
}

#[tokio::test]
async fn a_file_is_sent_to_the_byte() {
    let folder = std::env::temp_dir().join(format!(
        "clerk-sync-send-{}-{}",
        std::process::id(),
        rand::random::<u64>()
    ));
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("body.json");
    let body = b"{ \"type\":\"user.created\",\xff \r\n}";
    std::fs::write(&file, body).unwrap();
    let receiver = Receiver::queueing();
    let summary = receiver
        .send(&format!("--file {} --count 2 --duplicate", file.display()))
        .await;
    let missing = load(&args(&format!("--file {}/none", folder.display())));
    std::fs::remove_dir_all(&folder).unwrap();

    assert_eq!((summary.accepted, summary.run.event_type), (4, None));
    let taken = receiver.taken();
    assert!(taken.len() == 4 && taken.iter().all(|event| &event.body()[..] == body));
    let mut ids = receiver.ids();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 2);
    assert!(
        missing
            .err()
            .unwrap()
            .to_string()
            .contains("cannot read --file")
    );
}

#[tokio::test]
async fn one_user_gets_versions_that_rise() {
    let receiver = Receiver::queueing();
    assert!(
        receiver
            .send("user.updated --user user_1 --count 5 --connections 1")
            .await
            .is_whole()
    );
    assert!(receiver.send("user.updated --user user_1").await.is_whole());
    let changes: Vec<_> = receiver
        .taken()
        .iter()
        .map(|event| event.parse().unwrap().change)
        .collect();
    assert!(
        changes
            .iter()
            .all(|change| change.clerk_id.as_str() == "user_1")
    );
    let versions: Vec<_> = changes
        .into_iter()
        .map(|change| change.profile.unwrap().0)
        .collect();
    assert!(
        versions.windows(2).all(|pair| pair[0] < pair[1]),
        "{versions:?}"
    );
}

#[tokio::test]
async fn a_stopped_run_waits_for_requests_in_flight_and_reports_what_was_sent() {
    let args = args("user.created --count 100000 --rate 1000");
    let shutdown = Shutdown::default();
    let stop = shutdown.clone();
    let receiver = Receiver::start(move |n| {
        if n == 20 {
            stop.request();
        }
        (Duration::ZERO, queued())
    });
    let args = SendArgs {
        url: Some(receiver.url.clone()),
        ..args
    };
    let summary = Load {
        shutdown,
        ..load(&args).unwrap()
    };
    let summary = summary.run().await;
    assert!(
        !summary.is_whole() && (21..1000).contains(&summary.sent),
        "{}",
        summary.sent
    );
    assert_eq!(
        (summary.sent, summary.failed),
        (receiver.taken().len() as u64, 0)
    );
}

#[test]
fn the_command_line_is_consistent() {
    CommandLine::command().debug_assert();
    let args = args("user.created");
    assert_eq!((&args.url, args.count, args.connections), (&None, 1, 8));
    for (line, expected) in [
        ("user.created", 1),
        ("user.created --count 5000", 1000),
        ("user.created --count 5000 --users 3", 3),
        ("user.updated --count 5000 --user user_1", 1),
        ("organization.created --count 40 --organization org_1", 1),
        (
            "organizationMembership.created --count 40 --organization org_1",
            40,
        ),
        ("organizationMembership.created --count 40 --user user_1", 1),
        (
            "organizationInvitation.accepted --count 40 --id orginv_1",
            1,
        ),
    ] {
        let source = source(&parse(line).unwrap()).unwrap();
        assert!(
            matches!(source, Source::People { users, .. } if users == expected),
            "{source:?}"
        );
    }
    let debug = format!(
        "{:?}",
        parse(&format!("user.created --secret {SECRET}")).unwrap()
    );
    assert!(!debug.contains("C2FVsBQI"), "{debug}");
}

#[test]
fn wrong_usage_says_what_would_be_right() {
    for (line, printed) in [
        (
            "user.renamed",
            "user.created, user.updated, user.deleted, organization.created",
        ),
        ("", "EVENT_TYPE"),
        ("user.created --url ftp://127.0.0.1/", "http://"),
        ("user.created --url nonsense", "http://"),
        ("user.created --rate 0", "above 0"),
        ("user.created --rate NaN", "above 0"),
        ("user.created --connections 0", "1..=1024"),
        ("user.created --connections 1025", "1..=1024"),
        ("user.created --count 0", "1..=10000000"),
        ("user.created --user u --users 3", "cannot be used with"),
        ("user.created --id u --users 3", "cannot be used with"),
        ("--file x --users 3", "cannot be used with"),
        ("--file x --user u", "cannot be used with"),
        ("user.created --user", "a value is required"),
    ] {
        let error = parse(line).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(printed), "{line}: {error}");
    }
    for (line, printed) in [
        ("user.created --organization org_1", "--organization is for"),
        ("user.created --id user_1", "--user"),
        ("organization.updated --id org_1", "--organization"),
        ("organization.deleted --break nul", "whole object"),
    ] {
        let error = load(&args(line)).err().unwrap();
        assert!(error.is::<WrongUsage>(), "{line}");
        assert!(error.to_string().contains(printed), "{line}: {error}");
    }
}
