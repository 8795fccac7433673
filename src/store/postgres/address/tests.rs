//! `DATABASE_URL` in the forms that people have, and what is wrong with the others.

use std::str::FromStr;

use secrecy::ExposeSecret;

use super::tls_demands::Mode;
use super::*;

fn read(url: &str) -> Address {
    Address::from_str(url).unwrap_or_else(|error| panic!("{url}: {error}"))
}

fn refused(url: &str) -> String {
    match Address::from_str(url) {
        Ok(address) => panic!("{url} is read as {address:?}"),
        Err(error) => error.to_string(),
    }
}

fn mode(query: &str) -> Mode {
    read(&format!("postgres://u:p@db/app?{query}")).mode
}

#[test]
fn hosts_sockets_and_databases_are_read() {
    for (url, host, port, database) in [
        ("postgres://u:p@db:5433/app", Some("db"), Some(5433), "app"),
        ("postgresql://u:p@db/app", Some("db"), None, "app"),
        ("POSTGRES://u:p@db/app", Some("db"), None, "app"),
        (
            "postgres://u:p@[::1]:5432/app",
            Some("::1"),
            Some(5432),
            "app",
        ),
        ("postgres://u:7M[r@db/app", Some("db"), None, "app"),
        (
            "postgres://u@/app?host=/run/pg",
            Some("/run/pg"),
            None,
            "app",
        ),
        (
            "postgres://u:p@/app?host=/cloudsql/project:region:instance",
            Some("/cloudsql/project:region:instance"),
            None,
            "app",
        ),
        ("postgres://u@%2Frun%2Fpg/app", Some("/run/pg"), None, "app"),
        (
            "postgres://u@/app?host=::1&port=5433",
            Some("::1"),
            Some(5433),
            "app",
        ),
        (
            "postgres://?host=db&dbname=app&user=u&password=p",
            Some("db"),
            None,
            "app",
        ),
        ("postgres:///app", None, None, "app"),
        ("postgres://u@db/a%2Fb%20c", Some("db"), None, "a/b c"),
    ] {
        let address = read(url);
        assert_eq!(
            (
                address.host.as_deref(),
                address.port,
                address.database.as_deref().unwrap_or_default()
            ),
            (host, port, database),
            "{url}"
        );
    }
}

#[test]
fn what_sqlx_gets_is_what_the_url_says() {
    let url = "postgres://a%40b:7%2FM+r%3FE':d%23%25@[::1]:5433/a%20b?application_name=x&options=-c%20work_mem%3D1MB";
    let options = read(url).connect_options().unwrap();
    assert_eq!((options.get_host(), options.get_port()), ("::1", 5433));
    assert_eq!(
        (options.get_username(), options.get_database()),
        ("a@b", Some("a b"))
    );
    assert_eq!(
        (options.get_application_name(), options.get_options()),
        (Some("x"), Some("-c work_mem=1MB"))
    );
    assert!(
        format!("{options:?}").contains("7/M+r?E':d#%"),
        "the password is whole"
    );
    let of_socket = read("postgres://u@/app?host=/run/pg&sslmode=verify-full")
        .connect_options()
        .unwrap();
    assert_eq!(of_socket.get_socket().unwrap().to_str(), Some("/run/pg"));
    assert!(matches!(of_socket.get_ssl_mode(), PgSslMode::Disable));
    assert_eq!(
        read("postgres://db/app")
            .connect_options()
            .unwrap()
            .get_application_name(),
        Some("clerk-sync")
    );
}

