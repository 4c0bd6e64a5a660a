//! How many instructions the engine's parts take: the gate against what would make them slower.
//!
//! Time depends on what else a machine does, instructions do not. Each bench runs once under valgrind's callgrind, and its
//! count is held against the one in `benches/instructions.txt`. One that rose by more than
//! [`counts::TOLERANCE_PERCENT`] fails the run, and so does one that is more than [`counts::GROWTH_PERCENT`] dearer with a
//! million mailboxes than with a thousand.
//!
//! `cargo bench --no-default-features --bench instructions` compares, with `MAYFLY_REWRITE=1` before it records anew. With
//! the name of a bench behind it (`-- '*deliver*'`) it shows gungraun's own figures of that one and compares nothing.

#![forbid(unsafe_code)]
#![allow(
    missing_docs,
    unused_qualifications,
    reason = "of what gungraun's macros make"
)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it reports")]

mod counts;
mod engine;
#[path = "../tests/kept/mod.rs"]
mod kept;
#[path = "../tests/world/mod.rs"]
mod world;

use counts::Counts;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// How the counts are recorded anew.
const RECORD: &str = "`MAYFLY_REWRITE=1 cargo bench --no-default-features --bench instructions`";

/// Set for the process that counts; the one around it compares.
const COUNTING: &str = "MAYFLY_COUNTING";

fn main() -> ExitCode {
    let is_bench = env::args().nth(1).is_some_and(|it| it == "--gungraun-run");
    if is_bench || env::var_os(COUNTING).is_some() {
        measured::run();
        return ExitCode::SUCCESS;
    }
    // What was chosen is looked at, not held against anything.
    let chosen: Vec<String> = env::args().skip(1).filter(|it| it != "--bench").collect();
    let result = match chosen.is_empty() {
        true => gate(),
        false => count(&chosen).map(drop),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Counts, and says what is not as it was.
fn gate() -> Result<(), String> {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt");
    let run = Counts {
        made_with: made_with(),
        of: count(&[])?.of,
    };
    if env::var_os("MAYFLY_REWRITE").is_some() {
        fs::write(&recorded, run.to_text(RECORD)).map_err(|error| error.to_string())?;
    }
    let text = fs::read_to_string(&recorded).map_err(|error| error.to_string())?;
    let comparison = Counts::from_text(&text)
        .map_err(|line| format!("benches/instructions.txt: no count: {line}"))?
        .compare(&run);
    println!("{}", run.to_text(RECORD));
    for (name, few, many) in run.growth() {
        let more = counts::change(few, many);
        println!("{name}: a million against a thousand: {more:+.1} %");
    }
    for note in &comparison.notes {
        println!("note: {note}");
    }
    let offences = [comparison.offences, run.that_grow()].concat();
    match offences.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "{}\nIf this is as it must be, record it with {RECORD} and say why in the change.",
            offences.join("\n")
        )),
    }
}

/// Runs the benches under valgrind, all of them if none is chosen.
fn count(chosen: &[String]) -> Result<Counts, String> {
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let built = built.ok_or("no folder to build in")?;
    let home = built.join("instructions");
    // Counts of benches that are no more would be taken for theirs.
    let _ = fs::remove_dir_all(&home);
    let program = env::current_exe().map_err(|error| error.to_string())?;
    // Where tests/setup puts it.
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/gungraun/bin");
    let others = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([tools].into_iter().chain(env::split_paths(&others)));
    let status = Command::new(program)
        .args(["--bench", "--nosummary", "--parallel=2"])
        .args(chosen)
        .env("PATH", path.map_err(|error| error.to_string())?)
        .env("GUNGRAUN_HOME", &home)
        .env(COUNTING, "1")
        .status()
        .map_err(|error| error.to_string())?;
    if !status.success() {
        return Err(format!(
            "counting failed ({status}); tests/setup installs what it needs"
        ));
    }
    let mut counts = Counts::default();
    for profile in profiles(home)? {
        let (name, count) = read_profile(&profile)
            .ok_or_else(|| format!("{}: no count is in it", profile.display()))?;
        counts.of.insert(name, count);
    }
    Ok(counts)
}

