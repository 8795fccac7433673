//! The migrations are embedded when the program is built: a new file among them must build it anew.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
