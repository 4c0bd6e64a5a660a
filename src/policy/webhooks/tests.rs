//! The outbox in virtual time, with receivers of all kinds; and URLs, in tables.

#![forbid(unsafe_code)]

use super::*;
use crate::breaker::State;
use crate::clock::Instant;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

fn secs(secs: u64) -> Instant {
    Instant::from_secs(secs)
}

const fn to(url: u64) -> Destination {
    Destination {
        url,
        host: url / 100,
    }
}

/// No lot: the longest wait.
const LONGEST: u64 = u64::MAX;

fn rules() -> Rules {
    Rules {
        queue_max: 50,
        queue_per_url_max: 10,
        urls_max: 8,
        at_once: 6,
        at_once_per_host: 3,
        at_once_per_url: 2,
        ..Rules::default()
    }
}

/// So many deliveries for one URL.
fn with_deliveries(count: u32, rules: &Rules) -> Outbox<u32> {
    let mut outbox = Outbox::default();
    for job in 0..count {
        outbox.add(to(1), job, rules, secs(0)).expect("room");
    }
    outbox
}

/// All that may be tried at a time.
fn all(outbox: &mut Outbox<u32>, rules: &Rules, now: Instant) -> Vec<Attempt<u32>> {
    let started = std::iter::from_fn(|| outbox.next(rules, now)).collect();
    outbox.check();
    started
}

fn jobs(attempts: &[Attempt<u32>]) -> Vec<u32> {
    attempts.iter().map(|it| it.job).collect()
}

#[test]
fn everything_has_a_bound() {
    let rules = rules();
    let mut outbox = Outbox::default();
    for job in 0..10 {
        assert_eq!(outbox.add(to(1), job, &rules, secs(0)), Ok(()));
    }
    assert_eq!(
        outbox.add(to(1), 10, &rules, secs(0)),
        Err(Refused::UrlQueue)
    );
    // What is under way counts.
    assert_eq!(jobs(&all(&mut outbox, &rules, secs(0))), [0, 1]);
    assert_eq!(
        outbox.add(to(1), 10, &rules, secs(0)),
        Err(Refused::UrlQueue)
    );
    for url in 2..9 {
        assert_eq!(outbox.add(to(url * 100), 0, &rules, secs(0)), Ok(()));
    }
    assert_eq!(outbox.add(to(900), 0, &rules, secs(0)), Err(Refused::Urls));
    let mut full = Outbox::default();
    for job in 0..50_u32 {
        assert_eq!(full.add(to((job / 8).into()), job, &rules, secs(0)), Ok(()));
    }
    assert_eq!(full.add(to(6), 50, &rules, secs(0)), Err(Refused::Queue));
    full.check();
}

#[test]
fn urls_take_turns_and_hosts_have_their_share() {
    let rules = rules();
    let mut outbox = Outbox::default();
    for job in 0..4 {
        outbox.add(to(101), job, &rules, secs(0)).expect("room");
        outbox
            .add(to(102), 10 + job, &rules, secs(0))
            .expect("room");
    }
    outbox.add(to(200), 20, &rules, secs(1)).expect("room");
    // Two at a time for a URL, three for a host; the other host waits for neither.
    let first = all(&mut outbox, &rules, secs(1));
    assert_eq!(jobs(&first), [0, 10, 20, 1]);
    assert_eq!(outbox.due(&rules), None);
    // Who stood in line comes first when a place is free.
    outbox.settle(first[0].ticket, Ended::Delivered, 0, &rules, secs(2));
    assert_eq!(jobs(&all(&mut outbox, &rules, secs(2))), [11]);
    outbox.settle(first[1].ticket, Ended::Delivered, 0, &rules, secs(2));
    assert_eq!(jobs(&all(&mut outbox, &rules, secs(2))), [2]);
}

