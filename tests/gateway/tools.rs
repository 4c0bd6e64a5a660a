//! Other people's programs, run to their end.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, getrlimit, pidfd_open, setrlimit};
use std::io::Write as _;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

/// A program of the tests, which ends in time. Postfix's tools live where only root looks by default.
pub fn program(name: &str) -> Command {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    let mut command = Command::new("timeout");
    command
        .env("PATH", path)
        .args(["--kill-after=5", "120", name]);
    command
}

/// Lets this process, and those that it starts, open as many files as the machine allows; says how many, if not any number.
pub fn raise_the_limit_on_files() -> Option<u64> {
    let files = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: files,
        maximum: files,
    };
    setrlimit(Resource::Nofile, raised).expect("raised");
    files
}

/// Runs a program to its end with this input.
pub fn run(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|why| panic!("{command:?}: {why} (tests/setup installs what is missing)"));
    let mut stdin = child.stdin.take().expect("piped");
    // A program that does not want its input may end before it has read it.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

/// Runs a program that must succeed; returns what it said.
pub fn succeed(command: &mut Command, input: &str) -> String {
    let output = run(command, input);
    let said = said(&output);
    assert!(
        output.status.success(),
        "{command:?} failed with {}:\n{said}",
        output.status
    );
    said
}

/// What a program said, on both streams.
pub fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// Waits for a child, but not for ever.
pub fn wait(child: &mut Child, patience: Duration) -> ExitStatus {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let ended =
        pidfd_open(pid.expect("a process"), PidfdFlags::empty()).expect("it can be watched");
    let patience = Timespec::try_from(patience).expect("not too long");
    let mut watched = [PollFd::new(&ended, PollFlags::IN)];
    if poll(&mut watched, Some(&patience)).expect("waited") == 0 {
        let _ = child.kill();
        panic!("process {} does not end", child.id());
    }
    child.wait().expect("it has ended")
}
