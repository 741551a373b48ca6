//! From a weight to a colour.

/// How weights in `[0, 1]` are coloured. All scales grow steadily in lightness, so that their order is seen with every kind of colour
/// vision, and in grey.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// More weight is a stronger purple on the page.
    #[default]
    Purple,
    /// Viridis (van der Walt and Smith 2015).
    Viridis,
    /// Cividis (Nuñez, Anderton and Renslow 2018).
    Cividis,
}

/// Viridis at 0, 1/8, …, 1.
const VIRIDIS: [[u8; 3]; 9] = [
    [68, 1, 84],
    [71, 44, 122],
    [59, 81, 139],
    [44, 113, 142],
    [33, 144, 141],
    [39, 173, 129],
    [92, 200, 99],
    [170, 220, 50],
    [253, 231, 37],
];

/// Cividis at 0, 1/8, …, 1.
const CIVIDIS: [[u8; 3]; 9] = [
    [0, 34, 78],
    [26, 56, 111],
    [67, 78, 108],
    [98, 100, 111],
    [125, 124, 120],
    [155, 149, 118],
    [188, 175, 111],
    [221, 203, 93],
    [254, 232, 56],
];

impl Scale {
    /// The colour of a weight, or `None` where it depends on the page: then the weight is how opaque the purple is.
    pub fn colour(self, weight: f32) -> Option<[u8; 3]> {
        match self {
            Self::Purple => None,
            Self::Viridis => Some(viridis(weight)),
            Self::Cividis => Some(between(&CIVIDIS, weight)),
        }
    }
}

/// The colour of a weight in [`Scale::Viridis`].
pub fn viridis(weight: f32) -> [u8; 3] {
    between(&VIRIDIS, weight)
}

/// What is outside of `[0, 1]` is taken to the nearer end, and NaN to 0.
fn between(colours: &[[u8; 3]; 9], weight: f32) -> [u8; 3] {
    let place = weight.clamp(0.0, 1.0).max(0.0) * (colours.len() - 1) as f32;
    let low = (place as usize).min(colours.len() - 2);
    let part = place - low as f32;
    std::array::from_fn(|i| {
        let (from, to) = (f32::from(colours[low][i]), f32::from(colours[low + 1][i]));
        (from + part * (to - from)).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_weight_is_lighter() {
        for scale in [Scale::Viridis, Scale::Cividis] {
            let lightness = |weight| {
                let [r, g, b] = scale.colour(weight).expect("a colour").map(f32::from);
                0.2126 * r + 0.7152 * g + 0.0722 * b
            };
            for i in 0..100 {
                assert!(lightness(i as f32 / 100.0) <= lightness((i + 1) as f32 / 100.0), "{scale:?} {i}");
            }
            assert_eq!(scale.colour(f32::NAN), scale.colour(0.0));
            assert_eq!(scale.colour(7.0), scale.colour(1.0));
        }
        assert_eq!(Scale::Purple.colour(0.5), None);
    }
}
