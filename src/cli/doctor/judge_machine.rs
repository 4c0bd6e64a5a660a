//! Verdicts on the machine: kernel, limits, memory, clock.

use super::facts::{Facts, Finding};
use crate::cli::status::bytes;
use crate::config::Config;
use crate::config::sections::DescriptorTables;

/// The oldest kernel that has all that is needed: multishot receive and deferred task work.
const KERNEL_MIN: (u32, u32) = (6, 1);

/// What the process needs beside mail, in bytes: the binary, buffers, tables, connections.
const BESIDE_MAIL: u64 = 128 << 20;

pub(super) fn kernel(facts: &Facts) -> Finding {
    let why = "multishot receive and deferred task work came with Linux 6.1";
    let found = format!("Linux {}", facts.kernel);
    let mut numbers = facts
        .kernel
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) < KERNEL_MIN => {
            Finding::fail("kernel", found, why).fix("run Linux 6.1 or newer")
        }
        _ => Finding::ok("kernel", found, why),
    }
}

pub(super) fn io_uring(facts: &Facts) -> Finding {
    match &facts.io_uring {
        Ok(()) => Finding::ok("io_uring", "can be used", "mail comes in through it"),
        Err(unusable) => {
            let (what, why, fix) = unusable.parts();
            Finding::fail("io_uring", what, why).fix(fix)
        }
    }
}

/// One descriptor for each connection, and some for everything else.
pub(super) fn files(facts: &Facts, config: &Config) -> Finding {
    let why = "each connection needs a descriptor";
    // mayfly raises the soft limit to the hard one by itself.
    let Some(limit) = facts.files[1] else {
        return Finding::ok("open files", "any number", why);
    };
    let per_core =
        config.server.descriptor_tables == DescriptorTables::PerCore && facts.own_tables.is_ok();
    let cores = match config.server.cores {
        0 => facts.cpus as u64,
        cores => cores.into(),
    };
    let tables = if per_core { cores } else { 1 };
    let who = facts.who();
    let found = format!("{limit} in each of {tables} descriptor tables, for {who}");
    let needed = u64::from(config.admission.connections_max);
    let room = limit.saturating_mul(tables);
    match needed {
        0 => Finding::ok("open files", found, why),
        needed if room > needed => Finding::ok("open files", found, why),
        needed => Finding::warn(
            "open files",
            format!("{found}, and admission.connections_max is {needed}"),
            "connections beyond that wait, though they are allowed",
        )
        .fix("LimitNOFILE=1048576 in the service's unit, ulimit -n 1048576, or --ulimit nofile=1048576 for a container"),
    }
}

pub(super) fn tables(facts: &Facts, config: &Config) -> Finding {
    let why = "with a table for each core the limit on open files counts for each core";
    match &facts.own_tables {
        _ if config.server.descriptor_tables == DescriptorTables::Shared => {
            Finding::ok("tables", "one for all cores, as the settings say", why)
        }
        Ok(()) => Finding::ok("tables", "each core can have its own", why),
        Err(forbidden) => Finding::warn(
            "tables",
            format!("cores cannot have their own: {forbidden}"),
            why,
        )
        .fix("allow the system call unshare, or set server.descriptor_tables = \"shared\""),
    }
}

pub(super) fn somaxconn(facts: &Facts, config: &Config) -> Finding {
    let why = "a burst of connections beyond it is lost";
    let backlog = config.listen.backlog;
    match facts.somaxconn {
        Some(limit) if limit < backlog => Finding::warn(
            "backlog",
            format!("net.core.somaxconn is {limit}, and listen.backlog is {backlog}"),
            why,
        )
        .fix(format!(
            "echo net.core.somaxconn={backlog} > /etc/sysctl.d/90-mayfly.conf && sysctl --system; --sysctl net.core.somaxconn={backlog} for a container"
        )),
        Some(limit) => Finding::ok("backlog", format!("net.core.somaxconn is {limit}"), why),
        None => Finding::ok("backlog", "net.core.somaxconn cannot be read in here", why),
    }
}

pub(super) fn swap(facts: &Facts) -> Finding {
    let why = "mail must not reach a disk, and swap is one";
    match facts.swap {
        0 => Finding::ok("swap", format!("none for {}", facts.who()), why),
        some => Finding::warn("swap", format!("{} for {}", bytes(some), facts.who()), why)
            .fix("swapoff -a, or MemorySwapMax=0 in the service's unit; --memory-swap as large as --memory for a container"),
    }
}

pub(super) fn dumps(facts: &Facts) -> Finding {
    let why = "mail must not reach a disk; mayfly forbids dumps of itself, not of the machine";
    match facts.kdump {
        true => Finding::warn(
            "dumps",
            "a crash of the machine writes its memory to a disk (kdump)",
            why,
        )
        .fix("systemctl disable --now kdump-tools (Debian, Ubuntu), or kdump (Fedora, RHEL, SUSE)"),
        false => Finding::ok("dumps", "none of the machine, none of mayfly", why),
    }
}

pub(super) fn memory(facts: &Facts, config: &Config) -> Finding {
    let why = "who is out of memory is ended, and all mail with it";
    let [machine, group] = facts.memory;
    let Some(room) = [machine, group].into_iter().flatten().min() else {
        return Finding::ok("memory", "cannot be read in here", why);
    };
    let place = match group {
        Some(group) if group == room => format!("for the control group of {}", facts.who()),
        _ => "of the machine".to_owned(),
    };
    let budget = match config.store.memory.0 {
        0 => room / 2,
        budget => budget,
    };
    let found = format!("{} {place}, {} of it for mail", bytes(room), bytes(budget));
    let too_much = |finding: Finding| {
        let fits = room.saturating_sub(BESIDE_MAIL).max(room / 2) >> 20;
        finding.fix(format!(
            "store.memory = \"{fits} MiB\", or a higher limit (MemoryMax=, --memory)"
        ))
    };
    if budget > room {
        return too_much(Finding::fail("memory", found, why));
    }
    if budget + BESIDE_MAIL > room {
        return too_much(Finding::warn("memory", found, why));
    }
    Finding::ok("memory", found, why)
}

pub(super) fn cpus(facts: &Facts, config: &Config) -> Finding {
    let why = "each core is a thread of its own on a CPU of its own; two on one are both late";
    let (cpus, cores) = (facts.cpus, config.server.cores as usize);
    if cores > cpus {
        let found = format!("{cpus} for {}, and server.cores is {cores}", facts.who());
        return Finding::warn("cpus", found, why).fix(format!(
            "server.cores = {cpus}, or more CPUs (CPUQuota=, --cpus)"
        ));
    }
    Finding::ok("cpus", format!("{cpus} for {}", facts.who()), why)
}

pub(super) fn clock(facts: &Facts) -> Finding {
    let why = "dates in mail, and the ends of addresses that prove themselves, go by it";
    match facts.clock {
        Some(true) => Finding::ok("clock", "in step", why),
        Some(false) => Finding::warn("clock", "not in step with any other", why)
            .fix("timedatectl set-ntp true, or install chrony"),
        None => Finding::ok("clock", "whether it is in step cannot be told in here", why),
    }
}
