//! The page of metrics, read (Prometheus text format 0.0.4): as much of it as `mayfly top` shows.

use std::collections::BTreeMap;

/// The values of one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Scrape {
    series: Vec<Series>,
}

#[derive(Clone, Debug, PartialEq)]
struct Series {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Series {
    fn label(&self, name: &str) -> Option<&str> {
        let mut labels = self.labels.iter();
        labels
            .find(|(label, _)| label == name)
            .map(|(_, value)| value.as_str())
    }
}

impl Scrape {
    /// Reads a page. What is no series is left out.
    pub(super) fn read(page: &str) -> Self {
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        Self {
            series: lines.filter_map(series).collect(),
        }
    }

    /// Whether there is such a metric.
    pub(super) fn has(&self, name: &str) -> bool {
        self.series.iter().any(|series| series.name == name)
    }

    /// The sum of a metric over its labels.
    pub(super) fn sum(&self, name: &str) -> f64 {
        let of_it = self.series.iter().filter(|series| series.name == name);
        of_it.map(|series| series.value).sum()
    }

    /// The sums of a metric by one of its labels.
    pub(super) fn by(&self, name: &str, label: &str) -> BTreeMap<&str, f64> {
        let mut sums = BTreeMap::new();
        for series in self.series.iter().filter(|series| series.name == name) {
            if let Some(value) = series.label(label) {
                *sums.entry(value).or_insert(0.0) += series.value;
            }
        }
        sums
    }

    /// The buckets of a histogram: upper bound and cumulative count, in order.
    fn buckets(&self, name: &str) -> Vec<(f64, f64)> {
        let bucket = format!("{name}_bucket");
        let of_it = self.series.iter().filter(|series| series.name == bucket);
        let mut buckets: Vec<_> = of_it
            .filter_map(|series| Some((series.label("le")?.parse().ok()?, series.value)))
            .collect();
        buckets.sort_by(|(left, _), (right, _)| f64::total_cmp(left, right));
        buckets
    }

    /// The bound below which this share of what was observed since `before` lies; `None` if nothing was. It is interpolated
    /// within its bucket, as Prometheus does.
    pub(super) fn quantile(&self, name: &str, share: f64, before: &Self) -> Option<f64> {
        let earlier = before.buckets(name);
        let counts: Vec<(f64, f64)> = self
            .buckets(name)
            .into_iter()
            .map(|(bound, count)| {
                let was = earlier.iter().find(|(other, _)| *other == bound);
                (
                    bound,
                    (count - was.map_or(0.0, |(_, count)| *count)).max(0.0),
                )
            })
            .collect();
        let total = counts
            .last()
            .map(|(_, count)| *count)
            .filter(|count| *count > 0.0)?;
        let rank = share * total;
        let mut below = (0.0, 0.0);
        for (bound, count) in counts {
            if count >= rank {
                if bound.is_infinite() {
                    return Some(below.0);
                }
                let within = (rank - below.1) / (count - below.1).max(f64::MIN_POSITIVE);
                return Some(below.0 + (bound - below.0) * within.clamp(0.0, 1.0));
            }
            below = (bound, count);
        }
        None
    }
}

/// One line: `name{label="value",...} number`.
fn series(line: &str) -> Option<Series> {
    let (head, value) = line.trim().rsplit_once(' ')?;
    let (name, labels) = head.split_once('{').unwrap_or((head, ""));
    let labels = labels.trim_end_matches('}');
    let pair = |pair: &str| {
        let (name, value) = pair.split_once("=\"")?;
        Some((name.to_owned(), value.to_owned()))
    };
    Some(Series {
        name: name.to_owned(),
        // mayfly's values are plain words: none has a quote or a comma in it.
        labels: labels
            .trim_end_matches(',')
            .trim_end_matches('"')
            .split("\",")
            .filter_map(pair)
            .collect(),
        value: value.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# HELP a_total Something.
# TYPE a_total counter
a_total{reason=\"one\",code=\"250\"} 3
a_total{reason=\"two\",code=\"250\"} 4
a_total{reason=\"two\",code=\"450\"} 0.5

b 7
nonsense
h_bucket{le=\"0.1\"} 10
h_bucket{le=\"+Inf\"} 20
h_bucket{le=\"0.5\"} 20
";

    #[test]
    fn a_page_is_read_by_name_and_label() {
        let scrape = Scrape::read(PAGE);
        assert_eq!(
            (scrape.sum("a_total"), scrape.sum("b"), scrape.sum("c")),
            (7.5, 7.0, 0.0)
        );
        assert!(scrape.has("b") && !scrape.has("nonsense"));
        let by_reason = scrape.by("a_total", "reason");
        assert_eq!(by_reason, BTreeMap::from([("one", 3.0), ("two", 4.5)]));
        assert_eq!(scrape.by("a_total", "code")["250"], 7.0);
    }

    #[test]
    fn quantiles_lie_within_their_buckets() {
        let (empty, scrape) = (Scrape::default(), Scrape::read(PAGE));
        for (share, expected) in [(0.25, 0.05), (0.75, 0.3)] {
            let found = scrape.quantile("h", share, &empty).expect("observed");
            assert!((found - expected).abs() < 1e-9, "{found}");
        }
        assert_eq!(scrape.quantile("h", 0.5, &scrape), None, "nothing since");
        let slow = Scrape::read("h_bucket{le=\"0.1\"} 1\nh_bucket{le=\"+Inf\"} 9\n");
        assert_eq!(
            slow.quantile("h", 0.9, &empty),
            Some(0.1),
            "the last bound that is known"
        );
        assert_eq!(empty.quantile("h", 0.5, &empty), None);
    }
}
