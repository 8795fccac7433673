//! The migrations are embedded when the program is built: a new one must cause a new build.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