/// The profiles below a folder.
fn profiles(home: PathBuf) -> Result<Vec<PathBuf>, String> {
    let (mut found, mut folders) = (Vec::new(), vec![home]);
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder);
        for entry in entries.map_err(|error| format!("{}: {error}", folder.display()))? {
            let path = entry.map_err(|error| error.to_string())?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                folders.push(path);
            } else if name.starts_with("callgrind.") && name.ends_with(".out") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// The name and the instructions of a profile: `callgrind.FUNCTION.of_WHAT.out` is of FUNCTION/WHAT, and what all of it took is in
/// a line of its own.
fn read_profile(path: &Path) -> Option<(String, u64)> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_prefix("callgrind.")?.strip_suffix(".out")?;
    let text = fs::read_to_string(path).ok()?;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("summary: "))?;
    let instructions = total.split_whitespace().next()?.parse().ok()?;
    Some((name.replacen(".of_", "/", 1), instructions))
}

/// What else the counts depend on.
fn made_with() -> String {
    let versions = [
        ("rustc", "-V"),
        ("valgrind", "--version"),
        ("ldd", "--version"),
    ];
    let versions = versions.map(|(program, option)| {
        let output = Command::new(program).arg(option).output();
        let text = output.map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
        let text = text.unwrap_or_default();
        text.lines().next().unwrap_or("unknown").trim().to_owned()
    });
    format!("{} for {}", versions.join(", "), env::consts::ARCH)
}

/// What is counted. It is a module because the macro makes a `main` of its own.
mod measured {
    use crate::engine::mailboxes::{self, Crowd, Here, Nobody, Timers, into_mailbox, shard};
    use crate::engine::protocol::{self, COMMANDS, Visit};
    use crate::kept::{Kept, Nowhere, chunks, data};
    use crate::world;
    use gungraun::{
        Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
    };
    use mayfly::mail::Address;
    use mayfly::smtp::command::parse;
    use mayfly::store::Shard;
    use std::hint::black_box;

    /// What is too small to be counted once is done so often.
    const TIMES: usize = 100;

    #[library_benchmark]
    #[bench::of_100(setup = protocol::lines)]
    fn line(input: Vec<u8>) -> Vec<u8> {
        protocol::read_lines(&input);
        input
    }