#[test]
fn who_stands_in_line_is_woken_though_others_are_forgotten_or_held_back() {
    let rules = Rules {
        breaker_failures: 1,
        ..rules()
    };
    let mut outbox = Outbox::default();
    // Three URLs of one host are under way, with one more delivery each, and others stand in line.
    for job in 0..2 {
        for url in 101..104 {
            outbox.add(to(url), job, &rules, secs(0)).expect("room");
        }
    }
    let started = all(&mut outbox, &rules, secs(0));
    assert_eq!(started.len(), 3);
    outbox.add(to(104), 40, &rules, secs(0)).expect("room");
    outbox.add(to(105), 50, &rules, secs(0)).expect("room");
    assert!(all(&mut outbox, &rules, secs(0)).is_empty());
    // Who comes and goes while the host is full leaves nothing in line.
    for _ in 0..100 {
        outbox.add(to(106), 60, &rules, secs(0)).expect("room");
        assert!(all(&mut outbox, &rules, secs(0)).is_empty());
        outbox.forget(106, |_| true, &rules, secs(0));
        outbox.check();
    }
    // All of them fail: their breakers open, and what they have left waits for that. Those behind them do not.
    for attempt in &started {
        let failed = Ended::Failed(None);
        outbox.settle(attempt.ticket, failed, LONGEST, &rules, secs(1));
        outbox.check();
    }
    outbox.forget(104, |_| true, &rules, secs(1));
    assert_eq!(jobs(&all(&mut outbox, &rules, secs(1))), [50]);
}

#[test]
fn waits_double_up_to_a_bound_and_end() {
    let rules = Rules {
        attempts_max: 5,
        retry_wait: Span::secs(4),
        retry_wait_max: Span::secs(10),
        breaker_failures: 100,
        ..rules()
    };
    let mut outbox = Outbox::default();
    outbox.add(to(1), 7, &rules, secs(0)).expect("room");
    let (mut now, mut waits) = (secs(0), Vec::new());
    loop {
        let attempt = outbox.next(&rules, now).expect("it is due");
        assert_eq!(attempt.nth as usize, waits.len() + 1);
        let rest = (attempt.nth == 4).then_some(Duration::from_secs(3_600));
        let fate = outbox.settle(attempt.ticket, Ended::Failed(rest), LONGEST, &rules, now);
        let Some(Fate::Waits(due)) = fate else {
            assert_eq!(fate, Some(Fate::GivenUp));
            break;
        };
        assert_eq!(outbox.due(&rules), Some(due));
        assert!(
            outbox
                .next(&rules, secs(due.as_micros() / 1_000_000))
                .is_none()
        );
        waits.push(due.since(now).as_secs_f64().round() as u64);
        now = due;
    }
    // What the receiver asks for is granted up to the same bound.
    assert_eq!(waits, [4, 8, 10, 10]);
    outbox.check();
}

#[test]
fn a_lot_is_drawn_for_each_wait() {
    let rules = rules();
    let waits = [0, 1 << 62, 1 << 63, LONGEST].map(|random| {
        let mut outbox = Outbox::default();
        outbox.add(to(1), 0, &rules, secs(0)).expect("room");
        let attempt = outbox.next(&rules, secs(0)).expect("due");
        outbox.settle(attempt.ticket, Ended::Failed(None), random, &rules, secs(0))
    });
    let expected = [0, 1_250_000, 2_500_000, 4_999_999];
    assert_eq!(
        waits,
        expected.map(|micros| Some(Fate::Waits(Instant::from_micros(micros))))
    );
}

#[test]
fn a_breaker_holds_back_all_but_a_probe() {
    let rules = Rules {
        breaker_failures: 2,
        ..rules()
    };
    let mut outbox = with_deliveries(6, &rules);
    for attempt in all(&mut outbox, &rules, secs(0)) {
        outbox.settle(attempt.ticket, Ended::Failed(None), 0, &rules, secs(0));
    }
    assert_eq!(
        (outbox.urls(State::Open), outbox.due(&rules)),
        (1, Some(secs(30)))
    );
    assert_eq!(all(&mut outbox, &rules, secs(29)), []);
    let probes = all(&mut outbox, &rules, secs(30));
    assert_eq!((probes.len(), outbox.urls(State::HalfOpen)), (1, 1));
    outbox.settle(probes[0].ticket, Ended::Delivered, 0, &rules, secs(31));
    assert_eq!(all(&mut outbox, &rules, secs(31)).len(), 2);
    let turns = [
        (State::Closed, State::Open),
        (State::Open, State::HalfOpen),
        (State::HalfOpen, State::Closed),
    ];
    assert_eq!(outbox.take_tally().turns, turns);
}

