//! The web page in a real browser: what people do with it, how it looks to those who cannot see it, and mails made to
//! attack it. Rows of the catalogue of attacks begin a test's name.
//!
//! Each test starts a gateway and runs one scenario of the `.mjs` files beside this one in Debian's Chromium.
#![cfg(feature = "server")]

#[allow(dead_code)]
#[path = "../gateway/mod.rs"]
mod gateway;

use gateway::{Gateway, tools};

/// Two domains, so that there is something to choose.
const SETTINGS: &str = "[recipients]\ndomains = [\"mayfly.test\", \"second.test\"]\n";

/// Runs a scenario against a gateway of its own with these settings.
fn play_with(scenario: &str, settings: &str) {
    let gateway = Gateway::start(settings);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/web");
    assert!(
        std::path::Path::new(folder).join("node_modules").is_dir(),
        "tests/setup installs what the browser tests need"
    );
    let mut node = std::process::Command::new("timeout");
    node.args(["--kill-after=5", "400", "node", "run.mjs", scenario])
        .current_dir(folder)
        .env("MAYFLY_HTTP", gateway.http.to_string())
        .env("MAYFLY_SMTP", gateway.smtp.to_string());
    tools::succeed(&mut node, "");
}

macro_rules! scenarios {
    ($($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                play_with(stringify!($name), SETTINGS);
            }
        )+
    };
}

scenarios! {
    a_chosen_address
    accessible_from_right_to_left
    accessible_from_right_to_left_in_the_dark
    accessible_in_the_dark
    accessible_in_the_light
    all_parts_of_a_message
    codes_can_be_scanned
    dark_by_choice
    from_creation_to_erasure
    keyboard_only
    languages
    links_open_elsewhere
    m4_a_shared_link
    m7_an_ended_mailbox_shows_nothing
    offline_and_back
    remote_images_when_asked
    the_judge_is_awake
    time_is_left_and_given
    two_mailboxes
}

#[test]
fn too_many_requests() {
    play_with("too_many_requests", "[http]\nrequests_per_minute = 30\n");
}
