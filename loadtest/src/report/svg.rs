//! Charts as SVG text: readable on light and dark ground, with text that can be selected and read aloud.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 90.0;
const BAR: f64 = 16.0;
const PLOT_HEIGHT: f64 = 260.0;

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}.small{font-size:11px;fill:#59636e}.title{font-size:15px;font-weight:600}\
.axis{stroke:#d1d9e0;stroke-width:1}.s0{fill:#0969da}.s1{fill:#bc4c00}.s2{fill:#1a7f37}.s3{fill:#8250df}.s4{fill:#bf3989}.s5{fill:#57606a}\
.l0{stroke:#0969da}.l1{stroke:#bc4c00}.l2{stroke:#1a7f37}.l3{stroke:#8250df}.l4{stroke:#bf3989}.l5{stroke:#57606a}.line{fill:none;stroke-width:2}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9198a1}.axis{stroke:#3d444d}.s0{fill:#4493f8}.s1{fill:#db6d28}.s2{fill:#3fb950}\
.s3{fill:#ab7df8}.s4{fill:#db61a2}.s5{fill:#9198a1}.l0{stroke:#4493f8}.l1{stroke:#db6d28}.l2{stroke:#3fb950}.l3{stroke:#ab7df8}.l4{stroke:#db61a2}.l5{stroke:#9198a1}}";
/// Colours in [`STYLE`].
const COLOURS: usize = 6;

/// Horizontal bars in groups.
#[derive(Debug)]
pub(super) struct Bars<'a> {
    pub(super) title: &'a str,
    /// What is measured, and which end is better.
    pub(super) subtitle: &'a str,
    pub(super) series: &'a [&'a str],
    /// Each with a value for each series; `None` where nothing was measured.
    pub(super) groups: Vec<(String, Vec<Option<f64>>)>,
    /// A value as it stands beside its bar.
    pub(super) shown: fn(f64) -> String,
}

/// Lines over an axis.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    pub(super) title: &'a str,
    pub(super) subtitle: &'a str,
    /// Where the horizontal axis has its marks, with what stands there.
    pub(super) marks: Vec<(f64, String)>,
    pub(super) lines: Vec<(String, Vec<(f64, f64)>)>,
    pub(super) scale: Scale,
    pub(super) shown: fn(f64) -> String,
}

/// How values become heights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// From zero.
    Linear,
    /// By powers of ten.
    Decades,
}

fn opened(height: f64, title: &str, subtitle: &str) -> String {
    let (title, subtitle) = (escaped(title), escaped(subtitle));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
         <title>{title}</title>\n<desc>{subtitle}</desc>\n<style>{STYLE}</style>\n\
         <text class=\"title\" x=\"0\" y=\"18\">{title}</text>\n<text class=\"small\" x=\"0\" y=\"36\">{subtitle}</text>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// The names of the series, each with its colour.
fn legend(out: &mut String, y: f64, names: impl Iterator<Item = impl AsRef<str>>) {
    let mut x = 0.0;
    for (index, name) in names.enumerate() {
        let name = name.as_ref();
        let _ = writeln!(
            out,
            "<rect class=\"s{}\" x=\"{x:.0}\" y=\"{:.0}\" width=\"10\" height=\"10\"/><text class=\"small\" x=\"{:.0}\" y=\"{y:.0}\">{}</text>",
            index % COLOURS,
            y - 9.0,
            x + 14.0,
            escaped(name)
        );
        x += 34.0 + 6.2 * name.chars().count() as f64;
    }
}

impl Bars<'_> {
    pub(super) fn svg(&self) -> String {
        let values = self
            .groups
            .iter()
            .flat_map(|(_, values)| values.iter().flatten());
        let most = values.copied().fold(f64::MIN_POSITIVE, f64::max);
        let group = BAR * self.series.len() as f64 + 12.0;
        let height = 70.0 + group * self.groups.len() as f64;
        let mut out = opened(height, self.title, self.subtitle);
        legend(&mut out, 54.0, self.series.iter());
        for (index, (label, values)) in self.groups.iter().enumerate() {
            let top = 66.0 + group * index as f64;
            let _ = writeln!(
                out,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                top + group / 2.0,
                escaped(label)
            );
            for (series, value) in values.iter().enumerate() {
                let y = top + BAR * series as f64;
                let (width, text) = match value {
                    Some(value) => (
                        (value / most * (WIDTH - LEFT - RIGHT)).max(1.0),
                        (self.shown)(*value),
                    ),
                    None => (0.0, "–".to_owned()),
                };
                let _ = writeln!(
                    out,
                    "<rect class=\"s{}\" x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{}\"/><text class=\"small\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                    series % COLOURS,
                    BAR - 3.0,
                    LEFT + width + 5.0,
                    y + 10.5,
                    escaped(&text)
                );
            }
        }
        out.push_str("</svg>\n");
        out
    }
}