#[test]
fn who_is_postponed_loses_no_try_and_gives_its_places_to_others() {
    let rules = Rules {
        retry_wait: Span::secs(4),
        ..rules()
    };
    let mut outbox = with_deliveries(6, &rules);
    for (random, began, again) in [(0, secs(0), secs(2)), (1 << 63, secs(2), secs(5))] {
        let started = all(&mut outbox, &rules, began);
        let nths: Vec<u32> = started.iter().map(|it| it.nth).collect();
        assert_eq!(nths, [1, 1]);
        for attempt in started {
            let fate = outbox.settle(attempt.ticket, Ended::Postponed, random, &rules, began);
            assert_eq!(fate, Some(Fate::Waits(again)));
            // What waits behind it does not take its place.
            assert_eq!(all(&mut outbox, &rules, began), []);
        }
        assert_eq!(outbox.due(&rules), Some(again));
        assert_eq!(all(&mut outbox, &rules, secs(1)), []);
    }
    outbox.add(to(200), 20, &rules, secs(2)).expect("room");
    assert_eq!(jobs(&all(&mut outbox, &rules, secs(2))), [20]);
    assert_eq!(outbox.urls(State::Closed), 2);
}

#[test]
fn a_probe_that_is_postponed_is_not_followed_at_once_by_another() {
    let rules = Rules {
        breaker_failures: 1,
        ..rules()
    };
    let mut outbox = with_deliveries(3, &rules);
    for attempt in all(&mut outbox, &rules, secs(0)) {
        outbox.settle(attempt.ticket, Ended::Failed(None), 0, &rules, secs(0));
    }
    for probed in [30, 40, 50] {
        let probes = all(&mut outbox, &rules, secs(probed));
        assert_eq!(probes.len(), 1);
        outbox.settle(
            probes[0].ticket,
            Ended::Postponed,
            LONGEST,
            &rules,
            secs(probed),
        );
        assert_eq!(all(&mut outbox, &rules, secs(probed + 4)), []);
        assert_eq!(outbox.urls(State::Open), 1);
    }
    let probes = all(&mut outbox, &rules, secs(60));
    outbox.settle(probes[0].ticket, Ended::Delivered, 0, &rules, secs(60));
    assert_eq!(outbox.urls(State::Closed), 1);
}

#[test]
fn what_is_forgotten_is_never_tried_and_what_is_under_way_is_named() {
    let rules = rules();
    let mut outbox = with_deliveries(8, &rules);
    let started = all(&mut outbox, &rules, secs(0));
    let even = outbox.forget(1, |job| job % 2 == 0, &rules, secs(1));
    assert_eq!((even.waiting, even.running), (3, vec![started[0].ticket]));
    let late = outbox.settle(started[0].ticket, Ended::Delivered, 0, &rules, secs(2));
    assert_eq!(late, None);
    assert_eq!(jobs(&all(&mut outbox, &rules, secs(2))), [3]);
    assert_eq!(
        outbox.forget(9, |_| true, &rules, secs(2)),
        Forgotten::default()
    );
    let rest = outbox.clear();
    assert_eq!((rest.waiting, rest.running.len()), (2, 2));
    assert_eq!(
        (outbox.waiting(), outbox.running(), outbox.due(&rules)),
        (0, 0, None)
    );
    outbox.check();
}

#[test]
fn failures_are_forgotten_when_they_are_old() {
    let rules = Rules {
        attempts_max: 1,
        ..rules()
    };
    let mut outbox = Outbox::default();
    outbox.add(to(1), 0, &rules, secs(0)).expect("room");
    let attempt = outbox.next(&rules, secs(0)).expect("due");
    let fate = outbox.settle(attempt.ticket, Ended::Failed(None), 0, &rules, secs(0));
    assert_eq!((fate, outbox.urls(State::Closed)), (Some(Fate::GivenUp), 1));
    assert_eq!(outbox.due(&rules), Some(secs(600)));
    assert_eq!(outbox.next(&rules, secs(600)), None);
    assert_eq!((outbox.urls(State::Closed), outbox.due(&rules)), (0, None));
    outbox.check();
}

/// How a receiver takes what it gets.
#[derive(Clone, Copy, Debug)]
enum Receiver {
    /// At once.
    Well,
    /// At once, but never.
    Never,
    /// When the time is up, never.
    Slow,
    /// Well from this second on.
    From(u64),
    /// Well, but nobody has time to call it before this second.
    BusyUntil(u64),
}

const RECEIVERS: [Receiver; 7] = [
    Receiver::Well,
    Receiver::Slow,
    Receiver::Slow,
    Receiver::Never,
    Receiver::From(40),
    Receiver::BusyUntil(40),
    Receiver::Well,
];

/// An hour of life with some receivers.
#[derive(Default)]
struct World {
    outbox: Outbox<u32>,
    /// Whom each delivery is for, and when it came.
    came: BTreeMap<u32, (u64, Instant)>,
    /// When each attempt ends, and whether well.
    under_way: BTreeSet<(Instant, Ticket, u32, bool)>,
    tries: BTreeMap<u32, u32>,
}

