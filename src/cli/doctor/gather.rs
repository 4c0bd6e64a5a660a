//! Looks at the machine. It changes nothing, and asks nobody but the kernel, the ports of the settings and a name server.

use super::facts::{Facts, Name, Pair};
use super::{dns, service};
use crate::cli::http::{Base, Call, Client};
use crate::cli::status;
use crate::config::{Config, MailListener};
use crate::control::status::Status;
use crate::edge::ring::process;
use crate::edge::{certificates, probe, socket};
use crate::server;
use crate::server::machine::{self, Whose};
use rustix::process::{Resource, getrlimit};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The domains that are looked up at most: a name server is not to be flooded.
const DOMAINS_MAX: usize = 20;

/// How long the process that may run already may take to answer.
const RUNNING_TIME: Duration = Duration::from_secs(2);

/// Everything that can be seen, for the settings in `path`.
pub(super) fn gather(path: Option<&Path>, dns: bool) -> Facts {
    let config = server::load(path)
        .map(|loaded| loaded.config)
        .map_err(|why| why.to_string());
    let defaults = Config::default();
    let in_force = config.as_ref().unwrap_or(&defaults);
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let running = ask_running(in_force);
    let service = running
        .as_ref()
        .and_then(service::find)
        .and_then(|process| Some((process, service::files(process)?)));
    let (whose, files) = service.map_or_else(
        || {
            let own = getrlimit(Resource::Nofile);
            (Whose::Own, [own.current, own.maximum])
        },
        |(process, files)| (Whose::Process(process), files),
    );
    Facts {
        running: running.is_some(),
        whose,
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned()),
        io_uring: probe::io_uring(),
        files,
        own_tables: own_tables(),
        somaxconn: number("/proc/sys/net/core/somaxconn")
            .and_then(|limit| u32::try_from(limit).ok()),
        swap: swap(whose),
        kdump: number("/sys/kernel/kexec_crash_loaded") == Some(1),
        memory: [
            machine::machine_bytes("MemTotal:"),
            machine::group_bytes(whose, "memory.max"),
        ],
        cpus: machine::cpus(whose).len(),
        ports: ports(in_force),
        clock: process::clock_is_in_step().ok(),
        certificates: read_certificates(in_force),
        names: if dns { names(in_force) } else { Vec::new() },
        now: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        config,
    }
}

fn number(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Tried on a thread that ends at once: what it changes is gone with it.
fn own_tables() -> Result<(), String> {
    std::thread::spawn(|| process::own_descriptor_table().map_err(|why| why.to_string()))
        .join()
        .unwrap_or_else(|_| Err("it could not be tried".to_owned()))
}

/// What of the machine's swap the control groups around a process leave it, in bytes.
fn swap(whose: Whose) -> u64 {
    let machine = machine::machine_bytes("SwapTotal:").unwrap_or(0);
    machine::group_bytes(whose, "memory.swap.max").map_or(machine, |group| group.min(machine))
}

/// What a mayfly says of itself that answers where the settings put the operator's side.
fn ask_running(config: &Config) -> Option<Status> {
    let address = config.listen.operator.first()?;
    if address.port() == 0 {
        return None;
    }
    let base = Base::parse(&format!("http://{}", reachable(*address))).ok()?;
    let client = Client::new(base)
        .ok()?
        .patient_for(Duration::ZERO)
        .answered_in(RUNNING_TIME);
    let answer = client.json(&Call::get("/status", None)).ok()?;
    // Anybody's JSON can be read, with nothing in it.
    status::read(&client, answer)
        .ok()
        .filter(|status| !status.phase.is_empty())
}

/// Where somebody on this machine finds who listens on any address.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        ip => ip,
    };
    (ip, address.port()).into()
}

fn ports(config: &Config) -> Vec<(SocketAddr, Result<(), ErrorKind>)> {
    let listen = &config.listen;
    let mail = listen
        .smtp
        .iter()
        .chain(&listen.smtps)
        .map(|MailListener { address, .. }| *address);
    let http = listen.http.iter().chain(&listen.operator).copied();
    mail.chain(http)
        .map(|address| {
            // Nobody is ever accepted on it, and it is closed at once.
            let claimed = socket::claim(address).map(|_| ());
            (address, claimed.map_err(|why| why.kind()))
        })
        .collect()
}

fn read_certificates(config: &Config) -> Vec<(PathBuf, Result<Pair, String>)> {
    let read = |given: &crate::config::Certificate| {
        let pair =
            certificates::load(std::slice::from_ref(given), &[], 0).map_err(|why| why.to_string());
        let pair = pair.and_then(|identities| {
            let identity = identities.first().ok_or("it holds no certificate")?;
            let mode = std::fs::metadata(&given.key).map_or(0, |file| file.permissions().mode());
            Ok(Pair {
                names: identity.names().to_vec(),
                expires: identity.expires_unix_secs,
                key_is_open: mode & 0o004 != 0,
            })
        });
        (given.chain.clone(), pair)
    };
    config.tls.certificates.iter().map(read).collect()
}

/// What DNS says of the server's name and of its domains, as far as the world has such names.
fn names(config: &Config) -> Vec<Name> {
    let mut names = Vec::new();
    let resolv_conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let server = dns::name_server(&resolv_conf)
        .map(|ip| SocketAddr::from((ip, 53)))
        .ok_or("/etc/resolv.conf names no name server");
    let host = &config.server.hostname;
    if is_public(host) {
        let addresses = match server {
            Ok(server) => dns::addresses(host, server),
            Err(none) => Err(none.to_owned()),
        };
        names.push(Name::Host(host.clone(), addresses));
    }
    let domains = config
        .recipients
        .domains
        .iter()
        .filter(|domain| is_public(domain));
    for domain in domains.take(DOMAINS_MAX) {
        let exchangers = match server {
            Ok(server) => dns::exchangers(domain, server),
            Err(none) => Err(none.to_owned()),
        };
        let unreachable = exchangers.is_err();
        names.push(Name::Domain(domain.clone(), exchangers));
        // Who does not answer once is not asked for every domain.
        if unreachable {
            break;
        }
    }
    names
}

/// Whether the world could know a name: not one that is kept for tests and examples (RFC 6761).
fn is_public(name: &str) -> bool {
    let last = name
        .trim_end_matches('.')
        .rsplit('.')
        .next()
        .unwrap_or_default();
    name.contains('.') && !["test", "example", "invalid", "localhost", "local"].contains(&last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_for_tests_are_not_looked_up() {
        for (name, public) in [
            ("mx.mayfly.test", false),
            ("localhost", false),
            ("mail.example.com", true),
            ("a.example", false),
        ] {
            assert_eq!(is_public(name), public, "{name}");
        }
    }

    #[test]
    fn who_listens_everywhere_is_found_here() {
        for (address, found) in [
            ("0.0.0.0:9925", "127.0.0.1:9925"),
            ("[::]:9925", "[::1]:9925"),
            ("192.0.2.1:9925", "192.0.2.1:9925"),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(reachable(address).to_string(), found);
        }
    }

    #[test]
    fn the_machine_of_the_tests_can_be_looked_at() {
        let facts = gather(None, false);
        assert!(facts.kernel.contains('.') && facts.cpus > 0);
        assert_eq!((facts.io_uring, facts.names), (Ok(()), Vec::new()));
        assert_eq!(facts.ports.len(), 8);
    }
}
