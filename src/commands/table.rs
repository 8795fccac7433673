//! Tables for people. On a terminal a row is one line: what does not fit is shortened, or its
//! column is left out, the least important one first. What one copies, such as an ID, stays whole.

use comfy_table::{Attribute, Color, ColumnConstraint, ContentArrangement, Row, Width, presets};

use super::terminal::{has_color, width};
use crate::escape::visible;
use crate::store::Status;

/// Space around a cell, in characters.
const PADDING: u16 = 2;

/// A cell that may be shortened is no reason to leave out a column if it has more characters.
const COMFORTABLE: u16 = 40;

/// A cell without a value.
const NO_VALUE: &str = "-";

/// What ends a cell that was shortened.
const SHORTENED: &str = "…";

/// A column, and what happens to it on a narrow terminal.
#[derive(Debug, Clone, Copy)]
pub struct Column<'n> {
    name: &'n str,
    /// Least width; `None` if it is never shortened.
    least: Option<u16>,
    leave: Leave,
    /// Whether it is shortened at its beginning.
    keeps_end: bool,
}

/// When a column is left out. A lower number is left out first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Leave {
    /// Before any other is shortened.
    Early(u8),
    /// If the others do not fit shortened.
    Late(u8),
    Never,
}

impl<'n> Column<'n> {
    /// A column that is always there, and whole.
    pub const fn new(name: &'n str) -> Self {
        Self {
            name,
            least: None,
            leave: Leave::Never,
            keeps_end: false,
        }
    }

    /// The same, shortened at its beginning: the end of a cell says more.
    pub const fn keeping_end(self) -> Self {
        Self {
            keeps_end: true,
            ..self
        }
    }

    /// The same, shortened to this width where there is no room for more.
    pub const fn at_least(self, least: u16) -> Self {
        Self {
            least: Some(least),
            ..self
        }
    }

    /// The same, left out as the `order`th, before any column is shortened.
    pub const fn first_out(self, order: u8) -> Self {
        Self {
            leave: Leave::Early(order),
            ..self
        }
    }

    /// The same, left out if shortening the others is not enough.
    pub const fn last_out(self, order: u8) -> Self {
        Self {
            leave: Leave::Late(order),
            ..self
        }
    }

    fn least(&self, whole: u16) -> u16 {
        self.least.map_or(whole, |least| least.min(whole))
    }
}

/// A cell of a table.
pub struct Cell {
    text: String,
    status: Option<Status>,
}

impl Cell {
    /// A plain text.
    pub fn new(text: impl ToString) -> Self {
        Self {
            text: text.to_string(),
            status: None,
        }
    }

    /// A status, in its color.
    pub fn of_status(status: Status, text: impl ToString) -> Self {
        Self {
            status: Some(status),
            ..Self::new(text)
        }
    }

    fn shown(&self) -> comfy_table::Cell {
        self.toned(visible(&self.text).into_owned())
    }

    /// Its end, of this width.
    fn end_of(&self, width: u16) -> comfy_table::Cell {
        let text = visible(&self.text);
        let left_out = text.chars().count().saturating_sub(usize::from(width));
        if left_out == 0 {
            return self.shown();
        }
        let end = text.chars().skip(left_out + SHORTENED.chars().count());
        self.toned(SHORTENED.chars().chain(end).collect())
    }

    fn toned(&self, text: String) -> comfy_table::Cell {
        match self.status {
            Some(status) => toned(text, |cell| match status {
                Status::Applied => cell.fg(Color::Green),
                Status::Failed => cell.fg(Color::Red),
                Status::Stale | Status::Discarded => cell.fg(Color::DarkGrey),
            }),
            None => comfy_table::Cell::new(text),
        }
    }
}

/// A table as it is printed.
pub struct Table {
    /// The header and the rows, a line each.
    pub text: String,
    /// Whether nothing was shortened or left out.
    pub is_whole: bool,
}

/// A table as wide as the terminal. With `wide`, or where the output goes elsewhere, nothing is
/// shortened or left out.
pub fn of_columns(
    columns: &[Column],
    rows: impl IntoIterator<Item = Vec<Cell>>,
    wide: bool,
) -> Table {
    let rows: Vec<_> = rows.into_iter().collect();
    laid_out(columns, &rows, width().filter(|_| !wide))
}

