//! Axes of plots.

/// An axis: its label, and how values lie on it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Axis {
    pub(super) label: &'static str,
    pub(super) scale: Scale,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scale {
    /// From zero.
    Linear,
    Logarithmic,
    /// Shares of all, in percent: the nearer to all of them, the wider.
    Percentile,
}

impl Axis {
    pub(crate) const fn linear(label: &'static str) -> Self {
        Self { label, scale: Scale::Linear }
    }

    pub(crate) const fn logarithmic(label: &'static str) -> Self {
        Self { label, scale: Scale::Logarithmic }
    }

    pub(crate) const fn percentile(label: &'static str) -> Self {
        Self { label, scale: Scale::Percentile }
    }

    /// The range of these values, and what is marked in it.
    pub(super) fn range(&self, values: impl Iterator<Item = f64> + Clone) -> Range {
        let values = values.filter(|value| value.is_finite());
        let (least, most) = (values.clone().fold(f64::MAX, f64::min), values.fold(f64::MIN, f64::max));
        match self.scale {
            Scale::Linear => {
                let step = nice_step(most.max(1e-9) / 5.0);
                let count = (most / step).ceil().max(1.0);
                let ticks = (0..=count as u32).map(|i| f64::from(i) * step).collect();
                Range { scale: self.scale, from: 0.0, to: count * step, ticks }
            }
            Scale::Logarithmic => {
                let (from, to) = (least.max(1e-3).log10().floor(), most.max(1e-2).log10().ceil());
                let to = to.max(from + 1.0);
                let decades = (from as i32..=to as i32).map(|power| 10f64.powi(power));
                let marks: &[f64] = if to - from > 2.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
                let ticks = decades.flat_map(|decade| marks.iter().map(move |mark| decade * mark));
                let ticks = ticks.filter(|tick| *tick <= 10f64.powf(to) * 1.001).collect();
                Range { scale: self.scale, from, to, ticks }
            }
            Scale::Percentile => {
                let ticks = vec![50.0, 90.0, 99.0, 99.9, 99.99];
                let at = |percent: f64| self.scale.position(percent);
                Range { scale: self.scale, from: at(50.0), to: at(most.clamp(90.0, 99.99)), ticks }
            }
        }
    }
}

impl Scale {
    fn position(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Logarithmic => value.max(1e-3).log10(),
            Self::Percentile => -(1.0 - value.min(99.999) / 100.0).log10(),
        }
    }
}

/// What an axis shows.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Range {
    scale: Scale,
    from: f64,
    to: f64,
    ticks: Vec<f64>,
}

impl Range {
    /// Where a value lies: 0 at the axis's begin, 1 at its end.
    pub(super) fn position(&self, value: f64) -> f64 {
        (self.scale.position(value) - self.from) / (self.to - self.from)
    }

    /// The marked values, with their names.
    pub(super) fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        let is_in = |tick: &&f64| (-0.001..=1.001).contains(&self.position(**tick));
        self.ticks.iter().filter(is_in).map(|&tick| (tick, short(tick)))
    }
}

/// 1, 2 or 5 times a power of ten, not less than `least`.
fn nice_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().find(|step| step * power >= least * 0.999);
    power * step.unwrap_or(10.0)
}

/// `1.5k` for 1500.
pub(super) fn short(value: f64) -> String {
    let (value, unit) = match value {
        1e6.. => (value / 1e6, "M"),
        1e3.. => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = if value >= 100.0 { 1 } else { 2 };
    let text = format!("{value:.digits$}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(axis: &Axis, values: &[f64]) -> Vec<String> {
        axis.range(values.iter().copied()).ticks().map(|(_, name)| name).collect()
    }

    #[test]
    fn axes_have_round_marks() {
        assert_eq!(ticks(&Axis::linear(""), &[3.0, 23_400.0]), ["0", "5k", "10k", "15k", "20k", "25k"]);
        assert_eq!(ticks(&Axis::logarithmic(""), &[1.0, 32.0]), ["1", "2", "5", "10", "20", "50", "100"]);
        assert_eq!(ticks(&Axis::logarithmic(""), &[1.0, 57_000.0]), ["1", "10", "100", "1k", "10k", "100k"]);
        assert_eq!(ticks(&Axis::percentile(""), &[50.0, 99.9]), ["50", "90", "99", "99.9"]);
        // Of nothing, or of nothing but zeroes, there is an axis, too.
        assert_eq!(ticks(&Axis::linear(""), &[]).len(), 2);
        assert!(ticks(&Axis::logarithmic(""), &[0.0]).len() > 1);
    }

    #[test]
    fn values_lie_where_their_marks_say() {
        let near = |value: f64, expected: f64| (value - expected).abs() < 1e-9;
        let range = Axis::linear("").range([25e3].into_iter());
        assert!(near(range.position(12.5e3), 0.5));
        let range = Axis::logarithmic("").range([1.0, 100.0].into_iter());
        assert!(near(range.position(10.0), 0.5));
        let range = Axis::percentile("").range([50.0, 99.99].into_iter());
        assert!(near(range.position(50.0), 0.0) && near(range.position(99.99), 1.0));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.0, 0.5, 12.0, 1500.0, 184_000.0, 2.5e6].map(short),
            ["0", "0.5", "12", "1.5k", "184k", "2.5M"]
        );
    }
}
