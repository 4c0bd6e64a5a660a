//! The web page in a real browser: what people do with it, how it looks to those who cannot see it, and mails made to
//! attack it. Rows of the catalogue of attacks begin a test's name.
//!
//! Each test starts a gateway and runs one scenario of the `.mjs` files beside this one in Debian's Chromium.
#![cfg(feature = "server")]

#[path = "../gateway/mod.rs"]
mod gateway;

use gateway::{Gateway, tools};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The largest picture of the documents.
const PICTURE_BYTES_MAX: u64 = 150_000;

/// Two domains, so that there is something to choose.
const SETTINGS: &str = "[recipients]\ndomains = [\"mayfly.test\", \"second.test\"]\n";

/// Where this folder is.
const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/web");

/// A scenario, to be run against this gateway.
fn scenario(name: &str, gateway: &Gateway) -> Command {
    assert!(
        Path::new(HERE).join("node_modules").is_dir(),
        "tests/setup installs what the browser tests need"
    );
    let mut node = Command::new("timeout");
    node.args(["--kill-after=5", "400", "node", "run.mjs", name])
        .current_dir(HERE)
        .env("MAYFLY_HTTP", gateway.http.to_string())
        .env("MAYFLY_SMTP", gateway.smtp.to_string());
    node
}

/// Runs a scenario against a gateway of its own with these settings.
fn play_with(name: &str, settings: &str) {
    let gateway = Gateway::start(settings);
    tools::succeed(&mut scenario(name, &gateway), "");
}

/// Runs the scenario of this name with two domains to choose from.
fn play(name: &str) {
    play_with(name, SETTINGS);
}

#[test]
fn a_chosen_address() {
    play("a_chosen_address");
}

#[test]
fn accessible_from_right_to_left() {
    play("accessible_from_right_to_left");
}

#[test]
fn accessible_from_right_to_left_in_the_dark() {
    play("accessible_from_right_to_left_in_the_dark");
}

#[test]
fn accessible_in_the_dark() {
    play("accessible_in_the_dark");
}

#[test]
fn accessible_in_the_light() {
    play("accessible_in_the_light");
}

#[test]
fn all_parts_of_a_message() {
    play("all_parts_of_a_message");
}

#[test]
fn codes_can_be_scanned() {
    play("codes_can_be_scanned");
}

#[test]
fn dark_by_choice() {
    play("dark_by_choice");
}

#[test]
fn encrypted_mail_is_handed_out() {
    play("encrypted_mail_is_handed_out");
}

#[test]
fn from_creation_to_erasure() {
    play("from_creation_to_erasure");
}

#[test]
fn keyboard_only() {
    play("keyboard_only");
}

#[test]
fn l1_no_script_runs() {
    play("l1_no_script_runs");
}

#[test]
fn l2_nothing_leaves() {
    play("l2_nothing_leaves");
}

#[test]
fn l4_attachments_are_saved_and_never_shown() {
    play("l4_attachments_are_saved_and_never_shown");
}

#[test]
fn l5_names_are_text() {
    play("l5_names_are_text");
}

#[test]
fn l6_links_are_what_they_say() {
    play("l6_links_are_what_they_say");
}

#[test]
fn l7_a_mail_stays_in_its_frame() {
    play("l7_a_mail_stays_in_its_frame");
}

#[test]
fn languages() {
    play("languages");
}

#[test]
fn links_open_elsewhere() {
    play("links_open_elsewhere");
}

#[test]
fn m4_a_shared_link() {
    play("m4_a_shared_link");
}

#[test]
fn m5_other_origins_get_nothing() {
    play("m5_other_origins_get_nothing");
}

#[test]
fn m7_an_ended_mailbox_shows_nothing() {
    play("m7_an_ended_mailbox_shows_nothing");
}

#[test]
fn offline_and_back() {
    play("offline_and_back");
}

#[test]
fn remote_images_when_asked() {
    play("remote_images_when_asked");
}

#[test]
fn the_canary_sings() {
    play("the_canary_sings");
}

#[test]
fn the_api_by_keyboard() {
    play("the_api_by_keyboard");
}

#[test]
fn the_api_can_be_tried() {
    play("the_api_can_be_tried");
}

#[test]
fn the_api_is_accessible_in_the_dark() {
    play("the_api_is_accessible_in_the_dark");
}

#[test]
fn the_api_is_accessible_in_the_light() {
    play("the_api_is_accessible_in_the_light");
}

#[test]
fn the_judge_is_awake() {
    play("the_judge_is_awake");
}

#[test]
fn time_is_left_and_given() {
    play("time_is_left_and_given");
}

#[test]
fn two_mailboxes() {
    play("two_mailboxes");
}

#[test]
fn a_ticket_reopens_a_mailbox() {
    play("a_ticket_reopens_a_mailbox");
}

#[test]
fn work_is_proven() {
    play_with("work_is_proven", "[http]\nproof_of_work_bits = 12\n");
}

#[test]
fn too_many_requests() {
    play_with("too_many_requests", "[http]\nrequests_per_minute = 30\n");
}

/// The pictures of the documents: into the folder that `MAYFLY_PICTURES` names, seen from the repository, or into one
/// that is thrown away.
#[test]
fn pictures() {
    let gateway = Gateway::start(SETTINGS);
    let folder = std::env::var_os("MAYFLY_PICTURES").map_or_else(
        || gateway.folder().join("pictures"),
        |folder| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder),
    );
    let mut node = scenario("pictures", &gateway);
    tools::succeed(node.env("MAYFLY_PICTURES", &folder), "");
    let pictures = std::fs::read_dir(&folder).expect("a folder");
    let mut count = 0;
    for picture in pictures {
        let picture = picture.expect("it can be read");
        let bytes = picture.metadata().expect("it can be read").len();
        let name = picture.path();
        assert!(
            bytes > 5_000 && bytes <= PICTURE_BYTES_MAX,
            "{name:?}: {bytes} bytes"
        );
        count += 1;
    }
    assert_eq!(count, 5);
}
