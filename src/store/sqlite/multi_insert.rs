//! Statements of several rows at once: each statement is a turn of two threads, and each row in one
//! of its own costs more than SQLite takes for it.

use std::sync::Arc;

/// Rows in one statement: few numbers, so that every text stays prepared.
const ROWS: [usize; 3] = [32, 8, 1];

/// One statement, for each number of rows that it is made for.
pub struct Rows([Arc<str>; ROWS.len()]);

impl Rows {
    /// `<rows>` in the template stands for as many rows of `columns` parameters as are written at
    /// once.
    pub fn of(template: &str, columns: usize) -> Self {
        let row = format!("({})", vec!["?"; columns].join(", "));
        Self(ROWS.map(|rows| {
            template
                .replace("<rows>", &vec![&*row; rows].join(",\n"))
                .into()
        }))
    }

    /// These values in parts, each with the statement for so many.
    pub fn parts<'a, T>(&self, values: &'a [T]) -> impl Iterator<Item = (Arc<str>, &'a [T])> {
        let mut rest = values;
        std::iter::from_fn(move || {
            let fits = |rows: &usize| *rows <= rest.len();
            let place = ROWS.iter().position(fits)?;
            let (part, later) = rest.split_at(ROWS[place]);
            rest = later;
            Some((Arc::clone(&self.0[place]), part))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_in_as_few_parts_as_there_are_statements_for() {
        let rows = Rows::of("insert into t values <rows> returning a", 2);
        let values: Vec<_> = (0..50).collect();
        let parts: Vec<_> = rows
            .parts(&values)
            .map(|(statement, part)| (statement.matches('?').count(), part))
            .collect();
        let sizes: Vec<_> = parts
            .iter()
            .map(|(parameters, part)| (*parameters, part.len()))
            .collect();
        assert_eq!(sizes, [(64, 32), (16, 8), (16, 8), (2, 1), (2, 1)]);
        assert_eq!(
            parts
                .into_iter()
                .flat_map(|(_, part)| part.to_vec())
                .collect::<Vec<_>>(),
            values
        );
        assert_eq!(&*rows.0[2], "insert into t values (?, ?) returning a");
        assert_eq!(rows.parts::<i64>(&[]).count(), 0);
    }
}
