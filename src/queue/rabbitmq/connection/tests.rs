//! A supervisor that panics, and one without handles.

use super::*;

#[tokio::test]
async fn a_supervisor_that_panics_reports_it_restarts_and_stops_with_its_connection() {
    // An empty list of nodes makes it panic: no such list can be configured.
    let broker = Broker {
        nodes: Arc::new([]),
        names: Arc::new(Names::new("clerk-sync-test")),
        limits: Arc::default(),
    };
    let connection = Connection::new(broker, Purpose::Consume);
    connection.want();
    connection.started().await;
    let reason = connection.ready().unwrap_err().to_string();
    assert!(reason.contains("bug of clerk-sync"), "{reason}");
    let mut state = connection.state.clone();
    state.mark_unchanged();
    let again = tokio::time::timeout(Duration::from_secs(30), state.changed());
    assert!(
        again.await.expect("it starts again").is_ok(),
        "it is still there"
    );
    tokio::time::timeout(Duration::from_secs(30), connection.close())
        .await
        .expect("it ends");
}

#[tokio::test]
async fn a_supervisor_without_handles_stops() {
    let names = Arc::new(Names::new("clerk-sync-test"));
    let held_by_it = Arc::downgrade(&names);
    drop(Connection::new(
        Broker {
            nodes: Arc::new([]),
            names,
            limits: Arc::default(),
        },
        Purpose::Consume,
    ));
    let gone = async {
        while held_by_it.upgrade().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone)
        .await
        .expect("it ends");
}
