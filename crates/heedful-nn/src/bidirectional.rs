//! Two recurrent layers that read a sentence from both ends (Schuster and Paliwal 1997), as in the encoder of Bahdanau et al. 2015.

use rand_chacha::ChaCha8Rng;

use crate::packed::TimeMajor;
use crate::recurrent::{self, Cell, Direction, Recurrent, State};
use crate::{Gradients, Parameters, Workspace, columns};

/// A layer whose output at each token is `[h of the forward direction | h of the reverse direction]`.
#[derive(Clone, Copy, Debug)]
pub struct Bidirectional {
    /// Reads from the first token to the last.
    pub forward: Recurrent,
    /// Reads from the last token to the first.
    pub reverse: Recurrent,
}

/// What the forward pass keeps for the backward pass.
#[derive(Debug)]
pub struct Saved {
    forward: recurrent::Saved,
    reverse: recurrent::Saved,
}

impl Saved {
    /// Gives its buffers back.
    pub fn release(self, workspace: &mut Workspace) {
        self.forward.release(workspace);
        self.reverse.release(workspace);
    }
}

impl Bidirectional {
    /// Adds the layers `NAME.forward` and `NAME.reverse`, each of `hidden` units.
    pub fn new(parameters: &mut Parameters, name: &str, cell: Cell, input: usize, hidden: usize, rng: &mut ChaCha8Rng) -> Self {
        Self {
            forward: Recurrent::new(parameters, &format!("{name}.forward"), cell, input, hidden, rng),
            reverse: Recurrent::new(parameters, &format!("{name}.reverse"), cell, input, hidden, rng),
        }
    }

    /// The width of the input.
    pub fn input(&self) -> usize {
        self.forward.input()
    }

    /// The width of the output: twice the hidden size of each direction.
    pub fn output(&self) -> usize {
        2 * self.forward.hidden()
    }

    /// Reads `x [total, input]` (time-major) from zero states on.
    ///
    /// Returns the states at each token, `[total, output]`; those at the end of each direction (the last token's of the forward one and the first
    /// token's of the reverse one), `[sentences, output]` in the layout's order; and what [`backward`](Self::backward) needs.
    pub fn forward(
        &self,
        parameters: &Parameters,
        x: &[f32],
        layout: &TimeMajor,
        workspace: &mut Workspace,
    ) -> (Vec<f32>, Vec<f32>, Saved) {
        let hidden = self.forward.hidden();
        let mut run = |layer: &Recurrent, direction| {
            let initial = State::zeros(layer.cell, layout.sentences(), hidden, workspace);
            layer.forward(parameters, x, layout, direction, initial, workspace)
        };
        let (forward_output, forward_last, forward) = run(&self.forward, Direction::Forward);
        let (reverse_output, reverse_last, reverse) = run(&self.reverse, Direction::Reverse);
        let output = columns::join(&[(&forward_output, hidden), (&reverse_output, hidden)], workspace);
        let last = columns::join(&[(&forward_last.hidden, hidden), (&reverse_last.hidden, hidden)], workspace);
        forward_last.release(workspace);
        reverse_last.release(workspace);
        workspace.give(forward_output);
        workspace.give(reverse_output);
        (output, last, Saved { forward, reverse })
    }

    /// The derivative by `x` from those by the two outputs of [`forward`](Self::forward); those by the weights are added to `gradients`.
    pub fn backward(
        &self,
        parameters: &Parameters,
        gradients: &mut Gradients,
        saved: Saved,
        x: &[f32],
        layout: &TimeMajor,
        d_output: &[f32],
        d_last: &[f32],
        workspace: &mut Workspace,
    ) -> Vec<f32> {
        let hidden = self.forward.hidden();
        let mut run = |layer: &Recurrent, saved, direction, first: usize| {
            let columns = first..first + hidden;
            let d_output = columns::part(d_output, 2 * hidden, columns.clone(), workspace);
            let zeros = State::zeros(layer.cell, layout.sentences(), hidden, workspace);
            workspace.give(zeros.hidden);
            let d_last = State { hidden: columns::part(d_last, 2 * hidden, columns, workspace), memory: zeros.memory };
            let (d_x, d_initial) = layer.backward(parameters, gradients, saved, x, layout, direction, &d_output, d_last, workspace);
            d_initial.release(workspace);
            workspace.give(d_output);
            d_x
        };
        let mut d_x = run(&self.forward, saved.forward, Direction::Forward, 0);
        let reverse = run(&self.reverse, saved.reverse, Direction::Reverse, hidden);
        for (sum, d) in d_x.iter_mut().zip(&reverse) {
            *sum += d;
        }
        workspace.give(reverse);
        d_x
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Check, check_gradients};

    #[test]
    fn gradients_are_the_finite_differences_through_two_layers() {
        let layout = TimeMajor::new(&[2, 4, 1]);
        for cell in [Cell::Gru, Cell::Lstm] {
            let mut check = Check::new(31);
            let first = Bidirectional::new(&mut check.parameters, "0", cell, 3, 2, &mut check.rng);
            let second = Bidirectional::new(&mut check.parameters, "1", cell, first.output(), 3, &mut check.rng);
            check.randomise();
            let x = check.input(7 * 3);
            check_gradients(
                check,
                vec![x],
                |p, x, ws| {
                    let (middle, _, _) = first.forward(p, &x[0], &layout, ws);
                    let (output, last, _) = second.forward(p, &middle, &layout, ws);
                    [output, last].concat()
                },
                |p, g, x, d_y, ws| {
                    let (middle, middle_last, first_saved) = first.forward(p, &x[0], &layout, ws);
                    let (_, _, second_saved) = second.forward(p, &middle, &layout, ws);
                    let (d_output, d_last) = d_y.split_at(7 * second.output());
                    let d_middle = second.backward(p, g, second_saved, &middle, &layout, d_output, d_last, ws);
                    let zeros = vec![0.0; middle_last.len()];
                    vec![first.backward(p, g, first_saved, &x[0], &layout, &d_middle, &zeros, ws)]
                },
            );
        }
    }
}
