//! Paths of the embedded files: `DATA_DIR`, and a `DATABASE_URL` that names a SQLite file. Pure.
//!
//! What shells and other programs read in a special way is read in the same way or refused: never
//! taken for a name.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

/// What is wrong, and what would be right.
pub type Wrong = (&'static str, &'static str);

const EXAMPLE: &str =
    "give a file such as sqlite://./data/users.db or sqlite:///var/lib/clerk-sync/users.db";

/// A path as people type it: `~` is the home directory.
pub fn typed(text: &str, home: Option<&Path>) -> Result<PathBuf, Wrong> {
    if text.is_empty() {
        return Err(("is empty", "give a directory, or leave it out"));
    }
    if text.starts_with('$') || text.starts_with('%') {
        return Err((
            "begins with a variable, and none is substituted",
            "write the path itself",
        ));
    }
    if text.starts_with("file:") || text.contains("://") {
        return Err(("is a URL", "give a path such as ./data"));
    }
    let Some(rest) = text.strip_prefix('~') else {
        return Ok(text.into());
    };
    let rest = match rest.strip_prefix('/') {
        Some(rest) => rest.trim_start_matches('/'),
        None if rest.is_empty() => "",
        None => return Err(("begins with ~ and a name", "write the path itself")),
    };
    home.map(|home| home.join(rest)).ok_or((
        "begins with ~, and HOME is not set",
        "write the path itself",
    ))
}

/// The file that a URL names; `None` if the URL is not one of SQLite's.
pub fn of_sqlite_url(url: &str, home: Option<&Path>) -> Option<Result<PathBuf, Wrong>> {
    let (scheme, rest) = url.split_once(':')?;
    match scheme.to_ascii_lowercase().as_str() {
        "sqlite" => Some(of_sqlite(rest.strip_prefix("//").unwrap_or(rest), home)),
        // Prisma's form for the application's own database, which has a users table of its own.
        "file" => Some(Err((
            "begins with file:",
            "write sqlite:// and the path of a file for clerk-sync alone",
        ))),
        "sqlite3" => Some(Err((
            "begins with sqlite3:",
            "write sqlite:// and the path of the file",
        ))),
        _ => None,
    }
}

