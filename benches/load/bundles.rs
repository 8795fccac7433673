//! What it gives to put several events into one message: the same work with `AMQP_BUNDLES=off` and
//! with `on`, turn and turn about.

use crate::bench::Bench;
use crate::own;

const SIDES: [(&str, &str); 2] = [("off", "bundles.off"), ("on", "bundles.on")];

/// A receiver at full load makes a backlog, and a worker drains it; then the highest rate that
/// holds.
pub async fn bundles(bench: &mut Bench) -> anyhow::Result<()> {
    let usual = bench.place.clone();
    for (value, name) in bench.in_turn(SIDES.to_vec()) {
        bench.place = usual.with("AMQP_BUNDLES", value);
        bench.database.forget_events().await?;
        bench.database.settle().await?;
        let program = bench.place.start("receiver", Some(&bench.database)).await?;
        let accepted = own::accept_of(bench, &format!("{name}.accept"), program).await?;
        let database = bench.database.clone();
        own::drain_waiting(bench, &format!("{name}.drain"), &database, accepted).await?;
    }
    for (value, name) in bench.in_turn(SIDES.to_vec()) {
        bench.place = usual.with("AMQP_BUNDLES", value);
        bench.database.settle().await?;
        let program = bench.place.start("serve", Some(&bench.database)).await?;
        own::rate_of(bench, &format!("{name}.sustained"), &program).await?;
        program.stop().await?;
    }
    bench.place = usual;
    Ok(())
}
