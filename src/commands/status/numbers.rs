//! The numbers that `status` prints, as text. Pure.

use std::cmp::Reverse;
use std::time::Duration;

use super::super::output;
use crate::clerk::{Timestamp, tables};
use crate::format;
use crate::http::{ChangeFeedStatus, Refused};
use crate::store::{Failed, Lag, Totals};

/// The rows of each table that has some. Users are always there.
pub fn of_tables(totals: &Totals) -> Vec<(&'static str, String)> {
    let counted = tables::ALL.iter().filter_map(|table| {
        let of_table = totals.tables.get(table.name).copied().unwrap_or_default();
        let is_shown = of_table.rows > 0 || table.name == tables::users::TABLE.name;
        let text = format!(
            "{}, of these {} deleted",
            format::number(of_table.rows),
            format::number(of_table.deleted_rows)
        );
        is_shown.then_some((table.plural, text))
    });
    counted.collect()
}

/// The deliveries that were refused since the server started.
pub fn of_refused(refused: &Refused, now: Timestamp) -> String {
    let reasons = refused.by_reason.iter().map(|(reason, refusals)| {
        let ago = format::age(now.ms() - refusals.last_at.0.ms());
        format!(
            "{} {reason}, the last {ago}",
            format::number(refusals.count)
        )
    });
    let accepted = match refused.last_accepted_at {
        Some(time) => format!("accepted {}", format::age(now.ms() - time.0.ms())),
        None => "none accepted".into(),
    };
    let reasons: Vec<_> = reasons.collect();
    format!(
        "{}; {accepted}, since the server started {}",
        reasons.join("; "),
        format::age(now.ms() - refused.since.0.ms())
    )
}

/// The lag of the last hour.
pub fn of_lag(lag: &Lag) -> String {
    let of = |ms| format::duration(Duration::from_millis(ms));
    match (lag.p50_ms, lag.p95_ms) {
        (Some(p50_ms), Some(p95_ms)) => format!(
            "p95 {}, median {} ({} in the last hour)",
            of(p95_ms),
            of(p50_ms),
            format::count(lag.count, "event")
        ),
        _ => "no event in the last hour".into(),
    }
}

/// How far behind the published changes are, or which changes are kept.
pub fn of_change_feed(feed: &ChangeFeedStatus, now: Timestamp) -> String {
    let local = |time| output::local_and_age(time, now);
    if !feed.recording {
        return "off in the worker that started last: changes are not recorded".into();
    }
    if let Some((oldest, lag_ms)) = feed.behind() {
        let lag = format::ms(lag_ms);
        let oldest = local(oldest);
        return format!("{lag} behind; the oldest change that is not published is from {oldest}");
    }
    let is_published = feed.lag_ms.is_some();
    let published = if is_published { "all published; " } else { "" };
    match (feed.newest_at, feed.oldest_kept_at) {
        (Some(newest), Some(oldest)) => {
            let age = format::age(now.ms() - oldest.0.ms());
            format!(
                "{published}the newest change is from {}, the oldest kept from {age}",
                local(newest)
            )
        }
        _ => format!("{published}no change is kept"),
    }
}

/// The failed events by code, and since when the oldest waits.
pub fn of_failed(failed: &Failed, now: Timestamp) -> String {
    let mut codes: Vec<_> = failed.by_code.iter().collect();
    codes.sort_by_key(|(_, count)| Reverse(**count));
    let codes: Vec<_> = codes
        .iter()
        .map(|(code, count)| format!("{} {code}", format::number(**count)))
        .collect();
    let Some(oldest) = failed.oldest_received_at else {
        return "none".into();
    };
    let more = if failed.capped { " and more" } else { "" };
    format!(
        "{}{more}: {}; the oldest from {}",
        format::number(failed.count),
        codes.join(", "),
        output::local_and_age(oldest, now)
    )
}
