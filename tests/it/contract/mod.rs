//! One suite per seam: the same tests for both arms, on real servers.

mod audit;
mod change_readers;
mod changes;
mod columns;
mod control;
mod erasure;
mod erasure_of_others;
mod gauges;
mod memberships;
mod plans;
mod postgres;
mod postgres_changes;
mod postgres_connections;
mod postgres_missing_rows;
mod postgres_waiting;
mod questions;
mod queue;
mod rabbitmq;
mod rabbitmq_changes;
mod rabbitmq_connection;
mod rabbitmq_consume;
mod rabbitmq_poison;
mod sorts;
mod sqlite;
mod store;
mod table_lists;
mod tables;
mod waiting;

/// Makes of each `async fn name(place: Place)` here a test for each arm: no arm can be forgotten.
macro_rules! both_arms {
    ($first:ident: $make_first:expr, $second:ident: $make_second:expr; $($name:ident)*) => {
        mod $first {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name($make_first).await;
            })*
        }
        mod $second {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name($make_second).await;
            })*
        }
    };
}
use both_arms;
