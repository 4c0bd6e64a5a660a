//! What must hold of any message under any policy for attachments: what is left can be read, and nothing that the policy does
//! not let pass is in it.

#![forbid(unsafe_code)]

use mayfly::policy::attachments::kind::Kind;
use mayfly::policy::attachments::{Part, Policies, Policy, Rules};
use mayfly::reading::removal::{Outcome, Seen, remove};
use mayfly::reading::{Limits, message};
use mayfly::settings::Bytes;

/// One of a few policies.
fn policy(choice: u8) -> Policy {
    use mayfly::policy::attachments::Action::{Cap, Refuse, Strip};
    let rules = Rules {
        policy: [Cap, Strip, Refuse][usize::from(choice % 3)],
        part_bytes_max: Bytes(u64::from(choice) * 8),
        total_bytes_max: Bytes(u64::from(choice) * 16),
        blocked_kinds: vec![
            Kind::Archive,
            Kind::Executable,
            Kind::Html,
            Kind::Macros,
            Kind::Message,
            Kind::Script,
            Kind::Shortcut,
        ],
        ..Rules::default()
    };
    let policies = Policies::new(&rules);
    let policy = policies.of("any.test").expect("not everything is kept");
    Policy::clone(policy)
}

/// Takes out what a policy does not let pass; says how many parts that are.
fn stripped(raw: &[u8], policy: &Policy) -> (Outcome, usize) {
    let (mut judge, mut gone) = (policy.judge(), 0);
    let outcome = remove(raw, &Limits::default(), |seen: &Seen<'_>| {
        let why = judge.look(&Part {
            names: seen.names,
            said: seen.said,
            bytes: seen.bytes,
            is_shown: seen.is_shown,
        })?;
        gone += 1;
        Some(why.to_string())
    });
    (outcome, gone)
}

/// Fuzz body: a policy and a message.
pub(crate) fn fuzz_attachments(choice: u8, raw: &[u8]) {
    let policy = policy(choice);
    let (outcome, gone) = stripped(raw, &policy);
    match outcome {
        Outcome::Changed(left) => {
            let said = "This attachment was removed when the message arrived.";
            assert!(gone > 0 && left.len() <= raw.len() + gone * 4_000);
            let (again, more) = stripped(&left, &policy);
            assert_eq!((again, more), (Outcome::Unchanged, 0), "it stays as it is");
            let read = message::read(&left, &Limits::default());
            assert!(
                read.text.contains(said)
                    || read.is_truncated
                    || read.is_malformed
                    || read.html.is_some()
            );
        }
        Outcome::Unchanged => assert_eq!(gone, 0),
        Outcome::TooComplex => assert!(message::read(raw, &Limits::default()).is_truncated),
    }
}