    fn command_named(name: &str) -> &'static [u8] {
        let (_, text) = COMMANDS
            .iter()
            .find(|(it, _)| *it == name)
            .expect("one of them");
        text
    }

    #[library_benchmark]
    #[bench::of_mail(args = ("mail"), setup = command_named)]
    #[bench::of_rcpt(args = ("rcpt"), setup = command_named)]
    #[bench::of_data(args = ("data"), setup = command_named)]
    #[bench::of_unknown(args = ("unknown"), setup = command_named)]
    fn command(text: &'static [u8]) {
        for _ in 0..TIMES {
            let _ = black_box(parse(black_box(text)));
        }
    }

    #[library_benchmark]
    #[bench::of_4kib(args = (4 << 10), setup = data)]
    #[bench::of_1mib(args = (1 << 20), setup = data)]
    fn data_reader(input: Vec<u8>) -> Vec<u8> {
        protocol::read_data(&input);
        input
    }

    #[library_benchmark]
    #[bench::of_4kib(args = (4 << 10), setup = data)]
    fn chunk_reader(input: Vec<u8>) -> Vec<u8> {
        protocol::read_chunk(&input);
        input
    }

    #[library_benchmark]
    #[bench::of_4kib(args = (4 << 10), setup = Visit::new)]
    #[bench::of_1mib(args = (1 << 20), setup = Visit::new)]
    fn session(visit: Visit) -> Visit {
        black_box(visit.converse());
        visit
    }

    /// One that has had a message already, and the next.
    fn kept(len: usize) -> (Kept<Nowhere>, Vec<u8>) {
        let (mut kept, text) = (Kept::new(), data(len));
        kept.message(&text);
        (kept, text)
    }

    #[library_benchmark]
    #[bench::of_4kib(args = (4 << 10), setup = kept)]
    fn message((mut kept, text): (Kept<Nowhere>, Vec<u8>)) -> Kept<Nowhere> {
        black_box(kept.message(black_box(&text)));
        std::mem::forget(text);
        kept
    }

    fn kept_with_chunks(len: usize) -> (Kept<Nowhere>, Vec<Vec<u8>>) {
        let (mut kept, writes) = (Kept::new(), chunks(&data(4 << 10), len));
        kept.chunks(&writes);
        (kept, writes)
    }

    #[library_benchmark]
    #[bench::of_2kib(args = (2 << 10), setup = kept_with_chunks)]
    fn message_in_chunks(
        (mut kept, writes): (Kept<Nowhere>, Vec<Vec<u8>>),
    ) -> (Kept<Nowhere>, Vec<Vec<u8>>) {
        black_box(kept.chunks(black_box(&writes)));
        (kept, writes)
    }

    /// One whose mailbox is full, so that each message takes the place of the oldest.
    fn kept_with_mailboxes(mailboxes: u32) -> (Kept<Here>, Vec<u8>) {
        let (mut kept, text) = (into_mailbox(mailboxes), data(4 << 10));
        for _ in 0..TIMES {
            kept.message(&text);
        }
        (kept, text)
    }

    #[library_benchmark]
    #[bench::of_4kib(args = (1_000), setup = kept_with_mailboxes)]
    fn message_into_mailbox((mut kept, text): (Kept<Here>, Vec<u8>)) -> (Kept<Here>, Vec<u8>) {
        for _ in 0..TIMES {
            black_box(kept.message(black_box(&text)));
        }
        (kept, text)
    }

    #[library_benchmark]
    #[bench::of_1000(args = (1_000), setup = Crowd::new)]
    fn lease_and_deliver(mut crowd: Crowd) -> Crowd {
        for _ in 0..TIMES {
            crowd.deliver();
        }
        crowd
    }

    #[library_benchmark]
    #[bench::of_1000(args = (1_000), setup = Crowd::steady)]
    fn create_and_expire(mut crowd: Crowd) -> Crowd {
        for _ in 0..TIMES {
            black_box(crowd.create_and_expire());
        }
        crowd
    }

    // Both, with few and with many. To set a million up takes longer than all else here, so that is done once.
    #[library_benchmark]
    #[bench::of_1000(args = (1_000), setup = Crowd::steady)]
    #[bench::of_1000000(args = (1_000_000), setup = Crowd::steady)]
    fn deliver_create_and_expire(mut crowd: Crowd) -> Crowd {
        for _ in 0..TIMES {
            crowd.deliver();
            black_box(crowd.create_and_expire());
        }
        crowd
    }

    #[library_benchmark]
    #[bench::of_1000_mailboxes(args = (1_000), setup = shard)]
    fn expire_all(shard: Shard<Nobody>) -> Shard<Nobody> {
        mailboxes::expire_all(shard)
    }

    #[library_benchmark]
    #[bench::of_1000(args = (1_000), setup = Timers::new)]
    #[bench::of_1000000(args = (1_000_000), setup = Timers::new)]
    fn wheel_insert_and_remove(mut timers: Timers) -> Timers {
        for _ in 0..TIMES {
            timers.move_one();
        }
        timers
    }

    fn addresses(count: u32) -> Vec<Address> {
        (0..count).map(world::address).collect()
    }

    #[library_benchmark]
    #[bench::of_100(args = (100), setup = addresses)]
    fn owner_of_address(addresses: Vec<Address>) -> Vec<Address> {
        black_box(mailboxes::owners(black_box(&addresses)));
        addresses
    }

    library_benchmark_group!(
        name = engine,
        benchmarks = [
            line,
            command,
            data_reader,
            chunk_reader,
            session,
            message,
            message_in_chunks,
            message_into_mailbox,
            lease_and_deliver,
            create_and_expire,
            deliver_create_and_expire,
            expire_all,
            wheel_insert_and_remove,
            owner_of_address,
        ]
    );

    main!(
        config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
        library_benchmark_groups = engine
    );

    /// Counts, or is counted: the arguments say which.
    pub(crate) fn run() {
        main();
    }
}
