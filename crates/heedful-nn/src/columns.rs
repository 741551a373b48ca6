//! Matrices side by side: joining them row by row, and taking them apart again.

use std::ops::Range;

use crate::Workspace;

/// `[a | b | ...]` of matrices with the same number of rows, each given with its width.
///
/// # Panics
/// If the numbers of rows differ.
pub fn join(parts: &[(&[f32], usize)], workspace: &mut Workspace) -> Vec<f32> {
    let width: usize = parts.iter().map(|(_, width)| width).sum();
    let rows = parts.first().map_or(0, |(part, width)| part.len() / width);
    let mut joined = workspace.take(rows * width);
    let mut start = 0;
    for (part, part_width) in parts {
        assert_eq!(part.len(), rows * part_width, "a part of width {part_width} beside {rows} rows");
        for (to, from) in joined.chunks_exact_mut(width).zip(part.chunks_exact(*part_width)) {
            to[start..start + part_width].copy_from_slice(from);
        }
        start += part_width;
    }
    joined
}

/// These columns of a matrix of rows of this width.
pub fn part(matrix: &[f32], width: usize, columns: Range<usize>, workspace: &mut Workspace) -> Vec<f32> {
    let mut part = workspace.take(matrix.len() / width * columns.len());
    for (to, from) in part.chunks_exact_mut(columns.len()).zip(matrix.chunks_exact(width)) {
        to.copy_from_slice(&from[columns.clone()]);
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_joined_can_be_taken_apart() {
        let mut workspace = Workspace::new();
        let joined = join(&[(&[1.0, 2.0, 3.0, 4.0], 2), (&[5.0, 6.0], 1)], &mut workspace);
        assert_eq!(joined, [1.0, 2.0, 5.0, 3.0, 4.0, 6.0]);
        assert_eq!(part(&joined, 3, 0..2, &mut workspace), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(part(&joined, 3, 2..3, &mut workspace), [5.0, 6.0]);
    }
}
