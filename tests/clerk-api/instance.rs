//! The fake of Clerk's instances that the tests use, as a program: for scripts/check-clerk-api.
//!
//! Prints its address and its key in one line. Reads one order per line: `delete ID`,
//! `organizations off`, `print requests`. Stops when standard input is closed.

#![allow(
    clippy::unwrap_used,
    reason = "a judge that panics has failed, and says where"
)]
#![allow(clippy::print_stdout, reason = "the script reads its address")]

#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../it/support"]
mod support {
    pub mod clerk_instance;
    pub mod clerk_lists;
    pub mod clerk_objects;
    pub mod history;
}

use std::io::BufRead;

use support::clerk_instance::{Accounts, ClerkInstance};

/// Objects on a page, so that every list has several.
const PAGE_MAX: usize = 3;

#[tokio::main]
async fn main() {
    let clerk = ClerkInstance::with_users(PAGE_MAX, 7).await;
    clerk.change(fill);
    let [(_, key), (_, url)] = clerk.variables();
    println!("{} {key}", url.trim_end_matches("/v1"));
    for order in std::io::stdin().lock().lines() {
        match order.unwrap().split_once(' ').unwrap() {
            ("delete", id) => clerk.change(|accounts| accounts.delete(id)),
            ("organizations", "off") => {
                clerk.change(|accounts| accounts.is_without_organizations = true);
            }
            ("print", "requests") => {
                let targets = clerk.take_targets();
                targets.iter().for_each(|target| println!("GET {target}"));
            }
            other => panic!("no such order: {other:?}"),
        }
        println!("done");
    }
}

fn fill(accounts: &mut Accounts) {
    for number in 0..5 {
        let organization = format!("org_{number}");
        accounts.found(&organization, number);
        for user in 0..number {
            let ids = (format!("orgmem_{number}_{user}"), format!("user_0{user}"));
            accounts.join(&ids.0, &organization, &ids.1, 10 * number + user);
        }
        accounts.invite(&format!("orginv_{number}"), &organization, number);
        accounts.add_domain(&format!("orgdmn_{number}"), &organization, number);
    }
}
