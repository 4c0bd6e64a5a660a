//! The examples of the manual, run as a reader would run them, against a gateway of their own.

#![cfg(feature = "server")]
#![forbid(unsafe_code)]

mod compare;
#[path = "../gateway/mod.rs"]
mod gateway;
mod page;
mod session;

use page::items;
use session::Session;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(path).expect("the page is there")
}

#[test]
fn the_manual_of_the_api_does_what_it_says() {
    let items = items(&read("docs/api.md"));
    assert!(items.len() > 30);
    let mut session = Session::start();
    for item in items {
        session.take(&item);
    }
    session.end();
}

#[test]
fn the_manual_of_the_command_line_does_what_it_says() {
    let items = items(&read("docs/cli.md"));
    assert!(items.len() > 15);
    let mut session = Session::start();
    for item in items {
        session.take(&item);
    }
    session.end();
}

#[test]
fn the_first_message_takes_a_minute() {
    let page = read("README.md");
    let (_, section) = page
        .split_once("## A first message in a minute")
        .expect("it is there");
    let (section, _) = section.split_once("\n## ").expect("others follow");
    // What stands before it is the banner.
    let (_, section) = section
        .split_once("Create a mailbox.")
        .expect("it is there");
    let items = items(section);
    assert!(items.len() > 10);
    let mut session = Session::start();
    for item in items {
        session.take(&item);
    }
    session.end();
}