fn receiver(url: u64) -> Receiver {
    RECEIVERS[(url % 100) as usize]
}

impl World {
    fn arrive(&mut self, url: u64, rules: &Rules, now: Instant) -> Result<(), Refused> {
        let job = u32::try_from(self.came.len()).expect("few");
        self.came.insert(job, (url, now));
        self.outbox.add(to(url), job, rules, now)
    }

    fn start(&mut self, rules: &Rules, now: Instant) {
        while let Some(attempt) = self.outbox.next(rules, now) {
            let (url, _) = self.came[&attempt.job];
            let (after, well) = match receiver(url) {
                Receiver::Well => (1, true),
                Receiver::Never => (1, false),
                Receiver::Slow => (10, false),
                Receiver::From(second) => (1, now >= secs(second)),
                Receiver::BusyUntil(second) => (2, now >= secs(second)),
            };
            let ends = now.plus(Duration::from_secs(after));
            *self.tries.entry(attempt.job).or_default() += 1;
            assert_eq!(self.tries[&attempt.job], attempt.nth);
            let new = (ends, attempt.ticket, attempt.job, well);
            assert!(self.under_way.insert(new), "a ticket is used once");
        }
        let (mut of_host, mut of_url) = (BTreeMap::new(), BTreeMap::new());
        for (_, _, job, _) in &self.under_way {
            let (url, _) = self.came[job];
            *of_host.entry(to(url).host).or_insert(0) += 1;
            *of_url.entry(url).or_insert(0) += 1;
        }
        assert!(self.under_way.len() <= rules.at_once as usize);
        assert!(of_host.values().all(|it| *it <= rules.at_once_per_host));
        assert!(of_url.values().all(|it| *it <= rules.at_once_per_url));
        self.outbox.check();
    }

