//! Buffers that one step borrows and the next step reuses.

/// A pool of `Vec<f32>`. A layer takes what its forward saves or returns, and whoever is last to use a buffer gives it back;
/// from the second step on, a training step allocates nothing large.
#[derive(Debug, Default)]
pub struct Workspace {
    free: Vec<Vec<f32>>,
}

impl Workspace {
    /// An empty pool.
    pub fn new() -> Self {
        Self::default()
    }

    /// A buffer of `len` numbers with **unspecified contents**: for outputs that are written whole.
    pub fn take(&mut self, len: usize) -> Vec<f32> {
        // The smallest buffer that is large enough, or else the largest one, which then grows.
        let best = (0..self.free.len()).min_by_key(|&i| {
            let capacity = self.free[i].capacity();
            if capacity >= len { (0, capacity) } else { (1, usize::MAX - capacity) }
        });
        let mut buffer = best.map(|i| self.free.swap_remove(i)).unwrap_or_default();
        if buffer.capacity() < len {
            buffer.clear();
            // Batches differ in size from step to step; some slack keeps the pool from growing by a little each time.
            buffer.reserve_exact(len + len / 4);
        }
        buffer.resize(len, 0.0);
        buffer
    }

    /// A buffer of `len` zeros: for sums.
    pub fn zeros(&mut self, len: usize) -> Vec<f32> {
        let mut buffer = self.take(len);
        buffer.fill(0.0);
        buffer
    }

    /// A copy of `values`.
    pub fn copy(&mut self, values: &[f32]) -> Vec<f32> {
        let mut buffer = self.take(values.len());
        buffer.copy_from_slice(values);
        buffer
    }

    /// Gives a buffer back.
    pub fn give(&mut self, buffer: Vec<f32>) {
        if buffer.capacity() > 0 {
            self.free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_given_back_is_taken_again() {
        let mut workspace = Workspace::new();
        let (small, large) = (workspace.take(10), workspace.take(1000));
        let address = large.as_ptr();
        workspace.give(small);
        workspace.give(large);
        let again = workspace.take(900);
        assert_eq!((again.as_ptr(), again.len()), (address, 900));
        assert!(workspace.zeros(5).iter().all(|&x| x == 0.0));
    }
}
