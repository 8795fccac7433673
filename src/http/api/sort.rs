//! The parameter `sort` of lists: the orders that an index serves.

use super::invalid::wrong;
use crate::http::problem::Problem;
use crate::store::{Cursor, Page, Sort, UserFilter};

/// Reads the order of a list by one of these columns. Without the parameter it is that of the
/// cursor, if there is one.
///
/// # Errors
///
/// If no index has the order, or the cursor is of another one.
pub fn read(
    value: Option<&str>,
    page: &Page,
    columns: &[&'static str],
    usual: Sort,
) -> Result<Sort, Problem> {
    let of_cursor = page.after.as_ref().and_then(Cursor::sort);
    let Some(name) = value else {
        return Ok(of_cursor.unwrap_or(usual));
    };
    let sort = Sort::named(name, columns).ok_or_else(|| {
        let names = Sort::names(columns).join(", ");
        wrong("sort", &format!("an index has these orders: {names}"))
    })?;
    match of_cursor {
        Some(other) if other != sort => {
            let remedy = format!(
                "it is of a list with sort={other}: leave `sort` out, or begin without a cursor"
            );
            Err(wrong("cursor", &remedy))
        }
        _ => Ok(sort),
    }
}

/// Checks that the filter goes with the order.
///
/// # Errors
///
/// If the filter has an index with another order.
pub fn check(sort: Sort, filter: &UserFilter) -> Result<(), Problem> {
    if filter.has_index_for(sort) {
        return Ok(());
    }
    let remedy = "with q the order is -clerk_id, with deleted=true it is clerk_id or -clerk_id";
    Err(wrong("sort", remedy))
}