#[test]
fn demands_for_tls_are_obeyed_as_libpq_does() {
    for (query, expected) in [
        ("", Mode::Prefer),
        ("sslmode=allow", Mode::Prefer),
        ("sslmode=prefer", Mode::Prefer),
        ("sslmode=disable", Mode::Disable),
        ("ssl=false", Mode::Prefer),
        ("ssl=true", Mode::Require),
        ("ssl=1", Mode::Require),
        ("ssl=verify-full", Mode::VerifyFull),
        ("requiressl=1", Mode::Require),
        ("ssl=true&sslmode=prefer", Mode::Require),
        ("ssl=require&sslmode=allow", Mode::Require),
        ("sslmode=allow&ssl=require", Mode::Require),
        ("ssl=verify-full&sslmode=prefer", Mode::VerifyFull),
        ("sslmode=require&ssl=verify-full", Mode::VerifyFull),
        ("sslmode=verify-full&ssl=require", Mode::VerifyFull),
        ("ssl=prefer&sslmode=verify-ca", Mode::VerifyCa),
        ("sslmode=disable&ssl=prefer", Mode::Disable),
        ("ssl=prefer&sslmode=disable", Mode::Disable),
        ("ssl=disable", Mode::Disable),
        ("ssl=verify-ca&requiressl=1", Mode::VerifyCa),
        ("requiressl=1&ssl=verify-ca", Mode::VerifyCa),
        ("sslmode=require", Mode::Require),
        ("sslmode=REQUIRE", Mode::Require),
        ("ssl-mode=require", Mode::Require),
        ("sslmode=verify-ca", Mode::VerifyCa),
        ("sslmode=verify-full", Mode::VerifyFull),
        ("sslmode=require&sslrootcert=/ca.pem", Mode::VerifyCa),
        ("ssl=true&sslrootcert=/ca.pem", Mode::VerifyCa),
        ("sslrootcert=/ca.pem", Mode::VerifyFull),
        ("sslrootcert=system", Mode::VerifyFull),
        ("sslmode=verify-full&sslrootcert=system", Mode::VerifyFull),
        ("channel_binding=prefer", Mode::Prefer),
        ("channel_binding=require", Mode::Require),
        ("sslmode=prefer&channel_binding=require", Mode::Require),
        ("sslmode=require&channel_binding=require", Mode::Require),
        (
            "sslmode=verify-full&channel_binding=require",
            Mode::VerifyFull,
        ),
        ("sslaccept=strict", Mode::VerifyFull),
        (
            "sslmode=require&sslaccept=accept_invalid_certs",
            Mode::Require,
        ),
        (
            "gssencmode=prefer&sslnegotiation=postgres&sslsni=1&ssl_min_protocol_version=TLSv1.2",
            Mode::Prefer,
        ),
    ] {
        assert_eq!(mode(query), expected, "{query}");
    }
}

#[test]
fn what_cannot_be_satisfied_is_an_error_that_names_the_parameter_and_no_value() {
    for (query, named) in [
        ("sslmode=no-verify", "sslmode"),
        ("sslmode=", "sslmode"),
        ("sslmode=hunter2", "sslmode"),
        ("ssl=hunter2", "ssl"),
        ("requiressl=hunter2", "requiressl"),
        ("sslaccept=hunter2", "sslaccept"),
        ("channel_binding=hunter2", "channel_binding"),
        (
            "sslmode=disable&channel_binding=require",
            "channel_binding=require",
        ),
        ("sslmode=disable&ssl=true", "sslmode=disable"),
        ("ssl=require&sslmode=disable", "sslmode=disable and ssl"),
        ("sslmode=disable&ssl=require", "sslmode=disable and ssl"),
        ("ssl=verify-full&sslmode=disable", "sslmode=disable and ssl"),
        (
            "sslmode=disable&requiressl=1",
            "sslmode=disable and requiressl",
        ),
        ("ssl=disable&sslmode=require", "ssl=disable"),
        ("sslmode=verify-full&ssl=disable", "ssl=disable"),
        ("ssl=disable&requiressl=1", "ssl=disable and requiressl"),
        ("requiressl=1&ssl=disable", "ssl=disable and requiressl"),
        (
            "ssl=disable&channel_binding=require",
            "ssl=disable and channel_binding",
        ),
        ("ssl=hunter2", "ssl"),
        ("sslmode=disable&sslaccept=strict", "sslaccept=strict"),
        ("sslmode=require&sslrootcert=system", "sslrootcert=system"),
        ("sslmode=prefer&sslrootcert=/hunter2.pem", "a CA"),
        ("sslmode=disable&sslrootcert=/hunter2.pem", "a CA"),
        ("sslpassword=hunter2", "sslpassword"),
        ("sslcert=/hunter2.pem", "sslcert"),
        ("sslkey=/hunter2.pem", "sslkey"),
        ("sslcrl=hunter2", "sslcrl"),
        ("sslcrldir=hunter2", "sslcrldir"),
        ("sslcertmode=require", "sslcertmode"),
        ("sslnegotiation=direct", "sslnegotiation"),
        ("sslsni=0", "sslsni"),
        ("sslidentity=hunter2", "sslidentity"),
        ("sslfuture=hunter2", "sslfuture"),
        (
            "ssl_min_protocol_version=TLSv1.3",
            "ssl_min_protocol_version",
        ),
        (
            "ssl_max_protocol_version=TLSv1.2",
            "ssl_max_protocol_version",
        ),
        ("gssencmode=require", "gssencmode"),
        ("require_auth=scram-sha-256", "require_auth"),
        ("SSLMODE=require", "SSLMODE"),
        ("sslMode=require", "sslMode"),
        ("ssl_mode=require", "ssl_mode"),
        ("tls=true", "tls"),
        ("encrypt=true", "encrypt"),
        ("host=hunter2/xx", "character in its host"),
        ("hostaddr=hunter2%40h", "character in its host"),
        ("sslmode=require&sslmode=disable", "sslmode"),
        ("sslmode=require&ssl-mode=disable", "ssl-mode"),
        ("service=hunter2", "service"),
        ("target_session_attrs=standby", "target_session_attrs"),
        (
            "statement-cache-capacity=hunter2",
            "statement-cache-capacity",
        ),
    ] {
        let said = refused(&format!("postgres://u:hunter2@db/app?{query}"));
        let (fault, remedy) = said.split_once("; ").unwrap();
        assert!(
            fault.contains(named) && !remedy.is_empty(),
            "{query}: {said}"
        );
        assert!(
            !said.contains("hunter2") && !said.contains("no-verify"),
            "{query}: {said}"
        );
    }
    assert!(
        refused("postgres://db/app?sslmode=no-verify")
            .contains("disable, allow, prefer, require, verify-ca, verify-full")
    );
    assert!(refused("postgres://db/app?password=a&hunter2=b").contains("(not shown)"));
}

