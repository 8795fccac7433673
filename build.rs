//! Lists the migrations, so that the program embeds them. sqlx's macro does the same, and needs
//! half of sqlx to be built a second time, for the compiler.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=migrations");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("Cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets it"));
    for database in ["postgres", "sqlite"] {
        let list = list(&root.join("migrations").join(database));
        fs::write(out.join(format!("{database}_migrations.rs")), list).expect("OUT_DIR is ours");
    }
}

/// The files `VERSION_DESCRIPTION.sql` of a folder as an array of version, description and text.
fn list(folder: &Path) -> String {
    let entries = fs::read_dir(folder).expect("a folder of migrations");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        // Editors and systems leave other files.
        .filter(|path| path.extension().is_some_and(|ending| ending == "sql"))
        .collect();
    paths.sort();
    let items = paths.iter().map(|path| {
        let name = path.file_stem().expect("a name").to_string_lossy();
        let (version, description) = name.split_once('_').expect("VERSION_DESCRIPTION.sql");
        let version: i64 = version.parse().expect("a version");
        let description = description.replace('_', " ");
        format!("({version}, {description:?}, include_str!({path:?})),\n")
    });
    format!("[{}]", items.collect::<String>())
}