fn of_sqlite(rest: &str, home: Option<&Path>) -> Result<PathBuf, Wrong> {
    const IN_MEMORY: Wrong = (
        "names a database in memory, which would be lost at the end of the process",
        EXAMPLE,
    );
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=').unwrap_or((parameter, "")) {
            // The program creates the file, and no other program does.
            ("mode", "rw" | "rwc") | ("cache", "private") => {}
            ("mode", "memory") => return Err(IN_MEMORY),
            ("mode", _) => return Err(("has a mode that does not write", "leave ?mode= out")),
            _ => {
                return Err((
                    "has a parameter that is not known for a SQLite file",
                    "leave out ? and all behind it, or write a ? of the path as %3F",
                ));
            }
        }
    }
    if path.contains('#') {
        return Err(("has a #", "write a # of the path as %23"));
    }
    if path.contains(":memory:") {
        return Err(IN_MEMORY);
    }
    if path.starts_with("file:") {
        return Err(("begins with sqlite: and file:", EXAMPLE));
    }
    if path
        .split('/')
        .next()
        .is_some_and(|first| first.contains(['@', ':']) || first == "localhost")
    {
        return Err((
            "names a host or a user, which a file does not have",
            EXAMPLE,
        ));
    }
    let digits = |part: &str| part.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !path.split('%').skip(1).all(digits) {
        return Err((
            "has a % that is not followed by two digits",
            "write a % of the path as %25",
        ));
    }
    // Before decoding: a ~ or a $ that is written with % is one of the name.
    let special = matches!(path.chars().next(), Some('~' | '$'));
    let decoded = percent_decode_str(path)
        .decode_utf8()
        .map_err(|_| ("is not UTF-8 behind its %", EXAMPLE))?;
    if decoded.contains('\0') {
        return Err(("has a NUL character", EXAMPLE));
    }
    let path = if special {
        typed(&decoded, home)?
    } else {
        PathBuf::from(&*decoded)
    };
    if path.file_name().is_none() || decoded.ends_with('/') {
        return Err(("names no file", EXAMPLE));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(url: &str) -> Result<PathBuf, Wrong> {
        of_sqlite_url(url, Some(Path::new("/home/ada"))).unwrap()
    }

    #[test]
    fn every_form_of_a_sqlite_url_is_read() {
        for (url, path) in [
            ("sqlite://users.db", "users.db"),
            ("sqlite:users.db", "users.db"),
            ("SQLite://./data/users.db", "./data/users.db"),
            ("sqlite:///srv/users.db", "/srv/users.db"),
            ("sqlite:/srv/users.db", "/srv/users.db"),
            ("sqlite:////srv/users.db", "//srv/users.db"),
            ("sqlite://users.db?mode=rwc", "users.db"),
            ("sqlite://users.db?cache=private&mode=rw", "users.db"),
            ("sqlite://users.db?", "users.db"),
            ("sqlite://~/users.db", "/home/ada/users.db"),
            ("sqlite:~/a/users.db", "/home/ada/a/users.db"),
            ("sqlite://my%20users%3F%23%25.db", "my users?#%.db"),
            ("sqlite://%7E/users.db", "~/users.db"),
            ("sqlite://a/b:c@d.db", "a/b:c@d.db"),
        ] {
            assert_eq!(file(url), Ok(path.into()), "{url}");
        }
        for other in ["postgres://h/d", "mysql://h/d", "users.db", ""] {
            assert_eq!(of_sqlite_url(other, None), None, "{other}");
        }
    }

    #[test]
    fn what_would_be_taken_for_a_name_is_refused() {
        for (url, what) in [
            ("sqlite::memory:", "memory"),
            ("sqlite://:memory:", "memory"),
            ("sqlite:///:memory:", "memory"),
            ("sqlite://file::memory:?cache=shared", "parameter"),
            ("sqlite://users.db?mode=memory", "memory"),
            ("sqlite://?mode=memory", "memory"),
            ("sqlite://users.db?mode=ro", "mode"),
            ("sqlite://users.db?immutable=1", "parameter"),
            ("sqlite:file:users.db", "file:"),
            ("file:./dev.db", "file:"),
            ("file:///srv/dev.db", "file:"),
            ("sqlite3:///srv/users.db", "sqlite3:"),
            ("sqlite://users.db#1", "#"),
            ("sqlite://u:hunter2@h/users.db", "host"),
            ("sqlite://localhost/users.db", "host"),
            ("sqlite://100%.db", "%"),
            ("sqlite://a%2.db", "%"),
            ("sqlite://a%00.db", "NUL"),
            ("sqlite://%ff.db", "UTF-8"),
            ("sqlite://~bob/users.db", "~"),
            ("sqlite://$HOME/users.db", "variable"),
            ("sqlite://", "no file"),
            ("sqlite:", "no file"),
            ("sqlite:///", "no file"),
            ("sqlite://data/", "no file"),
            ("sqlite://..", "no file"),
        ] {
            let (fault, remedy) = file(url).unwrap_err();
            assert!(fault.contains(what), "{url}: {fault}");
            assert!(!fault.contains("hunter2") && !remedy.is_empty(), "{fault}");
        }
    }

    #[test]
    fn a_directory_is_read_as_a_shell_reads_it() {
        let typed = |text| typed(text, Some(Path::new("/home/ada")));
        for (text, path) in [
            ("./data", "./data"),
            ("~/data", "/home/ada/data"),
            ("~", "/home/ada"),
            ("a~", "a~"),
        ] {
            assert_eq!(typed(text), Ok(path.into()), "{text}");
        }
        for text in [
            "",
            "~bob/data",
            "$HOME/data",
            "%APPDATA%/x",
            "file:///data",
            "sqlite://data",
        ] {
            assert!(typed(text).is_err(), "{text}");
        }
        assert!(super::typed("~/data", None).unwrap_err().0.contains("HOME"));
    }
}
