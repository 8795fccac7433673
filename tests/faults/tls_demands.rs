//! Settings that demand TLS of a server that has none.

use crate::servers::certificates::Ca;
use crate::servers::postgres::Postgres;
use crate::support::app::until;
use crate::system::store;

use super::tls::Place;
use super::tls_clerk_api::Https;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn required_tls_is_never_dropped_for_a_server_without_it() {
    let _alone = crate::ALONE.lock().await;
    let postgres = Postgres::start().await;
    let place = Place::new(Vec::new());
    let base = format!("postgres://postgres@127.0.0.1:{}/postgres", postgres.port());
    let check = |query: &str, variables: &[(&str, &str)]| {
        place.check(
            "database",
            &[variables, &[("DATABASE_URL", &format!("{base}?{query}"))]].concat(),
        )
    };
    let demands = [
        "ssl=true",
        "channel_binding=require",
        "sslmode=require",
        "sslmode=verify-ca",
        "sslrootcert=system",
    ];
    for query in demands {
        let said = check(query, &[]);
        assert!(
            said.contains("has no TLS and the settings ask for it"),
            "{query}: {said}"
        );
        let name = query.split('=').next().unwrap();
        assert!(
            said.contains(&format!("take out what asks for it ({name}")),
            "{query}: {said}"
        );
    }
    for variable in [
        ("PGSSLMODE", "require"),
        ("PGREQUIRESSL", "1"),
        ("PGCHANNELBINDING", "require"),
    ] {
        let said = check("", &[variable]);
        assert!(
            said.contains("has no TLS and the settings ask for it"),
            "{variable:?}: {said}"
        );
        assert!(
            said.contains(&format!("take out what asks for it ({}", variable.0)),
            "{variable:?}: {said}"
        );
    }
    let said = check("ssl=false&channel_binding=prefer&gssencmode=prefer", &[]);
    assert!(!said.contains("TLS"), "{said}");
    let strict = format!("{base}?ssl=true");
    place
        .reports_error(
            "serve",
            store(&base),
            &[("DATABASE_URL", &strict)],
            "has no TLS and the settings ask for it",
        )
        .await;
    // Another server's port.
    // Its files go with it.
    let ca = Ca::new();
    let other = Https::start(&ca.sign("server", 2));
    for (mode, words) in [
        ("disable", "ended the connection without a word"),
        ("prefer", "does not speak PostgreSQL's"),
    ] {
        let url = format!(
            "postgres://postgres@127.0.0.1:{}/postgres?sslmode={mode}",
            other.1
        );
        until("it listens", async || {
            !place
                .check("database", &[("DATABASE_URL", &url)])
                .contains("refused")
        })
        .await;
        let said = place.check("database", &[("DATABASE_URL", &url)]);
        assert!(said.contains(words), "{said}");
    }
    for (scheme, fix) in [("amqp", "is it the TLS port?"), ("amqps", "5671")] {
        let said = place.check(
            "broker",
            &[(
                "AMQP_URL",
                &format!("{scheme}://127.0.0.1:{}", postgres.port()),
            )],
        );
        assert!(
            said.starts_with("fail: ") && said.split(" → ").nth(1).unwrap().contains(fix),
            "{said}"
        );
    }
}