#[test]
fn what_hosts_and_other_clients_put_into_their_urls_is_read_in_silence() {
    for query in [
        "schema=public&pgbouncer=true&connection_limit=1&pool_timeout=20&connect_timeout=10&socket_timeout=5",
        "statement_cache_size=0&sslaccept=accept_invalid_certs",
        "supa=base-pooler.x&workaround=supabase-pooler.vercel",
        "sslmode=require&channel_binding=require",
        "sslmode=require&options=endpoint%3Dep-cool-1",
        "sslmode=require&options=project%3Dep-cool-1&uselibpqcompat=true",
        "pool_max_conns=10&default_query_exec_mode=simple_protocol",
        "target_session_attrs=read-write&keepalives=1&keepalives_idle=30&application_name=x",
        "prepareThreshold=0&serverVersion=16&charset=utf8&prepared_statements=false",
    ] {
        read(&format!("postgres://u:p@db/app?{query}"));
    }
}

#[test]
fn unknown_parameters_are_ignored_and_named() {
    let url = "postgres://u:p@db/app?search_path=a&schema=b&TimeZone=UTC&statement_timeout=5s&lock_timeout=1&pooling=true&applicationName=x";
    let names = [
        "search_path",
        "TimeZone",
        "statement_timeout",
        "lock_timeout",
        "pooling",
        "applicationName",
    ];
    assert_eq!(read(url).ignored(), names);
    assert!(
        read("postgres://u:p@db/app?sslmode=require&schema=public")
            .ignored()
            .is_empty()
    );
}

/// Refused rather than shown as a host and a database.
#[test]
fn what_may_be_a_login_that_is_not_encoded_is_refused() {
    for url in [
        "postgres://app:24/hunter2%40127.0.0.1/db",
        "postgres://app:24/hunter2",
        "postgres://app:6432/hunter2%2Fdb",
        "postgres://app:24?dbname=hunter2",
    ] {
        let said = refused(url);
        assert!(
            said.contains("%2F") && !said.contains("hunter2"),
            "{url}: {said}"
        );
    }
}

#[test]
fn several_hosts_no_host_and_no_database_are_named() {
    for url in [
        "postgres://u:p@h1:5432,h2:5432/app",
        "postgres://u:p@h1,h2/app?target_session_attrs=read-write",
        "postgres://u:p@/app?host=h1,h2",
        "postgres://u:p@h1/app?port=5432,5433",
        "postgres://u:p@h1/app?load_balance_hosts=random",
    ] {
        assert!(
            refused(url).contains("one name that follows the primary"),
            "{url}: {}",
            refused(url)
        );
    }
    for url in [
        "postgres://u:p@db",
        "postgres://u:p@db/",
        "postgres://u:p@db?sslmode=require",
        "postgres://",
    ] {
        assert!(
            refused(url).starts_with("names no database"),
            "{url}: {}",
            refused(url)
        );
    }
    for url in [
        "mysql://u:p@db/app",
        "postgres+psycopg2://u:p@db/app",
        "jdbc:postgresql://db/app",
    ] {
        assert!(
            refused(url).starts_with("does not begin with postgres://"),
            "{url}: {}",
            refused(url)
        );
    }
}

