//! Curves as SVG files.

use super::Failure;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use std::fs;
use std::path::Path;

const SIZE: (u32, u32) = (760, 430);

/// Paper and ink, as the page has them: readable in light and dark surroundings.
const PAPER: RGBColor = RGBColor(0xfb, 0xf8, 0xf3);
const INK: RGBColor = RGBColor(0x2a, 0x21, 0x18);
const GRID: RGBColor = RGBColor(0xe6, 0xdd, 0xcf);

/// Of the lines, in their order: the floor, maru, and whoever else there is.
const COLORS: [RGBColor; 8] = [
    RGBColor(0x6f, 0x63, 0x54),
    RGBColor(0xc2, 0x5e, 0x12),
    RGBColor(0x2f, 0x7d, 0x4f),
    RGBColor(0x2b, 0x5f, 0xa8),
    RGBColor(0x8a, 0x3f, 0x8f),
    RGBColor(0xb3, 0x26, 0x1e),
    RGBColor(0x1f, 0x8a, 0x8a),
    RGBColor(0x8f, 0x7a, 0x10),
];

/// From this ratio of the greatest value to the least on, an x axis is logarithmic; a y axis from five times that.
const DECADE: f64 = 10.0;

/// One picture.
pub struct Chart {
    /// The file's name without its ending.
    pub name: String,
    /// What stands above it.
    pub title: String,
    /// What the x axis shows, with its unit.
    pub x: &'static str,
    /// What the y axis shows, with its unit.
    pub y: &'static str,
    /// The curves.
    pub lines: Vec<Line>,
}

/// One curve of it, in the order of x.
pub struct Line {
    /// Of what.
    pub name: String,
    /// x and y.
    pub points: Vec<(f64, f64)>,
}

impl Line {
    pub(super) fn new(name: &str, points: impl Iterator<Item = (f64, f64)>) -> Self {
        Self { name: name.to_owned(), points: points.collect() }
    }
}

impl Chart {
    pub(super) fn new(name: &str, title: &str, x: &'static str, y: &'static str, lines: Vec<Line>) -> Self {
        Self { name: name.to_owned(), title: title.to_owned(), x, y, lines }
    }
}

/// What can be drawn.
pub trait Charts {
    /// Its pictures.
    fn charts(&self) -> Vec<Chart>;
}

/// Draws them, each as a file in this directory, which is made where it is missing.
///
/// # Errors
/// When a file cannot be written, or there is nothing to draw.
pub fn draw(directory: &Path, charts: &[Chart]) -> Result<(), Failure> {
    fs::create_dir_all(directory)?;
    for chart in charts {
        let path = directory.join(format!("{}.svg", chart.name));
        chart.draw(&path).map_err(|e| Failure::Setup(format!("{}: {e}", path.display())))?;
        eprintln!("drawn: {}", path.display());
    }
    Ok(())
}

impl Chart {
    fn draw(&self, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let xs = || points().map(|point| point.0);
        let (least, most) = (xs().fold(f64::INFINITY, f64::min), xs().fold(0.0, f64::max));
        // A curve of one point has room around it, too.
        let top = points().map(|point| point.1).fold(0.0, f64::max).max(1e-9) * 1.1;
        if !least.is_finite() {
            return Err("there is nothing to draw".into());
        }
        let root = SVGBackend::new(path, SIZE).into_drawing_area();
        root.fill(&PAPER)?;
        let bottom = points().map(|point| point.1).fold(f64::INFINITY, f64::min);
        let around = ((most - least) * 0.05).max(most * 0.01).max(1e-9);
        let (linear_x, linear_y) = (least - around..most + around, 0.0..top);
        match (most >= DECADE * least && least > 0.0, top >= 5.0 * DECADE * bottom && bottom > 0.0) {
            (true, true) => self.draw_on(&root, log(least, most), log(bottom, top))?,
            (true, false) => self.draw_on(&root, log(least, most), linear_y)?,
            (false, true) => self.draw_on(&root, linear_x, log(bottom, top))?,
            (false, false) => self.draw_on(&root, linear_x, linear_y)?,
        }
        Ok(root.present()?)
    }

    fn draw_on<X, Y>(
        &self,
        root: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
        x: X,
        y: Y,
    ) -> Result<(), Box<dyn std::error::Error>>
    where
        X: AsRangedCoord<Value = f64>,
        X::CoordDescType: ValueFormatter<f64>,
        Y: AsRangedCoord<Value = f64>,
        Y::CoordDescType: ValueFormatter<f64>,
    {
        let font = |size: u32| ("sans-serif", size).into_font().color(&INK);
        let mut chart = ChartBuilder::on(root)
            .caption(&self.title, font(17))
            .margin(14)
            .x_label_area_size(42)
            .y_label_area_size(58)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .axis_desc_style(font(14))
            .label_style(font(12))
            .axis_style(INK)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .x_label_formatter(&|value| short(*value))
            .y_label_formatter(&|value| short(*value))
            .draw()?;
        for (line, color) in self.lines.iter().zip(COLORS.iter().cycle()) {
            let style = color.stroke_width(2);
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), style))?
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], style));
            chart.draw_series(line.points.iter().map(|&point| Circle::new(point, 3, color.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(PAPER.mix(0.8))
            .border_style(GRID)
            .label_font(font(13))
            .draw()?;
        Ok(())
    }
}

fn log(least: f64, most: f64) -> LogCoord<f64> {
    (least * 0.9..most * 1.1).log_scale().into()
}

/// 0.25, 40, 2,000 as 2k, 1,500,000 as 1.5M.
fn short(value: f64) -> String {
    let plain = |value: f64| {
        let text = format!("{value:.2}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match value.abs() {
        size if size >= 1e6 => plain(value / 1e6) + "M",
        size if size >= 1e3 => plain(value / 1e3) + "k",
        _ => plain(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> Chart {
        let lines = vec![Line { name: "maru <&>".to_owned(), points }];
        Chart { name: "cost".to_owned(), title: "Cost".to_owned(), x: "readers", y: "µs", lines }
    }

    #[test]
    fn a_chart_is_a_picture_with_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("new");
        for points in [vec![(10.0, 3.0), (10_000.0, 4.0)], vec![(1.0, 2.0), (2.0, 3.0)], vec![(5.0, 0.0)]] {
            draw(&directory, &[chart(points)]).unwrap();
            let svg = fs::read_to_string(directory.join("cost.svg")).unwrap();
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
            assert!(
                ["Cost", "readers", "µs", "maru &lt;&amp;&gt;"].iter().all(|word| svg.contains(word)),
                "{svg}"
            );
        }
        assert!(draw(&directory, &[chart(Vec::new())]).is_err());
    }

    #[test]
    fn numbers_are_short() {
        let all = [0.25, 0.0, 40.0, 1500.0, 2000.0, 1_500_000.0].map(short);
        assert_eq!(all, ["0.25", "0", "40", "1.5k", "2k", "1.5M"]);
    }
}
