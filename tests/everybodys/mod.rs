//! Mailboxes that are everybody's: who may open them, and who hears of them.

#![forbid(unsafe_code)]

use super::*;
use mayfly::store::{Entry, Feed, RECENT_MAX};
use std::sync::mpsc::{Receiver, Sender, channel};

/// Writes down what it hears, as long as somebody has the other end.
struct Ear(Sender<String>);

impl Feed for Ear {
    fn arrived(&mut self, mailbox: &Address, entry: &Entry) -> bool {
        let said = format!("+{}/{}", mailbox.local(), entry.sequence.0);
        self.0.send(said).is_ok()
    }

    fn removed(&mut self, mailbox: &Address, message: Sequence) -> bool {
        let said = format!("-{}/{}", mailbox.local(), message.0);
        self.0.send(said).is_ok()
    }
}

fn listen(scene: &mut Scene) -> Receiver<String> {
    let (ear, heard) = channel();
    scene.shard.feed_public(Box::new(Ear(ear)));
    heard
}

fn heard(heard: &Receiver<String>) -> String {
    heard.try_iter().collect::<Vec<_>>().join(" ")
}

fn public_mail(scene: &mut Scene, number: u32, now: u64) {
    let leased = scene
        .shard
        .lease(&address(number), Existence::Public, 10, at(now));
    scene.fill(leased.expect("there is room"), now);
}

fn recent(scene: &Scene, now: u64) -> Vec<String> {
    let recent = scene.shard.recent_public(at(now));
    let names = recent.iter();
    names
        .map(|(mailbox, entry)| format!("{}/{}", mailbox.local(), entry.sequence.0))
        .collect()
}

#[test]
fn mail_for_everybody_is_opened_by_everybody_and_nothing_else_is() {
    let mut scene = Scene::empty(Budget::default());
    let anybody = Holder::Public(scene.address.clone());
    let listed = |scene: &Scene, now| {
        let list = scene.shard.list(&anybody, Sequence(0), 9, at(now));
        list.map(|it| it.len())
    };
    assert_eq!(listed(&scene, 0), None);
    public_mail(&mut scene, 1, 1);
    assert_eq!(listed(&scene, 1), Some(1));
    assert_eq!(scene.shard.delete(&anybody, Sequence(1), at(2)), Some(true));
    assert!(scene.is_empty(), "an empty one is not kept");

    // Mail that waits for whoever creates the address is nobody's business before.
    scene.implied_mail(3);
    assert_eq!(listed(&scene, 3), None);
    assert!(recent(&scene, 3).is_empty());
    public_mail(&mut scene, 1, 4);
    assert_eq!(listed(&scene, 4), Some(2), "now the domain is public");
    scene.implied_mail(5);
    assert_eq!(listed(&scene, 5), None, "and now it is not any more");
    public_mail(&mut scene, 1, 6);
    scene.create(7, 100).expect("nobody holds it");
    assert_eq!(listed(&scene, 7), None, "it has a token");
    public_mail(&mut scene, 1, 8);
    assert_eq!(listed(&scene, 8), None, "it still has");
    assert!(recent(&scene, 8).is_empty());
    assert_eq!(scene.listed(8).map(|it| it.len()), Some(5));
    let holder = scene.holder.clone();
    scene.shard.erase(&holder, at(9));
    let leased = scene.lease(Existence::Public, 10);
    assert_eq!(leased, Err(Unavailable::NoSuchMailbox), "it was somebody's");
    assert!(scene.is_empty());
}

#[test]
fn who_listens_hears_of_every_public_mailbox_and_of_no_other() {
    let mut scene = Scene::new(Budget {
        message_ttl_max: Span::secs(100),
        mailbox_messages_max: 2,
        when_mailbox_full: WhenFull::DropOldest,
        ..Budget::default()
    });
    public_mail(&mut scene, 2, 1);
    let ear = listen(&mut scene);
    scene.mail(2);
    public_mail(&mut scene, 3, 2);
    public_mail(&mut scene, 2, 3);
    public_mail(&mut scene, 2, 4);
    assert_eq!(heard(&ear), "+u3/1 +u2/2 -u2/1 +u2/4");
    let purged = scene.shard.purge(&Holder::Public(address(2)), at(5));
    assert_eq!((purged, heard(&ear).as_str()), (Some(2), "-u2/2 -u2/4"));
    assert_eq!(scene.shard.purge(&Holder::Public(address(2)), at(5)), None);
    scene.expire(110);
    assert_eq!(heard(&ear), "-u3/1");
    assert!(scene.shard.is_public_fed());
    drop(ear);
    public_mail(&mut scene, 2, 111);
    assert!(!scene.shard.is_public_fed(), "nobody listens any more");
    assert_eq!(scene.shard.take_tally().messages_deleted, 2);
}

#[test]
fn a_purge_leaves_what_is_under_way() {
    let mut scene = Scene::empty(Budget::default());
    public_mail(&mut scene, 1, 1);
    let lease = scene.lease(Existence::Public, 1).expect("there is room");
    let anybody = Holder::Public(scene.address.clone());
    assert_eq!(scene.shard.purge(&anybody, at(2)), Some(1));
    scene.fill(lease, 3);
    let listed = scene.shard.list(&anybody, Sequence(0), 9, at(3));
    assert_eq!(listed.map(|it| it.len()), Some(1));
}

#[test]
fn the_newest_public_messages_are_known_and_no_more_than_that() {
    let mut scene = Scene::empty(Budget::default());
    for number in 0..RECENT_MAX as u32 + 5 {
        public_mail(&mut scene, number, 1);
    }
    let names = recent(&scene, 2);
    assert_eq!(names.len(), RECENT_MAX);
    assert_eq!((names[0].as_str(), names[29].as_str()), ("u5/1", "u34/1"));
    scene
        .shard
        .delete(&Holder::Public(address(7)), Sequence(1), at(3));
    assert_eq!(recent(&scene, 3).len(), RECENT_MAX - 1, "one went");
    // Made anew, the mailbox is another.
    public_mail(&mut scene, 7, 4);
    assert_eq!(
        recent(&scene, 4).iter().filter(|it| *it == "u7/1").count(),
        1
    );
    let day = 86_400;
    assert!(recent(&scene, day + 4).is_empty(), "their time is over");
}
