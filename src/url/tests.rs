//! URLs in the forms that people write, and what no error may repeat.

use super::*;

fn place(url: &str) -> (String, Option<u16>) {
    let parts = read(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    (parts.host.unwrap_or_default(), parts.port)
}

#[test]
fn hosts_of_every_kind_are_read() {
    for (url, host, port) in [
        ("x://db", "db", None),
        ("x://db:5432/app", "db", Some(5432)),
        ("x://u:p@db_1.internal.:1/app", "db_1.internal.", Some(1)),
        ("x://u:p@[::1]:5432/app", "::1", Some(5432)),
        ("x://[2001:db8::1]", "2001:db8::1", None),
        ("x://[fe80::1%25eth0]:65535", "fe80::1%eth0", Some(65535)),
        ("x://u:p[w@db/app", "db", None),
        ("x://u:p@w@db:/app", "db", None),
        ("x://u@%2Frun%2Fpg/app", "/run/pg", None),
        ("x://u@/app", "", None),
        ("x:///app", "", None),
    ] {
        assert_eq!(place(url), (host.to_owned(), port), "{url}");
    }
}

#[test]
fn logins_paths_and_parameters_are_decoded() {
    let parts =
        read("X://a%40b:7%2FM%2br%3fE':d[z:@db/a%2Fb?sslmode=require&options=-c+a%3Db&x=").unwrap();
    assert_eq!(
        (parts.scheme.as_str(), parts.user.as_deref()),
        ("x", Some("a@b"))
    );
    assert_eq!(parts.password.unwrap().expose_secret(), "7/M+r?E':d[z:");
    assert_eq!(parts.path.as_deref(), Some("a/b"));
    let read: Vec<_> = parts
        .parameters
        .iter()
        .map(|p| (p.shown(), p.value.expose_secret()))
        .collect();
    assert_eq!(
        read,
        [("sslmode", "require"), ("options", "-c a=b"), ("x", "")]
    );
}

/// Each password holds something that ends it early for some reader.
#[test]
fn no_piece_of_a_password_is_in_an_error() {
    let passwords = [
        "hunter2/",
        "/hunter2",
        "hunter2/x=hunter2",
        "2024/hunter2!",
        "hunter2?",
        "?hunter2",
        "2024?hunter2=1&hunter2",
        "#hunter2",
        "hunter2#",
        "1#hunter2",
        "hunter2%",
        "hunter2%zz",
        "%hunter2",
        "%ff%fehunter2",
        "hunter2%00",
        "7M+r?E':hunter2",
        "/7M+r?E':hunter2",
        "hunter2\n",
        "hunter2/?#",
        "hunter2:1:/",
        "[hunter2/",
        "[::1]/hunter2",
        "1,2/hunter2",
        "\\hunter2/",
    ];
    for password in passwords {
        for url in [
            format!("x://app:{password}@127.0.0.1:5432/db"),
            format!("x://app:{password}@db/db?sslmode=require"),
            format!("x://{password}@db:1/db"),
            format!("x://{password}:secret@[::1]/db"),
            format!("x://db/app?password={password}&hunter2"),
        ] {
            if let Err(error) = read(&url) {
                let said = format!("{error} {error:?}");
                assert!(
                    !said.contains("hunter2") && !said.contains("2024"),
                    "{url}: {said}"
                );
                assert!(!error.remedy.is_empty(), "{url}");
            }
        }
        let url = format!("x://app:{password}@127.0.0.1:5432/db");
        assert!(read(&url).is_err(), "{url}");
    }
    for url in [
        "x://app:hunter2",
        "x://app:hunter2/db",
        "x://a:hunter2:b",
        "hunter2",
        "x:hunter2",
    ] {
        let error = read(url)
            .err()
            .unwrap_or_else(|| panic!("{url}"))
            .to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn what_may_be_a_login_is_not_taken_for_a_host() {
    for url in [
        "x://app:24/hunter2%40127.0.0.1/db",
        "x://app:24/hunter2%40h",
        "x://app:6432/hunter2%40h",
        "x://app/hunter2%40h",
        "x://app:24/hunter2",
        "x://first.last:2024/hunter2",
        "x://app:24?hunter2=1",
        "x://app:6432/hunter2/db",
        "x://app:6432/db?hunter2=x%40h",
    ] {
        let error = read(url)
            .err()
            .unwrap_or_else(|| panic!("{url} is read"))
            .to_string();
        assert!(
            error.contains("%2F") && !error.contains("hunter2") && !error.contains("24"),
            "{url}: {error}"
        );
    }
    for url in [
        "x://db",
        "x://db/app",
        "x://db:5432/app",
        "x://db:25",
        "x://127.0.0.1:1/app",
        "x://[::1]:1/app",
        "x://localhost:1/app",
        "x://db:1/app?user=a%40b",
        "x://u@db:1/app%40b",
        "x://u@db/a/b",
        "x://db//",
        "x://db/%2f",
        "x://db:5672/%2Fprod%2Fclerk",
        "x://u:p@db:1/%2Fprod%2Fclerk?user=x",
    ] {
        assert!(read(url).is_ok(), "{url}: {:?}", read(url).err());
    }
}

#[test]
fn unknown_parameters_are_ignored_if_they_demand_nothing() {
    let ignored =
        |query: &str| read(&format!("x://u@h/db?{query}")).unwrap().parameters[0].ignore();
    for query in [
        "search_path=a",
        "TimeZone=UTC",
        "statement_timeout=1",
        "channelMax=1",
        "x.y-z=",
    ] {
        assert_eq!(ignored(query), Ok(()), "{query}");
    }
    for query in [
        "sslfuture=hunter2",
        "SSLmode2=hunter2",
        "useSSL=hunter2",
        "tls=hunter2",
        "channel_binding_2=hunter2",
        "gssencmode2=hunter2",
        "krbsrvname2=hunter2",
        "require_auth2=hunter2",
    ] {
        let error = ignored(query).unwrap_err();
        let name = query.split('=').next().unwrap();
        assert!(
            error.fault.contains(name) && !error.to_string().contains("hunter2"),
            "{query}: {error}"
        );
    }
    for query in [
        "hunter'2=x",
        "hunter2%20=x",
        "hunter2[x]=x",
        &format!("hunter2{}=x", "x".repeat(40)),
    ] {
        let error = ignored(query).unwrap_err().to_string();
        assert!(
            error.contains("%2F") && !error.contains("hunter"),
            "{query}: {error}"
        );
    }
}

#[test]
fn the_name_of_a_parameter_is_shown_where_it_cannot_be_a_piece_of_a_password() {
    let shown = |url: &str| -> Vec<String> {
        read(url)
            .unwrap()
            .parameters
            .iter()
            .map(|parameter| parameter.shown().to_owned())
            .collect()
    };
    assert_eq!(shown("x://db/a?sslpassword=hunter2"), ["sslpassword"]);
    assert_eq!(
        shown("x://db/a?b=1&password=hun&ter2=x"),
        ["b", "password", "(not shown)"]
    );
    assert_eq!(shown("x://db/a?hunter'2=x"), ["(not shown)"]);
}

#[test]
fn an_example_has_the_port_of_its_server() {
    for (scheme, example) in [
        ("AMQP", "[::1]:5672"),
        ("amqps", "[::1]:5671"),
        ("postgres", "[::1]:5432"),
    ] {
        for place in ["::1:1", "[::1]1"] {
            let error = read(&format!("{scheme}://u:p@{place}/x")).err().unwrap();
            assert!(error.remedy.contains(example), "{scheme} {place}: {error}");
        }
    }
}

#[test]
fn each_wrong_part_has_words_of_its_own() {
    for (url, fault) in [
        ("db:5432/app", "has no ://"),
        ("x://u:p@db:http/app", "has a port"),
        ("x://u:p@db:0/app", "has a port"),
        ("x://u:p@db:65536/app", "has a port"),
        ("x://u:p@db:+1/app", "has a port"),
        ("x://u:p@::1:5432/app", "has more than one : in the host"),
        ("x://u:p@[::1/app", "has a [ before the host"),
        (
            "x://u:p@[db]/app",
            "has something else than an IPv6 address in brackets",
        ),
        ("x://u:p@[::1]5432/app", "has something between the ]"),
        ("x://u:p@d b/app", "has a character in its host"),
        (
            "x://u%zz:p@db/app",
            "has a % without two hexadecimal digits in its user",
        ),
        (
            "x://u:p%2@db/app",
            "has a % without two hexadecimal digits in its password",
        ),
        (
            "x://u:p@db/app%",
            "has a % without two hexadecimal digits in its path",
        ),
        (
            "x://u:p@db/app?x=%",
            "has a % without two hexadecimal digits in its value of a parameter",
        ),
        ("x://u:p@db/app?x", "has a parameter without ="),
        ("x://u:p@h1:1,[::2]:2,h3/app", "has several hosts"),
        ("x://u:p@db/app#x", "holds a #"),
        ("x://u:p/w@db/app", "holds an @ behind"),
    ] {
        let error = read(url).err().unwrap_or_else(|| panic!("{url} is read"));
        assert!(error.fault.starts_with(fault), "{url}: {error}");
    }
}

#[test]
fn what_is_encoded_is_decoded_to_the_same() {
    let text = "a /?#@%&=+:é\u{1f600}'\"";
    assert_eq!(decode(&encode(text), "user").unwrap(), text);
}