/// A table with these names at the top. Each column may be shortened, the widest first.
pub fn of_rows(header: &[&'static str], rows: impl IntoIterator<Item = Vec<Cell>>) -> String {
    let columns: Vec<_> = header
        .iter()
        .map(|name| Column::new(name).at_least(12))
        .collect();
    of_columns(&columns, rows, false).text
}

fn laid_out(columns: &[Column], rows: &[Vec<Cell>], room: Option<u16>) -> Table {
    let mut table = filled(columns, rows, |_, cell| cell.shown());
    let whole = table.column_max_content_widths();
    let is_empty = |at: usize| {
        rows.iter()
            .all(|row| row.get(at).is_none_or(|cell| cell.text == NO_VALUE))
    };
    let widths = match room {
        Some(room) => widths(columns, &whole, room, is_empty),
        None => whole.iter().copied().map(Some).collect(),
    };
    if columns.iter().any(|column| column.keeps_end) {
        table = filled(columns, rows, |at, cell| match widths[at] {
            Some(width) if columns[at].keeps_end => cell.end_of(width),
            _ => cell.shown(),
        });
    }
    for (column, width) in table.column_iter_mut().zip(&widths) {
        // No text has it: a cell is cut anywhere, and not only between words.
        column.set_delimiter('\0');
        column.set_constraint(match width {
            Some(width) => ColumnConstraint::Absolute(Width::Fixed(width + PADDING)),
            None => ColumnConstraint::Hidden,
        });
    }
    let lines = table.lines().map(|line| format!("{}\n", line.trim_end()));
    Table {
        text: lines.collect(),
        is_whole: widths
            .iter()
            .zip(&whole)
            .all(|(width, whole)| *width == Some(*whole)),
    }
}

fn filled(
    columns: &[Column],
    rows: &[Vec<Cell>],
    shown: impl Fn(usize, &Cell) -> comfy_table::Cell,
) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_truncation_indicator(SHORTENED);
    let bold = |column: &Column| toned(column.name, |cell| cell.add_attribute(Attribute::Bold));
    table.set_header(columns.iter().map(bold));
    for row in rows {
        let cells = row.iter().enumerate();
        let mut row = Row::from(cells.map(|(at, cell)| shown(at, cell)));
        row.max_height(1);
        table.add_row(row);
    }
    table
}

/// The width of each column; `None` for one that is left out.
fn widths(
    columns: &[Column],
    whole: &[u16],
    room: u16,
    is_empty: impl Fn(usize) -> bool,
) -> Vec<Option<u16>> {
    let mut widths: Vec<_> = whole.iter().copied().map(Some).collect();
    let needed = |widths: &[Option<u16>], width: &dyn Fn(usize, u16) -> u16| {
        let of_one = |(at, whole): (usize, &Option<u16>)| {
            whole.map_or(0, |whole| u32::from(width(at, whole)) + u32::from(PADDING))
        };
        widths.iter().enumerate().map(of_one).sum::<u32>()
    };
    let comfortable = |at: usize, whole: u16| match columns[at].least {
        Some(_) => whole.min(COMFORTABLE),
        None => whole,
    };
    let least = |at: usize, whole: u16| columns[at].least(whole);
    let room = u32::from(room);
    let next_out = |widths: &[Option<u16>], may: &dyn Fn(usize, Leave) -> bool| {
        let there = (0..columns.len()).filter(|at| widths[*at].is_some());
        there
            .filter(|at| columns[*at].leave != Leave::Never && may(*at, columns[*at].leave))
            .min_by_key(|at| columns[*at].leave)
    };
    // Columns without a value first.
    while needed(&widths, &comfortable) > room
        && let Some(at) = next_out(&widths, &|at, _| is_empty(at))
            .or_else(|| next_out(&widths, &|_, leave| matches!(leave, Leave::Early(_))))
    {
        widths[at] = None;
    }
    while needed(&widths, &least) > room
        && let Some(at) = next_out(&widths, &|_, _| true)
    {
        widths[at] = None;
    }
    let as_it_is = |_: usize, width: u16| width;
    while needed(&widths, &as_it_is) > room {
        let can_be = |at: &usize| widths[*at].is_some_and(|width| width > least(*at, width));
        let Some(widest) = (0..columns.len())
            .filter(can_be)
            .max_by_key(|at| widths[*at])
        else {
            break;
        };
        widths[widest] = widths[widest].map(|width| width - 1);
    }
    widths
}