impl Lines<'_> {
    pub(super) fn svg(&self) -> String {
        let height = PLOT_HEIGHT + 110.0;
        let mut out = opened(height, self.title, self.subtitle);
        legend(&mut out, 54.0, self.lines.iter().map(|(name, _)| name));
        let (left, top, width) = (80.0, 70.0, WIDTH - 80.0 - 20.0);
        let points = || {
            self.lines
                .iter()
                .flat_map(|(_, points)| points.iter().copied())
        };
        let from = self.marks.first().map_or(0.0, |(x, _)| *x);
        let to = points()
            .map(|(x, _)| x)
            .chain(self.marks.iter().map(|(x, _)| *x))
            .fold(from, f64::max);
        let x = |value: f64| left + (value - from) / (to - from).max(f64::MIN_POSITIVE) * width;
        let (low, high, steps) = self.heights(points().map(|(_, y)| y));
        let place = |value: f64| match self.scale {
            Scale::Linear => value / high,
            Scale::Decades => (value.max(low).log10() - low.log10()) / (high.log10() - low.log10()),
        };
        let y = |value: f64| top + PLOT_HEIGHT * (1.0 - place(value));
        for step in steps {
            let at = y(step);
            let _ = writeln!(
                out,
                "<line class=\"axis\" x1=\"{left}\" y1=\"{at:.1}\" x2=\"{:.1}\" y2=\"{at:.1}\"/><text class=\"small\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left + width,
                left - 6.0,
                at + 4.0,
                escaped(&(self.shown)(step))
            );
        }
        for (value, text) in &self.marks {
            let _ = writeln!(
                out,
                "<text class=\"small\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                x(*value),
                top + PLOT_HEIGHT + 18.0,
                escaped(text)
            );
        }
        for (index, (_, points)) in self.lines.iter().enumerate() {
            let path: Vec<String> = points
                .iter()
                .map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value)))
                .collect();
            let _ = writeln!(
                out,
                "<polyline class=\"line l{}\" points=\"{}\"/>",
                index % COLOURS,
                path.join(" ")
            );
        }
        out.push_str("</svg>\n");
        out
    }

    /// The lowest and the highest value of the axis, and where it has lines.
    fn heights(&self, values: impl Iterator<Item = f64>) -> (f64, f64, Vec<f64>) {
        // Nothing measured is drawn like something small.
        let (least, most) = values.fold((1e12_f64, 1e-9_f64), |(least, most), value| {
            (least.min(value), most.max(value))
        });
        let least = least.min(most);
        match self.scale {
            Scale::Linear => {
                let decade = 10_f64.powf(most.log10().floor());
                let nice = [1.0, 2.0, 2.5, 5.0, 10.0]
                    .into_iter()
                    .map(|factor| factor * decade);
                let high = nice.into_iter().find(|high| *high >= most).unwrap_or(most);
                (
                    0.0,
                    high,
                    (0..=4)
                        .map(|quarter| high * f64::from(quarter) / 4.0)
                        .collect(),
                )
            }
            Scale::Decades => {
                let (from, to) = (
                    least.max(1e-9).log10().floor(),
                    most.max(1e-9).log10().ceil(),
                );
                let to = if to > from { to } else { from + 1.0 };
                let count = (to - from) as i32;
                (
                    10_f64.powf(from),
                    10_f64.powf(to),
                    (0..=count)
                        .map(|step| 10_f64.powf(from + f64::from(step)))
                        .collect(),
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As much of XML as tells a whole chart from a broken one.
    fn check(svg: &str) {
        let mut open = Vec::new();
        for tag in svg
            .split('<')
            .skip(1)
            .map(|rest| rest.split('>').next().unwrap_or_default())
        {
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "{svg}");
            } else if !tag.ends_with('/') {
                open.push(tag.split(' ').next().unwrap_or_default());
            }
        }
        assert!(open.is_empty(), "{open:?}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(svg.contains("prefers-color-scheme:dark"));
    }

    #[test]
    fn bars_say_their_values_in_text() {
        let bars = Bars {
            title: "CPU < all",
            subtitle: "less is better",
            series: &["new & old", "kept"],
            groups: vec![
                ("mayfly".to_owned(), vec![Some(20.0), None]),
                ("none".to_owned(), vec![Some(0.0), Some(1.5)]),
            ],
            shown: |value| format!("{value:.1} us"),
        };
        let svg = bars.svg();
        check(&svg);
        for text in ["CPU &lt; all", "new &amp; old", "20.0 us", "–"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
    }

    #[test]
    fn lines_have_an_axis_for_any_values() {
        for scale in [Scale::Linear, Scale::Decades] {
            for values in [
                vec![(0.0, 0.0)],
                vec![(0.0, 5.0), (1.0, 5.0)],
                vec![(0.0, 1e-3), (2.0, 900.0)],
                vec![],
            ] {
                let lines = Lines {
                    title: "a",
                    subtitle: "b",
                    marks: vec![(0.0, "0".to_owned()), (1.0, "1".to_owned())],
                    lines: vec![("c".to_owned(), values)],
                    scale,
                    shown: |value| format!("{value}"),
                };
                check(&lines.svg());
            }
        }
    }
}