    /// Ends what is to end; a receiver that is well must have got everything soon.
    fn end(&mut self, rules: &Rules, now: Instant, random: u64) {
        while let Some((ends, ticket, job, well)) = self.under_way.first().copied()
            && ends <= now
        {
            self.under_way.pop_first();
            let (url, came) = self.came[&job];
            let ended = match receiver(url) {
                _ if well => Ended::Delivered,
                Receiver::BusyUntil(_) => Ended::Postponed,
                _ => Ended::Failed(None),
            };
            if ended == Ended::Postponed {
                self.tries.entry(job).and_modify(|tries| *tries -= 1);
            }
            let fate = self.outbox.settle(ticket, ended, random, rules, now);
            assert_eq!(fate == Some(Fate::Delivered), well);
            if matches!(receiver(url), Receiver::Well) {
                assert!(
                    now.since(came) <= Duration::from_secs(60),
                    "it waited for others"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever others do, a receiver that takes what it gets has it within seconds, and nobody is tried too often.
    #[test]
    fn nobody_waits_for_the_slow_or_the_dead(
        arrivals in prop::collection::vec((0_u64..60, 0_u64..7), 1..40),
        random in any::<u64>(),
    ) {
        let rules = Rules { attempts_max: 4, urls_max: 100, queue_per_url_max: 50, ..rules() };
        let mut world = World::default();
        for second in 0..3_600 {
            let now = secs(second);
            world.end(&rules, now, random);
            for (_, url) in arrivals.iter().filter(|(at, _)| *at == second) {
                // Each on a host of its own.
                prop_assert_eq!(world.arrive(url * 100 + url, &rules, now), Ok(()));
            }
            world.start(&rules, now);
        }
        prop_assert_eq!((world.outbox.waiting(), world.outbox.running()), (0, 0));
        prop_assert_eq!(world.outbox.due(&rules), None);
        prop_assert_eq!(world.tries.len(), world.came.len());
        for (job, tries) in &world.tries {
            match receiver(world.came[job].0) {
                Receiver::Well | Receiver::BusyUntil(_) => prop_assert_eq!(*tries, 1),
                Receiver::Never | Receiver::Slow => prop_assert_eq!(*tries, 4),
                Receiver::From(_) => prop_assert!(*tries <= 4),
            }
        }
    }

    /// Texts of all kinds are refused or come out as a URL that passes again, and is the same.
    #[test]
    fn a_url_that_passed_passes_again(text in "(https?://)?[a-z0-9.:@/?#\\[\\]%\\\\ -]{0,40}") {
        let rules = Rules { ports: Vec::new(), allow_http: true, ..Rules::default() };
        if let Ok(target) = Target::parse(&text, &rules) {
            prop_assert_eq!(Target::parse(target.as_str(), &rules), Ok(target.clone()));
            prop_assert!(target.path_and_query().starts_with('/'));
            prop_assert!(!target.authority().is_empty() && !target.authority().contains('@'));
        }
    }
}

#[test]
fn only_some_urls_may_be_called() {
    let rules = Rules {
        allow_networks: vec!["10.0.0.0/8".parse().expect("a network")],
        deny_networks: vec!["8.8.8.8".parse().expect("an address")],
        ..Rules::default()
    };
    let long = format!("https://a.test/{}", "x".repeat(2_048));
    for (text, expected) in [
        ("https://a.test", Ok(("a.test", "/"))),
        (
            "HTTPS://A.Test:443/Hook?x=1&y=%20",
            Ok(("a.test", "/Hook?x=1&y=%20")),
        ),
        ("https://a.test:8443/x", Ok(("a.test:8443", "/x"))),
        (
            "https://b\u{fc}cher.test/\u{fc}",
            Ok(("xn--bcher-kva.test", "/%C3%BC")),
        ),
        ("https://1.1.1.1/x", Ok(("1.1.1.1", "/x"))),
        ("https://10.1.2.3/x", Ok(("10.1.2.3", "/x"))),
        (
            "https://[2606:4700::1111]/x",
            Ok(("[2606:4700::1111]", "/x")),
        ),
        (&long, Err(TargetError::TooLong)),
        ("", Err(TargetError::Malformed)),
        ("a.test/hook", Err(TargetError::Malformed)),
        ("https://", Err(TargetError::Malformed)),
        ("https://a.test./x", Err(TargetError::Malformed)),
        ("https://a.test/a b", Err(TargetError::Malformed)),
        ("https://a.te\nst/", Err(TargetError::Malformed)),
        ("https:\\\\a.test\\x", Err(TargetError::Malformed)),
        ("https://a.test\u{2003}/", Err(TargetError::Malformed)),
        ("https://a.test:99999/", Err(TargetError::Malformed)),
        ("http://a.test/", Err(TargetError::Scheme)),
        ("ftp://a.test/", Err(TargetError::Scheme)),
        ("file:///etc/passwd", Err(TargetError::Scheme)),
        ("https://u@a.test/", Err(TargetError::Credentials)),
        ("https://u:p@a.test/", Err(TargetError::Credentials)),
        ("https://a.test/#x", Err(TargetError::Fragment)),
        ("https://a.test:25/", Err(TargetError::Port)),
        ("https://a.test:0/", Err(TargetError::Port)),
        ("https://127.0.0.1/", Err(TargetError::Address)),
        // The standard knows many ways to write the same address.
        ("https://0x7f.1/", Err(TargetError::Address)),
        ("https://2130706433/", Err(TargetError::Address)),
        ("https://0177.0.0.1/", Err(TargetError::Address)),
        ("https://%31%32%37.0.0.1/", Err(TargetError::Address)),
        ("https://\u{ff11}27.0.0.1/", Err(TargetError::Address)),
        ("https://[::ffff:127.0.0.1]/", Err(TargetError::Address)),
        ("https://[::1]/", Err(TargetError::Address)),
        ("https://169.254.169.254/latest", Err(TargetError::Address)),
        ("https://8.8.8.8/", Err(TargetError::Address)),
    ] {
        let parsed = Target::parse(text, &rules);
        let found = parsed
            .as_ref()
            .map(|it| (it.authority(), it.path_and_query()))
            .map_err(|why| *why);
        assert_eq!(found, expected, "{text:?}");
    }
}

#[test]
fn a_target_says_whom_it_names_and_prints_nothing() {
    let rules = Rules {
        allow_http: true,
        ports: vec![80],
        ..Rules::default()
    };
    let target = Target::parse("http://A.test/secret", &rules).expect("passes");
    assert_eq!((target.is_https(), target.port()), (false, 80));
    let Host::Name(name) = target.host() else {
        panic!("a name")
    };
    assert_eq!(name, "a.test");
    assert_eq!(
        format!("{target:?} {:?}", target.host()),
        "Target(..) Host(..)"
    );
    let target = Target::parse("http://1.1.1.1:80/", &rules).expect("passes");
    let address: IpAddr = "1.1.1.1".parse().expect("an address");
    assert!(*target.host() == Host::Address(address));
}