fn toned(
    text: impl ToString,
    tone: impl FnOnce(comfy_table::Cell) -> comfy_table::Cell,
) -> comfy_table::Cell {
    let cell = comfy_table::Cell::new(text);
    if has_color() { tone(cell) } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 5] = [
        Column::new("UPDATED").first_out(1),
        Column::new("ID"),
        Column::new("AGE").last_out(1),
        Column::new("DELETED").last_out(2),
        Column::new("NAME").at_least(6),
    ];

    fn shown(room: Option<u16>, name: &str, deleted: &str) -> String {
        let row = ["2026-11-29", "msg_3MXmBdXu", "5 min", deleted, name].map(Cell::new);
        let text = laid_out(&COLUMNS, &[row.into()], room).text;
        text.lines().nth(1).unwrap().into()
    }

    #[test]
    fn what_matters_least_is_left_out_first_and_then_the_rest_is_shortened() {
        for (room, expected) in [
            (
                None,
                " 2026-11-29  msg_3MXmBdXu  5 min  1 day    Ada Lovelace",
            ),
            (
                Some(80),
                " 2026-11-29  msg_3MXmBdXu  5 min  1 day    Ada Lovelace",
            ),
            (Some(50), " msg_3MXmBdXu  5 min  1 day    Ada Lovelace"),
            (Some(40), " msg_3MXmBdXu  5 min  1 day    Ada Lov…"),
            (Some(36), " msg_3MXmBdXu  1 day    Ada Lovela…"),
            (Some(25), " msg_3MXmBdXu  Ada Love…"),
            (Some(10), " msg_3MXmBdXu  Ada L…"),
        ] {
            assert_eq!(shown(room, "Ada Lovelace", "1 day"), expected, "{room:?}");
        }
    }

    #[test]
    fn a_column_without_a_value_is_left_out_before_the_others() {
        assert_eq!(
            shown(Some(47), "Ada Lovelace", "-"),
            " 2026-11-29  msg_3MXmBdXu  5 min  Ada Lovelace"
        );
    }

    #[test]
    fn a_cell_whose_end_says_more_is_shortened_at_its_beginning() {
        let columns = [
            Column::new("ID"),
            Column::new("TYPE").at_least(8).keeping_end(),
        ];
        let row = ["msg_1", "organizationMembership.deleted"].map(Cell::new);
        let short = ["msg_2", "user.created"].map(Cell::new);
        let text = laid_out(&columns, &[row.into(), short.into()], Some(25)).text;
        let lines: Vec<_> = text.lines().skip(1).collect();
        assert_eq!(lines, [" msg_1  …bership.deleted", " msg_2  user.created"]);
    }

    #[test]
    fn one_long_cell_takes_no_other_column_away() {
        let shown = shown(Some(90), &"Ada ".repeat(100), "1 day");
        assert!(shown.starts_with(" 2026-11-29  msg_3MXmBdXu  5 min  1 day"));
        assert!(
            shown.ends_with('…') && shown.chars().count() <= 90,
            "{shown}"
        );
    }

    #[test]
    fn what_came_from_outside_is_shown_by_number() {
        let rows = [vec![
            Cell::new("msg_1"),
            Cell::of_status(Status::Failed, "x\n\u{1b}[2Jy"),
        ]];
        let columns = ["ID", "STATUS"].map(Column::new);
        let table = laid_out(&columns, &rows, None);
        assert_eq!(table.text, " ID     STATUS\n msg_1  x\\u000a\\u001b[2Jy\n");
        assert!(table.is_whole);
        assert!(!laid_out(&[columns[0], columns[1].at_least(5)], &rows, Some(15)).is_whole);
    }
}
