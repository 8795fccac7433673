//! The same work with TLS to PostgreSQL and without, turn and turn about: what an operator's
//! default, `sslmode=prefer`, costs.

use std::time::Duration;

use sqlx::postgres::PgSslMode;

use crate::bench::Bench;
use crate::commits::Sight;
use crate::own;

/// Events a second.
const RATE: f64 = 1000.0;

const WARM_UP: Duration = Duration::from_secs(2);

/// From due to committed at a fixed rate, and a backlog drained.
pub async fn tls(bench: &mut Bench) -> anyhow::Result<()> {
    let has_tls: String = sqlx::query_scalar("show ssl")
        .fetch_one(&bench.database.pool)
        .await?;
    if has_tls != "on" {
        eprintln!("  left out: PostgreSQL has no TLS here (ssl = on, with a certificate)");
        return Ok(());
    }
    for (name, mode) in [("tls", PgSslMode::Prefer), ("clear", PgSslMode::Disable)] {
        let database = bench.database.over(mode);
        bench.database.settle().await?;
        let program = bench.place.start("serve", Some(&database)).await?;
        bench.offer(&program, RATE, WARM_UP, Sight::Fine).await?;
        let offered = bench
            .offer(&program, RATE, bench.scale.latency, Sight::Fine)
            .await?;
        bench
            .figures
            .add(format!("{name}.1000.commit_p50_ms"), offered.lag.ms(50.0));
        bench
            .figures
            .add(format!("{name}.1000.commit_p99_ms"), offered.lag.ms(99.0));
        program.stop().await?;
        bench.database.forget_events().await?;
        bench.database.settle().await?;
        let crowd = std::sync::Arc::clone(&bench.crowd);
        own::drain_of(bench, &format!("{name}.drain"), Some(&database), &crowd).await?;
    }
    Ok(())
}