/// sqlx ignored a variable that it could not read, and so a demand for TLS.
#[test]
fn libpqs_variables_are_read_where_the_url_says_nothing() {
    let with = |variables: &'static [(&str, &str)], url: &str| {
        let variable = |name: &str| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Address::read(url, &variable, None)
    };
    let mode = |variables, url| with(variables, url).unwrap().mode;
    assert_eq!(
        mode(&[("PGSSLMODE", "verify-full")], "postgres://db/app"),
        Mode::VerifyFull
    );
    assert_eq!(
        mode(
            &[("PGSSLMODE", "verify-full")],
            "postgres://db/app?sslmode=disable"
        ),
        Mode::Disable
    );
    assert_eq!(
        mode(&[("PGCHANNELBINDING", "require")], "postgres://db/app"),
        Mode::Require
    );
    assert_eq!(
        with(&[("PGDATABASE", "app")], "postgres://db")
            .unwrap()
            .database,
        Some("app".into())
    );
    for variable in [
        &[("PGSSLMODE", "hunter2")],
        &[("PGGSSENCMODE", "require")],
        &[("PGREQUIREAUTH", "hunter2")],
        &[("PGSSLCRL", "hunter2")],
    ] {
        let said = with(variable, "postgres://db/app").unwrap_err().to_string();
        assert!(
            said.contains(variable[0].0) && !said.contains("hunter2"),
            "{said}"
        );
    }
}

#[test]
fn a_ca_file_beside_the_url_verifies() {
    let with = |url: &str| Address::read(url, &|_| None, Some("/ca.pem".into()));
    assert_eq!(with("postgres://db/app").unwrap().mode, Mode::VerifyFull);
    assert_eq!(
        with("postgres://db/app?sslmode=require").unwrap().mode,
        Mode::VerifyCa
    );
    let both = with("postgres://db/app?sslmode=verify-full&sslrootcert=/other.pem").unwrap();
    let settings: Vec<_> = both
        .files
        .ca
        .iter()
        .map(|file| file.setting.as_str())
        .collect();
    assert_eq!(
        settings,
        ["sslrootcert in DATABASE_URL", "DATABASE_CA_FILE"]
    );
    let said = with("postgres://db/app?sslmode=disable")
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("a CA and an sslmode that does not verify"),
        "{said}"
    );
    let error = with("postgres://db/app")
        .unwrap()
        .connect_options()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("DATABASE_CA_FILE names a file that cannot be read"),
        "{error}"
    );
}

#[test]
fn what_asks_for_tls_is_named() {
    let asking = |query: &str| read(&format!("postgres://db/app?{query}")).asking_for_tls();
    assert_eq!(asking("sslmode=prefer"), "");
    assert_eq!(asking("ssl=true"), "ssl in DATABASE_URL");
    assert_eq!(
        asking("sslmode=require&channel_binding=require"),
        "sslmode in DATABASE_URL and channel_binding=require in DATABASE_URL"
    );
    assert_eq!(asking("sslrootcert=system"), "sslrootcert in DATABASE_URL");
    assert_eq!(
        asking("requiressl=1&sslmode=prefer"),
        "requiressl in DATABASE_URL"
    );
    let with_ca = Address::read("postgres://db/app", &|_| None, Some("/ca.pem".into())).unwrap();
    assert_eq!(with_ca.asking_for_tls(), "DATABASE_CA_FILE");
    let by_variable = |name: &str| (name == "PGSSLMODE").then(|| "require".to_owned());
    assert_eq!(
        Address::read("postgres://db/app", &by_variable, None)
            .unwrap()
            .asking_for_tls(),
        "PGSSLMODE"
    );
}

#[test]
fn debugging_shows_no_secret() {
    let address = read("postgres://user-x:hunter2@db/app?options=-c%20x%3Dhunter2");
    let shown = format!("{address:?} {:?}", address.password.as_ref().map(|_| ()));
    assert!(
        !shown.contains("hunter2") && !shown.contains("user-x"),
        "{shown}"
    );
    assert_eq!(address.password.unwrap().expose_secret(), "hunter2");
}
