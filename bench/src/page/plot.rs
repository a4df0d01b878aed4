//! Plots, as SVG in a page.

use super::axis::{Axis, short};
use super::escaped;
use std::fmt::{self, Write};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 420.0;
/// Around the area of lines: on the right are their names.
const LEFT: f64 = 80.0;
const RIGHT: f64 = 250.0;
const TOP: f64 = 52.0;
const BOTTOM: f64 = 50.0;
/// A bar's place, and where bars begin: on the left are their names.
const BAR: f64 = 24.0;
const BAR_LEFT: f64 = 250.0;

/// Told apart by those who see no red or no green, too (after Okabe and Ito).
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#555555"];

/// A line through points.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Plot {
    /// One value over another.
    Lines { title: String, x: Axis, y: Axis, series: Vec<Series> },
    /// A value for each name.
    Bars { title: String, bars: Vec<(String, f64)> },
}

impl Plot {
    /// How long they took, by percentiles.
    pub(crate) fn percentiles(latencies_us: impl IntoIterator<Item = (String, Vec<(f64, f64)>)>) -> Self {
        Self::Lines {
            title: "Latency".into(),
            x: Axis::percentile("percent within"),
            y: Axis::logarithmic("us"),
            series: latencies_us.into_iter().map(|(name, points)| Series { name, points }).collect(),
        }
    }

    /// Writes it as an SVG element.
    pub(super) fn draw(&self, out: &mut String) -> fmt::Result {
        match self {
            Self::Lines { title, x, y, series } => lines(out, title, x, y, series),
            Self::Bars { title, bars } => draw_bars(out, title, bars),
        }
    }
}

fn begin(out: &mut String, height: f64, title: &str) -> fmt::Result {
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">"
    )?;
    writeln!(out, "<text x=\"0\" y=\"18\" font-size=\"16\" font-weight=\"bold\">{}</text>", escaped(title))
}

fn text(out: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) -> fmt::Result {
    writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escaped(text))
}

fn rule(out: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) -> fmt::Result {
    writeln!(out, "<path d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\" stroke=\"#ddd\"/>")
}

fn lines(out: &mut String, title: &str, x: &Axis, y: &Axis, series: &[Series]) -> fmt::Result {
    let points = || series.iter().flat_map(|series| series.points.iter());
    let (of_x, of_y) = (x.range(points().map(|point| point.0)), y.range(points().map(|point| point.1)));
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let at_x = |value| LEFT + of_x.position(value) * (right - LEFT);
    let at_y = |value| bottom - of_y.position(value) * (bottom - TOP);
    begin(out, HEIGHT, title)?;
    for (tick, name) in of_x.ticks() {
        rule(out, (at_x(tick), TOP), (at_x(tick), bottom))?;
        text(out, (at_x(tick), bottom + 18.0), "middle", &name)?;
    }
    for (tick, name) in of_y.ticks() {
        rule(out, (LEFT, at_y(tick)), (right, at_y(tick)))?;
        text(out, (LEFT - 8.0, at_y(tick) + 4.0), "end", &name)?;
    }
    text(out, ((LEFT + right) / 2.0, HEIGHT - 10.0), "middle", x.label)?;
    text(out, (LEFT - 8.0, TOP - 10.0), "end", y.label)?;
    for (number, Series { name, points }) in series.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let drawn: Vec<String> =
            points.iter().map(|(x, y)| format!("{:.1} {:.1}", at_x(*x), at_y(*y))).collect();
        if !drawn.is_empty() {
            writeln!(
                out,
                "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                drawn.join("L")
            )?;
        }
        for (x, y) in points {
            writeln!(
                out,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{colour}\"><title>{}: {x}, {y}</title></circle>",
                at_x(*x),
                at_y(*y),
                escaped(name)
            )?;
        }
        let beside = TOP + 10.0 + 20.0 * number as f64;
        writeln!(
            out,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"14\" height=\"4\" fill=\"{colour}\"/>",
            right + 14.0,
            beside - 6.0
        )?;
        text(out, (right + 34.0, beside), "start", name)?;
    }
    writeln!(out, "</svg>")
}

fn draw_bars(out: &mut String, title: &str, bars: &[(String, f64)]) -> fmt::Result {
    let most = bars.iter().map(|bar| bar.1).fold(f64::MIN_POSITIVE, f64::max);
    begin(out, TOP + BAR * bars.len() as f64, title)?;
    for (number, (name, value)) in bars.iter().enumerate() {
        let top = TOP + BAR * number as f64;
        let width = value / most * (WIDTH - BAR_LEFT - 80.0);
        text(out, (BAR_LEFT - 8.0, top + 15.0), "end", name)?;
        let colour = COLOURS[0];
        writeln!(
            out,
            "<rect x=\"{BAR_LEFT}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{}\" fill=\"{colour}\"/>",
            top + 3.0,
            BAR - 6.0
        )?;
        text(out, (BAR_LEFT + width + 6.0, top + 15.0), "start", &short(*value))?;
    }
    writeln!(out, "</svg>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_bars_lie_within_the_picture() {
        let series = |name: &str, points| Series { name: name.into(), points };
        let lines = Plot::Lines {
            title: "A < B".into(),
            x: Axis::logarithmic("depth"),
            y: Axis::linear("IOPS"),
            series: vec![series("reads", vec![(1.0, 84e3), (32.0, 184e3)]), series("writes", Vec::new())],
        };
        let bars = Plot::Bars { title: "B".into(), bars: vec![("a".into(), 1.0), ("b".into(), 0.0)] };
        let nothing = Plot::Bars { title: "C".into(), bars: Vec::new() };
        for (plot, marks) in [(lines, 2), (bars, 2), (nothing, 0), (Plot::percentiles([]), 0)] {
            let mut svg = String::new();
            plot.draw(&mut svg).unwrap();
            assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
            assert!(!svg.contains("NaN") && !svg.contains("inf") && !svg.contains("A < B"), "{svg}");
            assert_eq!(
                svg.matches("<circle ").count() + svg.matches("height=\"18\"").count(),
                marks,
                "{svg}"
            );
            for at in svg.split("cx=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
                assert!((LEFT..=WIDTH - RIGHT).contains(&at.parse().unwrap()), "{svg}");
            }
        }
    }
}
