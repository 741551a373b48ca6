//! Edit distance near the diagonal.

/// How far from the diagonal edits are looked for.
const BEAM: usize = 25;
const UNREACHED: u32 = u32::MAX / 2;

/// A step that turns the hypothesis into the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    Keep,
    Replace,
    /// A word of the reference that the hypothesis lacks.
    Insert,
    /// A word of the hypothesis that the reference lacks.
    Delete,
}

/// The distances between beginnings of the hypothesis (rows) and of the reference (columns), and the last step of each.
pub(super) struct Distance {
    cells: Vec<(u32, Edit)>,
    columns: usize,
}

impl Distance {
    /// Each insertion, deletion and replacement costs 1. Of equal ways, the one that keeps or replaces comes first, then the one that
    /// deletes.
    pub(super) fn new(hypothesis: &[u32], reference: &[u32]) -> Self {
        let columns = reference.len() + 1;
        let mut cells = vec![(UNREACHED, Edit::Delete); (hypothesis.len() + 1) * columns];
        for (length, cell) in cells[..columns].iter_mut().enumerate() {
            *cell = (length as u32, Edit::Insert);
        }
        let ratio = if hypothesis.is_empty() { 1.0 } else { reference.len() as f64 / hypothesis.len() as f64 };
        // With a hypothesis so short that neighbouring rows would not overlap, the beam is wider.
        let beam = if (BEAM as f64) < ratio / 2.0 { (ratio / 2.0 + BEAM as f64).ceil() as usize } else { BEAM };
        for (row, &word) in (1..).zip(hypothesis) {
            let diagonal = (row as f64 * ratio).floor() as usize;
            let end = if row == hypothesis.len() { columns } else { columns.min(diagonal + beam) };
            for column in diagonal.saturating_sub(beam)..end {
                let at = row * columns + column;
                let deleted = (cells[at - columns].0 + 1, Edit::Delete);
                cells[at] = if column == 0 {
                    deleted
                } else {
                    let same = word == reference[column - 1];
                    let aligned = (cells[at - columns - 1].0 + u32::from(!same), if same { Edit::Keep } else { Edit::Replace });
                    let inserted = (cells[at - 1].0 + 1, Edit::Insert);
                    [aligned, deleted, inserted].into_iter().min_by_key(|&(cost, _)| cost).unwrap_or(aligned)
                };
            }
        }
        Self { cells, columns }
    }

    /// The number of edits.
    pub(super) fn edits(&self) -> u32 {
        self.cells[self.cells.len() - 1].0
    }

    /// The edits, from left to right.
    pub(super) fn path(&self) -> Vec<Edit> {
        let mut path = Vec::new();
        let mut at = self.cells.len() - 1;
        while at > 0 {
            let edit = self.cells[at].1;
            path.push(edit);
            at -= match edit {
                Edit::Keep | Edit::Replace => self.columns + 1,
                Edit::Insert => 1,
                Edit::Delete => self.columns,
            };
        }
        path.reverse();
        path
    }
}
