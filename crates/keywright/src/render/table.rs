//! Tables that fit the terminal.

use comfy_table::{Cell as ComfyCell, Color, ContentArrangement, Table, presets};

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

/// How a cell is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Not at all.
    Plain,
    /// As it should be.
    Good,
    /// Worth a look.
    Notable,
    /// Over.
    Bad,
    /// Less important.
    Dim,
}

impl Cell {
    /// A cell in a tone.
    pub(crate) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: clean(&text.into()), tone }
    }

    /// A key's state in its colour.
    pub(crate) fn state(state: &str) -> Self {
        let tone = match state {
            "active" | "current" => Tone::Good,
            "scheduled" | "disabled" | "overlapping" => Tone::Notable,
            "expired" | "revoked" | "ended" => Tone::Bad,
            _ => Tone::Plain,
        };
        Self::new(state, tone)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        let tone = if text == "-" { Tone::Dim } else { Tone::Plain };
        Self::new(text, tone)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

/// What an answer holds must not move the cursor or change colours of somebody's terminal.
fn clean(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() && character != '\n' { '\u{fffd}' } else { character })
        .collect()
}

/// A table: a line a row, columns aligned, wrapped to `width` if there is one.
pub(crate) fn table(headers: &[&str], rows: Vec<Vec<Cell>>, width: Option<u16>, color: bool) -> String {
    let mut table = start(width, color);
    table.set_header(headers.iter().map(|header| header.to_uppercase()));
    for row in rows {
        table.add_row(row.into_iter().map(comfy));
    }
    finish(&mut table)
}

/// The same, without the columns of `expendable`, in their order, that do not fit side by side.
pub(crate) fn fitted(
    headers: &[&str],
    rows: Vec<Vec<Cell>>,
    expendable: &[&str],
    width: Option<u16>,
    color: bool,
) -> String {
    let mut kept: Vec<usize> = (0..headers.len()).collect();
    let widths: Vec<usize> =
        headers.iter().enumerate().map(|(at, header)| column_width(header, &rows, at)).collect();
    let needed =
        |kept: &[usize]| kept.iter().filter_map(|at| widths.get(*at)).map(|width| width + GAP).sum::<usize>();
    for name in expendable {
        if width.is_none_or(|width| needed(&kept) <= usize::from(width) + GAP) {
            break;
        }
        kept.retain(|at| headers.get(*at) != Some(name));
    }
    let shown: Vec<&str> = kept.iter().filter_map(|at| headers.get(*at).copied()).collect();
    let rows = rows.into_iter().map(|row| {
        row.into_iter().enumerate().filter(|(at, _)| kept.contains(at)).map(|(_, cell)| cell).collect()
    });
    table(&shown, rows.collect(), width, color)
}

/// What stands between two columns.
const GAP: usize = 2;

fn column_width(header: &str, rows: &[Vec<Cell>], at: usize) -> usize {
    let widths = rows
        .iter()
        .filter_map(|row| row.get(at))
        .flat_map(|cell| cell.text.lines())
        .map(|line| line.chars().count());
    widths.chain([header.chars().count()]).max().unwrap_or_default()
}

/// One noun: a field a line.
pub(crate) fn fields(rows: Vec<(&str, Cell)>, width: Option<u16>, color: bool) -> String {
    let mut table = start(width, color);
    for (name, value) in rows {
        let name = ComfyCell::new(name).fg(Color::DarkCyan);
        table.add_row([name, comfy(value)]);
    }
    finish(&mut table)
}

fn start(width: Option<u16>, color: bool) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if color {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    match width {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table
}

fn comfy(cell: Cell) -> ComfyCell {
    let color = match cell.tone {
        Tone::Plain => return ComfyCell::new(cell.text),
        Tone::Good => Color::Green,
        Tone::Notable => Color::Yellow,
        Tone::Bad => Color::Red,
        Tone::Dim => Color::DarkGrey,
    };
    ComfyCell::new(cell.text).fg(color)
}

/// The style pads every cell on both sides; nobody wants to copy that.
fn finish(table: &mut Table) -> String {
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join(
        "
",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<Cell>> {
        vec![
            vec!["key_1".into(), "gps uploader of the northern fleet".into(), Cell::state("active")],
            vec!["key_2".into(), "x".into(), Cell::state("revoked")],
        ]
    }

    #[test]
    fn a_table_has_aligned_columns_and_no_frame() {
        let text = table(&["id", "name", "state"], rows(), None, false);
        assert_eq!(
            text,
            "\
ID     NAME                                STATE
key_1  gps uploader of the northern fleet  active
key_2  x                                   revoked"
        );
    }

    #[test]
    fn a_table_fits_a_narrow_terminal() {
        let text = table(&["id", "name", "state"], rows(), Some(36), false);
        assert!(text.lines().all(|line| line.chars().count() <= 36) && text.lines().count() > 3, "{text}");
    }

    #[test]
    fn columns_that_can_be_spared_go_before_anything_is_wrapped() {
        let headers = ["id", "name", "state"];
        let text = fitted(&headers, rows(), &["name", "id"], Some(36), false);
        assert_eq!(text, "ID     STATE\nkey_1  active\nkey_2  revoked");
        let exact =
            table(&headers, rows(), None, false).lines().map(|line| line.chars().count()).max().unwrap();
        let exact = u16::try_from(exact).unwrap();
        assert!(fitted(&headers, rows(), &["name"], Some(exact), false).starts_with("ID     NAME"));
        assert!(fitted(&headers, rows(), &["name"], Some(exact - 1), false).starts_with("ID     STATE"));
    }

    #[test]
    fn colours_are_there_only_when_wanted() {
        let text = table(&["state"], vec![vec![Cell::state("revoked")]], None, true);
        assert!(text.contains("\u{1b}[38;5;9mrevoked"), "{text:?}");
        assert!(!table(&["state"], vec![vec![Cell::state("revoked")]], None, false).contains('\u{1b}'));
    }

    #[test]
    fn a_name_cannot_reach_the_terminal() {
        let text = fields(vec![("name", "a\u{1b}[2Jb".into()), ("list", "x\ny".into())], None, false);
        assert_eq!(text, "name  a\u{fffd}[2Jb\nlist  x\n      y");
    }
}
