//! Verdicts on what was gathered: the settings, and what the world around the machine says.

use super::facts::{Exchangers, Facts, Finding, Name, Pair};
use super::judge_machine as machine;
use crate::config::Config;
use crate::edge::certificates::covers;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;

/// Days before its end at which a certificate should have been renewed.
const RENEWAL_DAYS: i64 = 14;

/// What is to be said about the machine, in the order in which it matters.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let defaults = Config::default();
    let config = facts.config.as_ref().unwrap_or(&defaults);
    let mut findings = vec![
        settings(facts),
        machine::kernel(facts),
        machine::io_uring(facts),
        machine::files(facts, config),
        machine::tables(facts, config),
        machine::somaxconn(facts, config),
        machine::memory(facts, config),
        machine::cpus(facts, config),
        machine::swap(facts),
        machine::dumps(facts),
        machine::clock(facts),
    ];
    findings.extend(ports(facts));
    findings.extend(certificates(facts, config));
    findings.extend(names(&facts.names, config));
    findings
}

fn settings(facts: &Facts) -> Finding {
    let why = "mayfly does not start with a mistake in them; the rest goes by the defaults";
    match &facts.config {
        Ok(_) => Finding::ok("settings", "in order", why),
        Err(mistakes) => Finding::fail("settings", mistakes.trim_end(), why)
            .fix("mayfly check-config FILE explains each"),
    }
}

fn ports(facts: &Facts) -> Vec<Finding> {
    let why = "mayfly must listen there";
    let port = |(address, bound): &(std::net::SocketAddr, Result<(), ErrorKind>)| match bound {
        Ok(()) => Finding::ok("port", format!("{address} is free"), why),
        Err(ErrorKind::AddrInUse) if facts.running => Finding::ok(
            "port",
            format!("{address} is in use, by a mayfly that runs"),
            why,
        ),
        Err(ErrorKind::AddrInUse) => {
            let fix = format!("ss -ltnp 'sport = :{}' shows who it is", address.port());
            Finding::fail("port", format!("somebody else listens on {address}"), why).fix(fix)
        }
        Err(ErrorKind::PermissionDenied) => {
            let why = "ports below 1024 need a privilege";
            let fix = "AmbientCapabilities=CAP_NET_BIND_SERVICE in the service's unit, or another port under [listen]";
            Finding::fail("port", format!("{address} is forbidden"), why).fix(fix)
        }
        Err(ErrorKind::AddrNotAvailable) => {
            let fix = "ip addr shows the addresses of this machine";
            Finding::fail(
                "port",
                format!("{address} is no address of this machine"),
                why,
            )
            .fix(fix)
        }
        Err(other) => Finding::fail("port", format!("{address} cannot be had: {other}"), why),
    };
    facts.ports.iter().map(port).collect()
}

fn certificates(facts: &Facts, config: &Config) -> Vec<Finding> {
    if facts.certificates.is_empty() {
        let why = "senders that check (MTA-STS, DANE) refuse what mayfly signs itself; the others do not look";
        return vec![Finding::ok(
            "certificate",
            "none given: mayfly makes one at each start",
            why,
        )];
    }
    let one = |(path, pair): &(std::path::PathBuf, Result<Pair, String>)| {
        certificate(path, pair, config, facts.now)
    };
    facts.certificates.iter().map(one).collect()
}

fn certificate(path: &Path, pair: &Result<Pair, String>, config: &Config, now: i64) -> Finding {
    let why = "senders that check (MTA-STS, DANE) deliver only to a good one";
    let file = path.display();
    let pair = match pair {
        Ok(pair) => pair,
        Err(wrong) => {
            return Finding::fail(
                "certificate",
                wrong.as_str(),
                "mayfly does not start without it",
            );
        }
    };
    let days = (pair.expires - now).div_euclid(86_400);
    let found = format!("{file} is for {}, {days} days left", pair.names.join(", "));
    let renew = "renew it, then systemctl reload mayfly";
    if days < 0 {
        return Finding::fail("certificate", format!("{file} has expired"), why).fix(renew);
    }
    if days < RENEWAL_DAYS {
        return Finding::warn("certificate", found, why).fix(renew);
    }
    if pair.key_is_open {
        let why = "every user of this machine can read its key";
        return Finding::warn("certificate", found, why).fix("chmod o= on the file with the key");
    }
    let host = &config.server.hostname;
    if config.tls.certificates.len() == 1 && !pair.names.iter().any(|own| covers(own, host)) {
        let why = format!(
            "the MX record should lead to server.hostname, {host}, and the certificate be for it"
        );
        return Finding::warn("certificate", found, why)
            .fix("a certificate for that name, or another server.hostname");
    }
    Finding::ok("certificate", found, why)
}

