//! The page that Prometheus reads (text format 0.0.4).
//!
//! Nothing is published while mail flows: when a scrape comes, what each core has counted is read
//! and summed, given to the `metrics` facade and rendered by its Prometheus exporter. The facade
//! has no way to set a histogram's buckets and no counters with fractions, so those are written
//! here in the same format.

use crate::edge::ring::process::allocator_committed_bytes;
use crate::edge::{CoreId, Cores};
use crate::metrics::process::ProcessMetrics;
use crate::metrics::{CoreMetrics, Declaration, Kind, PER_CORE, Reading, declarations};
use metrics::{Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

const METADATA: Metadata<'static> = Metadata::new("mayfly", Level::INFO, None);

/// The page as of now.
pub(super) fn render(cores: &Cores, process: &ProcessMetrics) -> String {
    process.store_bytes.set(cores.ledger().used());
    process.store_bytes_limit.set(cores.ledger().limit());
    let level = cores.barometer().level();
    process.pressure_level.set(level as u64);
    process.memory_committed.set(allocator_committed_bytes());
    read_process(process);
    for (number, core) in cores.metrics().iter().enumerate() {
        let id = CoreId(number);
        let inbox = cores.inbox(id);
        core.inbox_waiting.set(inbox.waiting() as u64);
        core.inbox_full.set(inbox.refused());
        if let Some(thread) = cores.thread(id) {
            read_thread(thread, core);
        }
    }
    let mut page = Page::new();
    for (number, core) in cores.metrics().iter().enumerate() {
        page.read_core(number, core);
    }
    process.read(&mut |declaration, labels, reading| {
        page.add(declaration, labelled(declaration, labels), &reading);
    });
    page.render()
}

/// The labels of one series.
type Labels = Vec<(&'static str, String)>;

fn labelled(declaration: &Declaration, values: &[&'static str]) -> Labels {
    declaration
        .labels
        .iter()
        .zip(values)
        .map(|((name, _), value)| (*name, (*value).to_owned()))
        .collect()
}

/// What a scrape shows, summed.
#[derive(Default)]
struct Page {
    /// By name and labels.
    values: BTreeMap<(&'static str, Labels), u64>,
    histograms: BTreeMap<(&'static str, Labels), Histogram>,
    seconds: BTreeMap<(&'static str, Labels), f64>,
}

#[derive(Default)]
struct Histogram {
    shown: Vec<&'static str>,
    buckets: Vec<u64>,
    sum: f64,
}

impl Page {
    fn new() -> Self {
        Self::default()
    }

    fn read_core(&mut self, number: usize, core: &CoreMetrics) {
        core.read(&mut |declaration, labels, reading| {
            let mut labels = labelled(declaration, labels);
            if PER_CORE.contains(&declaration.name) {
                labels.push(("core", number.to_string()));
            }
            self.add(declaration, labels, &reading);
        });
    }

    fn add(&mut self, declaration: &Declaration, labels: Labels, reading: &Reading<'_>) {
        match reading {
            Reading::Counter(value) | Reading::Gauge(value) => {
                *self.values.entry((declaration.name, labels)).or_default() += value;
            }
            Reading::Seconds(value) => {
                *self.seconds.entry((declaration.name, labels)).or_default() += value;
            }
            Reading::Histogram {
                buckets,
                shown,
                sum,
            } => {
                let histogram = self
                    .histograms
                    .entry((declaration.name, labels))
                    .or_default();
                histogram.shown = shown.to_vec();
                histogram.buckets.resize(buckets.len(), 0);
                for (total, count) in histogram.buckets.iter_mut().zip(buckets) {
                    *total += count;
                }
                histogram.sum += sum;
            }
        }
    }

    fn render(&self) -> String {
        let recorder = PrometheusBuilder::new().build_recorder();
        for declaration in declarations() {
            self.publish(declaration, &recorder);
        }
        let mut page = recorder.handle().render();
        for declaration in declarations() {
            self.append(declaration, &mut page);
        }
        page
    }

    /// Gives the values of a metric to the exporter.
    #[allow(clippy::cast_precision_loss)] // Gauges are whole numbers far below 2^53.
    fn publish(&self, declaration: &Declaration, recorder: &PrometheusRecorder) {
        let name = KeyName::from_const_str(declaration.name);
        let help = declaration.help.trim().into();
        match declaration.kind {
            Kind::Counter => recorder.describe_counter(name, None, help),
            Kind::Gauge => recorder.describe_gauge(name, None, help),
            Kind::Histogram => return,
        }
        for (labels, value) in series(&self.values, declaration.name) {
            let labels: Vec<Label> = labels
                .iter()
                .map(|(name, value)| Label::new(*name, value.clone()))
                .collect();
            let key = Key::from_parts(declaration.name, labels);
            if declaration.kind == Kind::Counter {
                recorder.register_counter(&key, &METADATA).absolute(*value);
            } else {
                recorder.register_gauge(&key, &METADATA).set(*value as f64);
            }
        }
    }

    /// Writes what the exporter cannot.
    fn append(&self, declaration: &Declaration, page: &mut String) {
        let name = declaration.name;
        let mut seconds = series(&self.seconds, name).peekable();
        let mut histograms = series(&self.histograms, name).peekable();
        let kind = match (seconds.peek(), histograms.peek()) {
            (Some(_), _) => "counter",
            (_, Some(_)) => "histogram",
            (None, None) => return,
        };
        let help = declaration.help.trim();
        write(
            page,
            format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"),
        );
        for (labels, seconds) in seconds {
            let labels = in_braces(labels, None);
            write(page, format_args!("{name}{labels} {seconds}\n"));
        }
        for (labels, histogram) in histograms {
            let mut count = 0;
            let ends = histogram.shown.iter().copied().chain(["+Inf"]);
            for (end, bucket) in ends.zip(&histogram.buckets) {
                count += bucket;
                let labels = in_braces(labels, Some(end));
                write(page, format_args!("{name}_bucket{labels} {count}\n"));
            }
            let (labels, sum) = (in_braces(labels, None), histogram.sum);
            write(
                page,
                format_args!("{name}_sum{labels} {sum}\n{name}_count{labels} {count}\n"),
            );
        }
        page.push('\n');
    }
}

/// The series of one metric, in the order of their labels.
fn series<'a, T>(
    all: &'a BTreeMap<(&'static str, Labels), T>,
    name: &'static str,
) -> impl Iterator<Item = (&'a Labels, &'a T)> {
    all.range((name, Labels::new())..)
        .take_while(move |((found, _), _)| *found == name)
        .map(|((_, labels), value)| (labels, value))
}

/// Labels as the format wants them. Their values are words of ours, in which nothing needs to be escaped.
fn in_braces(labels: &Labels, end: Option<&str>) -> String {
    let all = labels
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .chain(end.map(|end| ("le", end)));
    let all: Vec<String> = all
        .map(|(name, value)| format!("{name}=\"{value}\""))
        .collect();
    match all.is_empty() {
        true => String::new(),
        false => format!("{{{}}}", all.join(",")),
    }
}

fn write(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text)
        .unwrap_or_else(|_| unreachable!("writing to a String does not fail"));
}

/// Reads what the kernel says of a core's thread: nanoseconds on a processor, nanoseconds of waiting for one
/// (Documentation/scheduler/sched-stats.rst). A kernel without these statistics leaves both at zero.
fn read_thread(thread: u32, core: &CoreMetrics) {
    let path = format!("/proc/self/task/{thread}/schedstat");
    if let Some((ran, waited)) = std::fs::read_to_string(path)
        .ok()
        .as_deref()
        .and_then(schedule)
    {
        core.cpu.set(ran);
        core.run_delay.set(waited);
    }
}

fn schedule(stat: &str) -> Option<(Duration, Duration)> {
    let mut fields = stat.split_ascii_whitespace();
    let mut nanos = || fields.next()?.parse().ok().map(Duration::from_nanos);
    Some((nanos()?, nanos()?))
}

/// Reads what the kernel says of this process. What cannot be read stays as it was.
fn read_process(process: &ProcessMetrics) {
    if let Ok(stat) = std::fs::read_to_string("/proc/self/stat") {
        read_stat(&stat, process);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        process.open_fds.set(open.count() as u64);
    }
    if let Ok(netstat) = std::fs::read_to_string("/proc/net/netstat")
        && let Some(overflows) = listen_overflows(&netstat)
    {
        process.listen_overflows.set(overflows);
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if let Some(limit) = limit.current {
        process.max_fds.set(limit);
    }
}

/// Takes processor time, start time and resident memory from `/proc/self/stat` (proc_pid_stat(5)).
fn read_stat(stat: &str, process: &ProcessMetrics) {
    // The second field is the program's name and may have spaces and parentheses in it.
    let Some((_, rest)) = stat.rsplit_once(") ") else {
        return;
    };
    let fields: Vec<u64> = rest
        .split(' ')
        .map(|field| field.trim().parse().unwrap_or(0))
        .collect();
    // `rest` begins with the field that the manual counts as the third.
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0);
    let ticks_a_second = rustix::param::clock_ticks_per_second().max(1);
    let micros = (field(14) + field(15)) * 1_000_000 / ticks_a_second;
    process.cpu.set(Duration::from_micros(micros));
    let page_bytes = rustix::param::page_size() as u64;
    process.resident_memory.set(field(24) * page_bytes);
    process.virtual_memory.set(field(23));
    if let Some(booted_at) = boot_time() {
        let started_at = booted_at + field(22) / ticks_a_second;
        process.process_start_time.set(started_at);
    }
}

/// Finds `ListenOverflows` in `/proc/net/netstat`, where each line of names is followed by one of values.
fn listen_overflows(netstat: &str) -> Option<u64> {
    let mut lines = netstat.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let mut pairs = names.split(' ').zip(values.split(' '));
        if let Some((_, value)) = pairs.find(|(name, _)| *name == "ListenOverflows") {
            return value.parse().ok();
        }
    }
    None
}

/// When the machine was booted, in seconds since 1970.
fn boot_time() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::{Busy, Clock};
    use crate::mail::Ledger;
    use crate::metrics::process::{Method, Route, Status};
    use crate::metrics::{Command, Listener};
    use crate::store::HashKey;
    use std::future::Future as _;
    use std::task::{Context, Poll, Waker};

    fn page() -> String {
        let ledger = Ledger::new(1 << 20);
        let cores = Cores::new(2, 16, HashKey(1, 2), ledger, Clock::start()).expect("eventfds");
        for core in cores.metrics() {
            core.smtp_connections.set(3);
            core.smtp_connections_total.of(Listener::Smtp).add(5);
            core.message_size.observe(2_000);
            core.smtp_commands.of(Command::Mail).add(1);
            core.busy.add(Duration::from_millis(1_250));
        }
        let process = ProcessMetrics::default();
        let ok = process
            .http_requests
            .of(Route::Messages, Method::Get, Status::S200);
        ok.add_shared(7);
        process
            .http_request_duration
            .of(Route::Messages)
            .observe_shared(300);
        render(&cores, &process)
    }

    #[test]
    fn cores_are_summed_but_for_what_is_shown_for_each() {
        let page = page();
        for line in [
            "mayfly_smtp_connections_total{listener=\"smtp\"} 10",
            "mayfly_smtp_connections{core=\"0\"} 3",
            "mayfly_smtp_connections{core=\"1\"} 3",
            "mayfly_message_size_bytes_bucket{le=\"1024\"} 0",
            "mayfly_message_size_bytes_bucket{le=\"4096\"} 2",
            "mayfly_message_size_bytes_bucket{le=\"+Inf\"} 2",
            "mayfly_message_size_bytes_sum 4000",
            "mayfly_message_size_bytes_count 2",
            "mayfly_http_requests_total{route=\"messages\",method=\"get\",code=\"200\"} 7",
            "mayfly_store_bytes_limit 1048576",
            "mayfly_core_busy_seconds_total{core=\"1\"} 1.25",
            "mayfly_http_request_duration_seconds_bucket{route=\"messages\",le=\"0.00025\"} 0",
            "mayfly_http_request_duration_seconds_bucket{route=\"messages\",le=\"0.0005\"} 1",
            "mayfly_http_request_duration_seconds_count{route=\"messages\"} 1",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} in\n{page}");
        }
    }

    #[test]
    fn a_full_inbox_is_that_of_the_core_that_was_asked() {
        let ledger = Ledger::new(1 << 20);
        let cores = Cores::new(2, 1, HashKey(1, 2), ledger, Clock::start()).expect("eventfds");
        let asked_by_http = |core| {
            let mut call = Box::pin(cores.call(CoreId(core), |_, _| ()));
            let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            polled == Poll::Ready(Err(Busy))
        };
        assert!(!asked_by_http(1), "there is room for one");
        assert!(asked_by_http(1) && asked_by_http(1));
        assert!(!asked_by_http(0));
        let page = render(&cores, &ProcessMetrics::default());
        for line in [
            "mayfly_inbox_full_total{core=\"0\"} 0",
            "mayfly_inbox_full_total{core=\"1\"} 2",
            "mayfly_inbox_waiting_requests{core=\"1\"} 1",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} in\n{page}");
        }
    }

    #[test]
    fn every_series_is_declared_and_has_its_help() {
        let page = page();
        for line in page.lines().filter(|line| !line.is_empty()) {
            let name = line
                .trim_start_matches("# HELP ")
                .trim_start_matches("# TYPE ");
            let name = name.split([' ', '{']).next().expect("split gives one");
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end));
            let declared = |name| declarations().any(|declared| declared.name == name);
            assert!(declared(name) || base.is_some_and(declared), "{line}");
        }
        for declaration in declarations() {
            let help = format!("# HELP {} ", declaration.name);
            let shown = page.contains(&format!("\n{}", declaration.name));
            assert!(!shown || page.contains(&help), "{}", declaration.name);
        }
    }

    #[test]
    fn overflows_are_found_by_name() {
        let netstat = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 22 333\n\
                       IpExt: InNoRoutes\nIpExt: 4\n";
        assert_eq!(listen_overflows(netstat), Some(22));
        assert_eq!(listen_overflows("TcpExt: ListenDrops\nTcpExt: 3\n"), None);
        assert_eq!(listen_overflows(""), None);
    }

    #[test]
    fn a_thread_says_how_long_it_ran_and_waited() {
        let (ran, waited) = (Duration::from_nanos(1_156_909), Duration::from_nanos(123));
        assert_eq!(schedule("1156909 123 2\n"), Some((ran, waited)));
        for odd in ["", "1156909\n", "a b c\n"] {
            assert_eq!(schedule(odd), None, "{odd}");
        }
    }

    #[test]
    fn the_process_describes_itself() {
        let process = ProcessMetrics::default();
        read_process(&process);
        assert!(process.resident_memory.value() > 1 << 20);
        assert!(process.open_fds.value() > 2);
        assert!(process.max_fds.value() > 2);
        assert!(process.process_start_time.value() > 1_700_000_000);
    }
}
