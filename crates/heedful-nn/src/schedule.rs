//! The learning rate as a function of the update.

/// A factor for the peak learning rate; every schedule but the constant one first rises linearly for `warmup` updates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// Always the peak.
    Constant,
    /// `sqrt(warmup / update)` after the warm-up (Vaswani et al. 2017, section 5.3, with the peak as the unit).
    InverseSquareRoot {
        /// Updates until the peak.
        warmup: u64,
    },
    /// Half a cosine from the peak to zero at `total` (Loshchilov and Hutter 2017, eq. 5, one period).
    Cosine {
        /// Updates until the peak.
        warmup: u64,
        /// The update at which it reaches zero.
        total: u64,
    },
    /// A straight line from the peak to zero at `total`.
    Linear {
        /// Updates until the peak.
        warmup: u64,
        /// The update at which it reaches zero.
        total: u64,
    },
}

impl Schedule {
    /// The factor at an update; the first update is 1.
    pub fn factor(self, update: u64) -> f32 {
        let t = update.max(1) as f64;
        let ramp = |warmup: u64| t / warmup.max(1) as f64;
        let progress = |warmup: u64, total: u64| ((t - warmup as f64) / (total.saturating_sub(warmup).max(1)) as f64).clamp(0.0, 1.0);
        let factor = match self {
            Self::Constant => 1.0,
            Self::InverseSquareRoot { warmup } | Self::Cosine { warmup, .. } | Self::Linear { warmup, .. } if update <= warmup => {
                ramp(warmup)
            }
            Self::InverseSquareRoot { warmup } => (warmup.max(1) as f64 / t).sqrt(),
            Self::Cosine { warmup, total } => 0.5 * (1.0 + (std::f64::consts::PI * progress(warmup, total)).cos()),
            Self::Linear { warmup, total } => 1.0 - progress(warmup, total),
        };
        factor as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_to_the_peak_and_falls_as_named() {
        for schedule in [
            Schedule::InverseSquareRoot { warmup: 100 },
            Schedule::Cosine { warmup: 100, total: 500 },
            Schedule::Linear { warmup: 100, total: 500 },
        ] {
            assert!((schedule.factor(50) - 0.5).abs() < 1e-6);
            assert!((schedule.factor(100) - 1.0).abs() < 1e-6);
        }
        assert!((Schedule::InverseSquareRoot { warmup: 100 }.factor(400) - 0.5).abs() < 1e-6);
        assert!((Schedule::Cosine { warmup: 100, total: 500 }.factor(300) - 0.5).abs() < 1e-6);
        assert!((Schedule::Linear { warmup: 100, total: 500 }.factor(400) - 0.25).abs() < 1e-6);
        assert!(
            Schedule::Cosine { warmup: 100, total: 500 }.factor(500) < 1e-6
                && Schedule::Linear { warmup: 100, total: 500 }.factor(9000) == 0.0
        );
        assert!((Schedule::Constant.factor(7) - 1.0).abs() < 1e-6);
        assert!(Schedule::Linear { warmup: 0, total: 0 }.factor(1).is_finite());
    }
}
