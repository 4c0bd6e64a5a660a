//! Completions and pages for `man`, as the programs that read them take them.

use crate::gateway::tools;
use crate::user::mayfly;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

#[test]
fn bash_completes_commands_and_options() {
    let (code, script, stderr) = mayfly(&["completions", "bash"], &[]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let file = folder("completions").join("mayfly.bash");
    std::fs::write(&file, script).expect("written");
    for (words, expected) in [
        ("mayfly mailb", "mailbox"),
        ("mayfly mailbox w", "watch wait"),
        ("mayfly mailbox wait --time", "--timeout"),
        ("mayfly completions z", "zsh"),
    ] {
        let script = format!(
            "source {} && COMP_WORDS=({words}) && COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)) && \
             _mayfly mayfly \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\" && echo \"${{COMPREPLY[*]}}\"",
            file.display()
        );
        let printed = tools::succeed(tools::program("bash").args(["-c", &script]), "");
        assert_eq!(printed.trim(), expected, "{words}");
    }
}

#[test]
fn other_shells_get_all_commands() {
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let (code, script, _) = mayfly(&["completions", shell], &[]);
        assert_eq!(code, Some(0));
        for word in ["mailbox", "check-config", "doctor", "token-file"] {
            assert!(script.contains(word), "{word} for {shell}");
        }
    }
    assert_eq!(mayfly(&["completions", "csh"], &[]).0, Some(2));
}

#[test]
fn mandoc_finds_nothing_wrong_with_any_page() {
    let folder = folder("man");
    let (code, stdout, stderr) = mayfly(&["man", "--out", &folder.to_string_lossy()], &[]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), "", ""));
    let mut pages: Vec<String> = std::fs::read_dir(&folder)
        .expect("written")
        .map(|page| {
            page.expect("a page")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    pages.sort();
    assert!(
        pages.contains(&"mayfly.1".to_owned())
            && pages.contains(&"mayfly-mailbox-wait.1".to_owned()),
        "{pages:?}"
    );
    assert!(pages.len() > 12, "{pages:?}");
    let mut lint = tools::program("mandoc");
    lint.args(["-Tlint", "-Wwarning"])
        .args(&pages)
        .current_dir(&folder);
    let said = tools::said(&tools::run(&mut lint, ""));
    // What makes the pages puts breaks beside spaces, which no reader sees.
    let wrong: Vec<&str> = said
        .lines()
        .filter(|line| !line.contains("skipping paragraph macro: br"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let mut shown = tools::program("mandoc");
    shown
        .args(["-Tutf8", "mayfly-mailbox-wait.1"])
        .current_dir(&folder);
    let text = tools::succeed(&mut shown, "");
    assert!(text.contains("timeout"), "{text}");
    let (_, printed, _) = mayfly(&["man", "mailbox", "wait"], &[]);
    let stored = std::fs::read_to_string(folder.join("mayfly-mailbox-wait.1")).expect("a page");
    assert_eq!(printed, stored);
    assert_eq!(mayfly(&["man", "mailbox", "fly"], &[]).0, Some(2));
}