/// Names that lead nowhere are never a failure: a machine may be looked at before its records are published.
fn names(names: &[Name], config: &Config) -> Vec<Finding> {
    let own = names.iter().find_map(|name| match name {
        Name::Host(_, Ok(addresses)) => Some(addresses.as_slice()),
        _ => None,
    });
    let one = |name: &Name| match name {
        Name::Host(name, Ok(addresses)) => host(name, addresses),
        Name::Domain(domain, Ok(exchangers)) => mail(
            domain,
            exchangers,
            &config.server.hostname,
            own.unwrap_or(&[]),
        ),
        Name::Host(name, Err(why)) | Name::Domain(name, Err(why)) => {
            let found = format!("{name} could not be looked up: {why}");
            Finding::ok("dns", found, "senders look it up; mayfly itself never does")
        }
    };
    names.iter().map(one).collect()
}

/// Where `server.hostname` leads.
fn host(name: &str, addresses: &[IpAddr]) -> Finding {
    let why = "senders connect to it";
    let fix = format!("publish an A and an AAAA record for {name}");
    if addresses.is_empty() {
        return Finding::warn("dns", format!("{name} has no address"), why).fix(fix);
    }
    let found = format!("{name} is {}", listed(addresses));
    match addresses.iter().all(IpAddr::is_loopback) {
        true => {
            let found = format!("{found}, which is every machine's own");
            Finding::warn("dns", found, why).fix(fix)
        }
        false => Finding::ok("dns", found, why),
    }
}

fn listed(addresses: &[IpAddr]) -> String {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    addresses.join(", ")
}

