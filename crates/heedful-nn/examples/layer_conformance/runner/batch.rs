//! Padded batches, as other implementations have them, and the packed rows of the layers.

use heedful_nn::TimeMajor;

/// Where the tokens of a padded batch lie.
pub struct Batch {
    pub layout: TimeMajor,
    pub sentences: usize,
    /// The length of the padded sentences.
    pub steps: usize,
    /// `[steps, sentences, ..]` rather than `[sentences, steps, ..]`.
    pub time_first: bool,
}

impl Batch {
    pub fn new(lengths: &[usize], steps: usize, time_first: bool) -> Self {
        Self { layout: TimeMajor::new(lengths), sentences: lengths.len(), steps, time_first }
    }

    /// Calls `visit(padded_row, time_major_row)` for each token.
    fn each(&self, mut visit: impl FnMut(usize, usize)) {
        for (position, &sentence) in self.layout.order().iter().enumerate() {
            for (t, row) in self.layout.sentence_rows(position).enumerate() {
                let padded = if self.time_first { t * self.sentences + sentence } else { sentence * self.steps + t };
                visit(padded, row);
            }
        }
    }

    /// The time-major rows of a padded batch.
    pub fn pack(&self, padded: &[f32], width: usize) -> Vec<f32> {
        let mut rows = vec![0.0; self.layout.total() * width];
        self.each(|from, to| rows[to * width..][..width].copy_from_slice(&padded[from * width..][..width]));
        rows
    }

    /// A batch padded with zeros.
    pub fn pad(&self, rows: &[f32], width: usize) -> Vec<f32> {
        let mut padded = vec![0.0; self.sentences * self.steps * width];
        self.each(|to, from| padded[to * width..][..width].copy_from_slice(&rows[from * width..][..width]));
        padded
    }

    /// One row a sentence, in the layout's order.
    pub fn sort(&self, rows: &[f32], width: usize) -> Vec<f32> {
        let mut sorted = vec![0.0; rows.len()];
        self.layout.sort(rows, width, &mut sorted);
        sorted
    }

    /// One row a sentence, in the batch's order.
    pub fn unsort(&self, rows: &[f32], width: usize) -> Vec<f32> {
        let mut unsorted = vec![0.0; rows.len()];
        self.layout.unsort(rows, width, &mut unsorted);
        unsorted
    }
}
