//! Scenes of messages that are looked at, listed from the newest on, and of passwords.

#![forbid(unsafe_code)]

use super::*;
use mayfly::store::{Password, Terms};

/// What the newest are, of how many.
fn newest(scene: &Scene, skip: usize, limit: usize, now: u64) -> (usize, Vec<(u64, bool)>) {
    let page = scene.shard.newest(&scene.holder, skip, limit, at(now));
    let (total, entries) = page.expect("held");
    let shown = entries.iter().map(|it| (it.sequence.0, it.seen));
    (total, shown.collect())
}

fn mark(scene: &mut Scene, message: u64, seen: bool, now: u64) -> Option<bool> {
    let holder = scene.holder.clone();
    let marked = scene
        .shard
        .set_seen(&holder, Sequence(message), seen, at(now));
    marked.expect("held").map(|entry| entry.seen)
}

#[test]
fn the_newest_come_first_page_by_page_and_what_is_over_does_not_count() {
    let mut scene = Scene::new(Budget {
        message_ttl_max: Span::secs(100),
        ..Budget::default()
    });
    for now in [1, 2, 50, 51, 52] {
        scene.mail(now);
    }
    let unseen = |numbers: &[u64]| numbers.iter().map(|it| (*it, false)).collect::<Vec<_>>();
    assert_eq!(newest(&scene, 0, 2, 60), (5, unseen(&[5, 4])));
    assert_eq!(newest(&scene, 2, 2, 60), (5, unseen(&[3, 2])));
    assert_eq!(newest(&scene, 4, 2, 60), (5, unseen(&[1])));
    assert_eq!(newest(&scene, 5, 2, 60), (5, vec![]));
    assert_eq!(newest(&scene, usize::MAX, usize::MAX, 60), (5, vec![]));
    assert_eq!(newest(&scene, 0, 9, 102), (3, unseen(&[5, 4, 3])));
    let nobody = Holder::Token(token(2));
    assert!(scene.shard.newest(&nobody, 0, 9, at(60)).is_none());
    assert!(scene.shard.newest(&scene.holder, 0, 9, at(1000)).is_none());
}

#[test]
fn a_mark_is_an_event_when_it_changes_and_only_then() {
    let mut scene = Scene::new(Budget::default());
    scene.mail(1);
    scene.mail(2);
    let diary = scene.watch(None, 3);
    assert_eq!(mark(&mut scene, 1, true, 4), Some(true));
    assert_eq!(mark(&mut scene, 1, true, 4), Some(true));
    assert_eq!(mark(&mut scene, 2, false, 4), Some(false));
    assert_eq!(diary.read(), "!1", "two of the three are no news");
    assert_eq!(newest(&scene, 0, 9, 5), (2, vec![(2, false), (1, true)]));
    assert_eq!(mark(&mut scene, 1, false, 6), Some(false));
    assert_eq!(diary.read(), "?1");
    assert_eq!(mark(&mut scene, 9, true, 6), None);
    let nobody = Holder::Token(token(2));
    let marked = scene.shard.set_seen(&nobody, Sequence(1), true, at(6));
    assert!(marked.is_none());
    assert_eq!(
        scene.listed(6),
        Some(vec![1, 2]),
        "they stay where they are"
    );
}

#[test]
fn whoever_comes_back_is_told_the_last_mark_of_what_they_knew() {
    let mut scene = Scene::new(Budget::default());
    scene.mail(1);
    scene.mail(2);
    mark(&mut scene, 1, true, 3);
    mark(&mut scene, 2, true, 3);
    mark(&mut scene, 1, false, 3);
    mark(&mut scene, 1, true, 3);
    assert_eq!(scene.watch(Some(0), 4).read(), "+1 +2", "they arrive seen");
    assert_eq!(scene.watch(Some(1), 4).read(), "+2 !1");
    assert_eq!(scene.watch(Some(2), 4).read(), "!2 !1");
    assert_eq!(scene.watch(Some(4), 4).read(), "!1");
    assert_eq!(scene.watch(Some(6), 4).read(), "");
    let holder = scene.holder.clone();
    scene.shard.delete(&holder, Sequence(1), at(5));
    assert_eq!(scene.watch(Some(2), 6).read(), "!2 -1");
    assert_eq!(scene.watch(Some(99), 6).read(), "reset");
}

#[test]
fn a_password_is_found_by_its_address_and_goes_with_its_mailbox() {
    let mut scene = Scene::empty(Budget::default());
    let kept = Password {
        memory_kib: 8,
        passes: 1,
        salt: [1; 16],
        hash: [2; 32],
    };
    let terms = Terms {
        password: Some(Box::new(kept.clone())),
        ..Terms::default()
    };
    let wanted = NewMailbox {
        terms: Some(Box::new(terms)),
        ..NewMailbox::new(token(1), secs(1000), DAY)
    };
    let (one, other) = (scene.address.clone(), address(2));
    let before = scene.ledger.used();
    scene.shard.create(&one, wanted, at(0)).expect("free");
    let with_password = scene.ledger.used() - before;
    let plain = NewMailbox::new(token(2), secs(1000), DAY);
    scene.shard.create(&other, plain, at(0)).expect("free");
    let without = scene.ledger.used() - before - with_password;
    assert!(with_password > without, "it is paid for");
    assert_eq!(scene.shard.password(&one, at(1)), Some((token(1), kept)));
    assert_eq!(scene.shard.password(&other, at(1)), None, "it has none");
    assert_eq!(scene.shard.password(&address(3), at(1)), None, "is unknown");
    assert_eq!(scene.shard.password(&one, at(1000)), None, "is over");
    scene.expire(1001);
    assert!(scene.is_empty());
}