/// Where the mail of a domain goes, seen from `host`, which has the addresses `own`.
fn mail(domain: &str, exchangers: &Exchangers, host: &str, own: &[IpAddr]) -> Finding {
    let why = "without it senders do not find this server";
    let elsewhere = |found| {
        let fix = format!("publish: {domain}. MX 10 {host}.");
        Finding::warn("dns", found, why).fix(fix)
    };
    match exchangers {
        Exchangers::Named(names) if names.iter().any(|mx| mx.eq_ignore_ascii_case(host)) => {
            Finding::ok("dns", format!("mail for {domain} goes to {host}"), why)
        }
        Exchangers::Named(names) => {
            let other = names.first().map_or("nobody", String::as_str);
            elsewhere(format!("mail for {domain} goes to {other}, not to {host}"))
        }
        Exchangers::Implicit(addresses) if addresses.is_empty() => {
            elsewhere(format!("{domain} has neither an MX record nor an address"))
        }
        Exchangers::Implicit(addresses) if addresses.iter().any(|it| own.contains(it)) => {
            let found = format!("{domain} has no MX record; its own address is that of {host}");
            let why = "without an MX record senders go to the domain's own address";
            Finding::ok("dns", found, why)
        }
        Exchangers::Implicit(addresses) => {
            let addresses = listed(addresses);
            elsewhere(format!(
                "{domain} has no MX record, so mail for it goes to its own address, {addresses}"
            ))
        }
        Exchangers::Refused => elsewhere(format!("{domain} says that it takes no mail (MX 0 .)")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::Verdict;
    use super::*;
    use crate::edge::probe::Unusable;
    use crate::server::machine::Whose;
    use crate::settings::Bytes;

    const DAY: i64 = 86_400;

    /// A machine on which nothing is wrong.
    fn healthy() -> Facts {
        Facts {
            config: Ok(Config::default()),
            running: false,
            whose: Whose::Own,
            kernel: "6.12.3-amd64".to_owned(),
            io_uring: Ok(()),
            files: [Some(1_024), Some(1 << 20)],
            own_tables: Ok(()),
            somaxconn: Some(16_384),
            swap: 0,
            kdump: false,
            memory: [Some(8 << 30), None],
            cpus: 4,
            ports: vec![(([127, 0, 0, 1], 2525).into(), Ok(()))],
            clock: Some(true),
            certificates: Vec::new(),
            names: Vec::new(),
            now: 1_000 * DAY,
        }
    }

    /// What a change of a healthy machine leads to: the findings that are not in order.
    fn after(change: impl FnOnce(&mut Facts)) -> Vec<(&'static str, Verdict)> {
        let mut facts = healthy();
        change(&mut facts);
        let findings = judge(&facts);
        for finding in &findings {
            assert!(
                !finding.found.is_empty() && !finding.why.is_empty(),
                "{finding:?}"
            );
        }
        let mut bad = findings;
        bad.retain(|finding| finding.verdict != Verdict::Ok);
        bad.iter()
            .map(|finding| (finding.check, finding.verdict))
            .collect()
    }

    fn config(facts: &mut Facts) -> &mut Config {
        facts.config.as_mut().expect("it is in order")
    }

    #[test]
    fn a_healthy_machine_is_in_order() {
        assert_eq!(after(|_| ()), []);
    }

    #[test]
    fn each_fault_of_the_machine_is_named() {
        use Verdict::{Fail, Warn};
        type Change = fn(&mut Facts);
        let table: &[(Change, &str, Verdict)] = &[
            (
                |facts| facts.config = Err("error: unknown key".to_owned()),
                "settings",
                Fail,
            ),
            (
                |facts| facts.kernel = "5.15.0-91-generic".to_owned(),
                "kernel",
                Fail,
            ),
            (|facts| facts.kernel = "6.0".to_owned(), "kernel", Fail),
            (
                |facts| facts.io_uring = Err(Unusable::Sysctl(2)),
                "io_uring",
                Fail,
            ),
            (
                |facts| facts.io_uring = Err(Unusable::Seccomp),
                "io_uring",
                Fail,
            ),
            (
                |facts| facts.io_uring = Err(Unusable::Memlock(65_536)),
                "io_uring",
                Fail,
            ),
            (
                |facts| facts.files = [Some(1_024), Some(1_024)],
                "open files",
                Warn,
            ),
            (
                |facts| facts.own_tables = Err("EPERM".to_owned()),
                "tables",
                Warn,
            ),
            (|facts| facts.somaxconn = Some(128), "backlog", Warn),
            (|facts| facts.swap = 1 << 30, "swap", Warn),
            (|facts| facts.kdump = true, "dumps", Warn),
            (|facts| facts.clock = Some(false), "clock", Warn),
            (|facts| config(facts).server.cores = 8, "cpus", Warn),
            (
                |facts| config(facts).store.memory = Bytes(9 << 30),
                "memory",
                Fail,
            ),
            (
                |facts| config(facts).store.memory = Bytes(8 << 30),
                "memory",
                Warn,
            ),
            (|facts| facts.memory[1] = Some(100 << 20), "memory", Warn),
        ];
        for (number, (change, check, verdict)) in table.iter().enumerate() {
            assert_eq!(after(change), [(*check, *verdict)], "case {number}");
        }
    }

    #[test]
    fn descriptors_are_counted_for_each_table() {
        use Verdict::Warn;
        let shared = after(|facts| {
            facts.files = [Some(20_000); 2];
            config(facts).server.descriptor_tables =
                crate::config::sections::DescriptorTables::Shared;
        });
        assert_eq!(
            shared,
            [("open files", Warn)],
            "one table of 20,000 for 50,000 connections"
        );
        assert_eq!(
            after(|facts| facts.files = [Some(20_000); 2]),
            [],
            "four of them"
        );
        assert_eq!(after(|facts| facts.clock = None), []);
    }

    #[test]
    fn limits_are_said_to_be_those_of_the_service_or_of_the_shell() {
        let found = |whose| {
            let facts = Facts { whose, ..healthy() };
            let mut findings = judge(&facts);
            findings.retain(|finding| ["open files", "cpus", "swap"].contains(&finding.check));
            findings.into_iter().map(|finding| finding.found)
        };
        assert!(found(Whose::Own).all(|found| found.ends_with("for this shell")));
        let service = "for the mayfly that runs (process 4711)";
        assert!(found(Whose::Process(4_711)).all(|found| found.ends_with(service)));
        assert_eq!(found(Whose::Own).count(), 3);
    }

    #[test]
    fn what_mends_the_machine_is_told_for_services_and_containers() {
        let mut facts = healthy();
        (facts.somaxconn, facts.swap) = (Some(128), 1 << 30);
        facts.files = [Some(1_024), Some(1_024)];
        facts.io_uring = Err(Unusable::Memlock(65_536));
        let findings = judge(&facts);
        for (check, service, container) in [
            ("backlog", "/etc/sysctl.d", "--sysctl net.core.somaxconn="),
            ("swap", "MemorySwapMax=0", "--memory-swap"),
            ("open files", "LimitNOFILE=", "--ulimit nofile="),
            ("io_uring", "LimitMEMLOCK=infinity", "--ulimit memlock=-1"),
        ] {
            let of_it = findings.iter().find(|finding| finding.check == check);
            let fix = of_it.and_then(|finding| finding.fix.as_deref());
            let fix = fix.expect("it is not in order");
            assert!(fix.contains(service) && fix.contains(container), "{fix}");
        }
    }

    #[test]
    fn ports_are_free_or_those_of_a_mayfly_that_runs() {
        let with = |kind: ErrorKind, running: bool| {
            after(|facts| {
                facts.ports[0].1 = Err(kind);
                facts.running = running;
            })
        };
        assert_eq!(with(ErrorKind::AddrInUse, true), []);
        assert_eq!(with(ErrorKind::AddrInUse, false), [("port", Verdict::Fail)]);
        for kind in [
            ErrorKind::PermissionDenied,
            ErrorKind::AddrNotAvailable,
            ErrorKind::Other,
        ] {
            assert_eq!(with(kind, true), [("port", Verdict::Fail)], "{kind}");
        }
    }

    #[test]
    fn certificates_are_good_for_a_while_and_for_this_server() {
        let with = |names: &[&str], days: i64, key_is_open: bool| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            let pair = Pair {
                names,
                expires: (1_000 + days) * DAY,
                key_is_open,
            };
            let config = Config {
                server: crate::config::Server {
                    hostname: "mx.example.com".to_owned(),
                    ..Config::default().server
                },
                tls: crate::config::Tls {
                    certificates: vec![crate::config::Certificate {
                        chain: "chain.pem".into(),
                        key: "key.pem".into(),
                    }],
                    ..Config::default().tls
                },
                ..Config::default()
            };
            certificate(Path::new("chain.pem"), &Ok(pair), &config, 1_000 * DAY).verdict
        };
        assert_eq!(with(&["mx.example.com"], 60, false), Verdict::Ok);
        assert_eq!(with(&["*.example.com"], 60, false), Verdict::Ok);
        assert_eq!(with(&["*.com", "example.com"], 60, false), Verdict::Warn);
        assert_eq!(with(&["mx.example.com"], 13, false), Verdict::Warn);
        assert_eq!(with(&["mx.example.com"], -1, false), Verdict::Fail);
        assert_eq!(with(&["mx.example.com"], 60, true), Verdict::Warn);
        let unreadable = Err("cannot read it".to_owned());
        let found = certificate(Path::new("chain.pem"), &unreadable, &Config::default(), 0);
        assert_eq!(found.verdict, Verdict::Fail);
    }

    #[test]
    fn names_are_never_a_failure() {
        let host = |answer| {
            let name = Name::Host("mx.example.com".to_owned(), answer);
            names(&[name], &Config::default())[0].verdict
        };
        let [local, public] = [[127, 0, 1, 1].into(), [192, 0, 2, 1].into()];
        assert_eq!(host(Ok(vec![public])), Verdict::Ok);
        assert_eq!(host(Ok(vec![local, public])), Verdict::Ok);
        assert_eq!(host(Ok(vec![local])), Verdict::Warn);
        assert_eq!(host(Ok(Vec::new())), Verdict::Warn);
        assert_eq!(host(Err("no name server".to_owned())), Verdict::Ok);
    }

    #[test]
    fn mail_is_followed_to_its_server() {
        let [own, other]: [IpAddr; 2] = [[192, 0, 2, 1].into(), [192, 0, 2, 2].into()];
        let domain = |exchangers: Exchangers| {
            let known = [
                Name::Host("mayfly.test".to_owned(), Ok(vec![own])),
                Name::Domain("example.com".to_owned(), Ok(exchangers)),
            ];
            names(&known, &Config::default()).remove(1)
        };
        let named = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            domain(Exchangers::Named(names)).verdict
        };
        assert_eq!(named(&["mayfly.test"]), Verdict::Ok);
        assert_eq!(named(&["other.test", "MAYFLY.test"]), Verdict::Ok);
        assert_eq!(named(&["other.test"]), Verdict::Warn);
        let none = domain(Exchangers::Implicit(Vec::new()));
        assert_eq!(
            none.fix.as_deref(),
            Some("publish: example.com. MX 10 mayfly.test.")
        );
        let itself = |address| domain(Exchangers::Implicit(vec![address]));
        assert_eq!(itself(own).verdict, Verdict::Ok);
        assert_eq!(itself(other).verdict, Verdict::Warn);
        assert!(itself(other).found.ends_with("192.0.2.2"));
        assert_eq!(domain(Exchangers::Refused).verdict, Verdict::Warn);
    }
}
