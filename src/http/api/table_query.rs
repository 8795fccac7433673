//! The parameters of lists of rows, made from the list of the table's columns. Pure.
//!
//! Users have a list of their own: see `filters.rs`.

use super::fields::{Fields, Rows};
use super::filters::{ids, page, which};
use super::query_string::read_parameters;
use crate::clerk::{ClerkId, Column, Table};
use crate::http::problem::Problem;
use crate::store::{Page, TableFilter};

/// A parameter, and what it means.
pub struct Parameter {
    pub name: &'static str,
    pub description: String,
}

/// The row whose list it is: the column that names it, and its ID.
pub type Parent<'a> = (&'static Column, &'a str);

/// The parameters of a list; of that of a row, without the column that names the row.
pub fn parameters(table: &Table, parent: Option<&Column>) -> Vec<Parameter> {
    let of = |name, description: String| Parameter { name, description };
    let plural = table.plural;
    let which = "only these, only the others, or all";
    let mut all = Vec::new();
    let searched: Vec<_> = table.searched().map(|column| column.name).collect();
    if !searched.is_empty() {
        all.push(of("q", format!(
            "The beginning of a Clerk ID or of `{}`. Case counts in IDs alone. A + is a plus; write a space as %20",
            searched.join("`, `")
        )));
    }
    for column in table.filtered() {
        if parent.is_some_and(|parent| parent.name == column.name) {
            continue;
        }
        let case = if column.is_folded {
            "; case does not count. A + is a plus"
        } else {
            ""
        };
        let meaning = column.description.trim_end_matches('.');
        all.push(of(column.name, format!("{meaning}{case}")));
    }
    if let Some(column) = table.expiry() {
        let name = column.name;
        all.push(of(
            "expired",
            format!("Expired {plural}, by `{name}`: {which}"),
        ));
    }
    all.push(of("deleted", format!("Deleted {plural}: {which}")));
    all.extend([
        of(
            "ids",
            "Clerk IDs, separated by commas: up to 100. Those without a row are left out".into(),
        ),
        of(
            "fields",
            "Names of fields, separated by commas: only these; without it, all but `data`".into(),
        ),
        of("limit", "Most rows of a page".into()),
        of("cursor", "`next` of the page before".into()),
    ]);
    all
}

/// The filter, the page and the fields of a list.
///
/// # Errors
///
/// If a parameter is unknown or has a wrong value; names it, and what would be right.
pub fn list(
    table: &'static Table,
    parent: Option<Parent<'_>>,
    query: &str,
) -> Result<(TableFilter, Page, Fields), Problem> {
    let known = parameters(table, parent.map(|(column, _)| column));
    let known: Vec<_> = known.iter().map(|parameter| parameter.name).collect();
    // No other parameter has a plus or a space.
    read_parameters(query, &known, &known, |parameters| {
        let value = |name: &str| parameters.get(name).cloned();
        let mut values: Vec<_> = table
            .filtered()
            .filter_map(|column| Some((column, value(column.name)?)))
            .collect();
        values.extend(parent.map(|(column, id)| (column, id.to_owned())));
        let filter = TableFilter {
            values,
            q: value("q"),
            ids: ids(value("ids"), |id| ClerkId::new(id).map(|id| id.to_string()))?,
            deleted: which("deleted", value("deleted").as_deref())?,
            expired: which("expired", value("expired").as_deref())?,
        };
        let page = page(value("limit"), value("cursor"), |cursor| {
            cursor.is_of(table)
        })?;
        let fields = Fields::read(Rows::List(table), value("fields"))?;
        Ok((filter, page, fields))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clerk::tables;

    #[test]
    fn every_filtered_column_is_a_parameter_of_its_table() {
        for table in tables::ALL {
            for column in table.filtered() {
                let query = format!("{}=a+b%20c&deleted=false", column.name);
                let (filter, ..) = list(table, None, &query).unwrap();
                let [(of, value)] = &filter.values[..] else {
                    panic!("one value")
                };
                assert_eq!((of.name, &**value), (column.name, "a+b c"));
                assert_eq!(filter.deleted, Some(false));
                let of_row = list(table, Some((column, "x")), &query).unwrap_err();
                assert!(of_row.detail().starts_with("a parameter is unknown"));
            }
        }
    }

    #[test]
    fn a_list_knows_its_own_parameters_alone() {
        let memberships = &tables::organization_memberships::TABLE;
        for query in [
            "q=org",
            "expired=false",
            "status=pending",
            "sort=clerk_id",
            "deleted=maybe",
            "cursor=u.user_1",
            "cursor=r.organizations.org_1",
            "fields=email",
            "limit=0",
            "role=a%00b",
        ] {
            assert!(list(memberships, None, query).is_err(), "{query}");
        }
        let query = "cursor=r.organization_memberships.orgmem_1&fields=role,data&ids=orgmem_1";
        let (filter, page, fields) = list(memberships, None, query).unwrap();
        assert!(page.after.is_some() && filter.ids.is_some());
        assert!(fields.has("role") && !fields.has("user_id"));
        let invitations = &tables::organization_invitations::TABLE;
        let (filter, ..) = list(invitations, None, "status=pending&expired=false").unwrap();
        assert_eq!(filter.expired, Some(false));
    }
}
