//! Scenes of what a mailbox was granted or made for, and of what is left of it when it has ended.

#![forbid(unsafe_code)]

use super::*;
use mayfly::store::{Takes, Terms};

/// A mailbox for `most` messages, created at 0 for 1000 seconds, which lives for 100 when it has them.
fn taking(most: u32, budget: Budget) -> Scene {
    let mut scene = Scene::empty(budget);
    let terms = Terms {
        takes: Some(Takes::new(most, secs(100))),
        ..Terms::default()
    };
    let wanted = NewMailbox {
        terms: Some(Box::new(terms)),
        ..NewMailbox::new(token(1), secs(1000), DAY)
    };
    let address = scene.address.clone();
    scene.shard.create(&address, wanted, at(0)).expect("free");
    scene
}

#[test]
fn a_mailbox_for_three_messages_takes_three_and_ends_soon_after_the_last() {
    let mut scene = taking(3, Budget::default());
    let diary = scene.watch(None, 0);
    scene.mail(1);
    scene.mail(2);
    assert_eq!(diary.read(), "+1 +2");
    let state = scene.shard.state(&scene.holder, at(2)).expect("held");
    let takes = state.takes.expect("so many");
    assert_eq!((takes.most(), takes.left()), (3, 1));
    assert_eq!(state.expires_at, Some(at(1000)));
    scene.mail(3);
    assert_eq!(diary.read(), "+3 soon", "its end has come nearer");
    assert_eq!(scene.watch(None, 4).read(), "soon");
    assert_eq!(
        scene.lease(Existence::Required, 4),
        Err(Unavailable::UsedUp)
    );
    let holder = scene.holder.clone();
    let state = scene.shard.extend(&holder, secs(5000), at(50));
    assert_eq!(state.and_then(|it| it.expires_at), Some(at(103)));
    let deleted = scene.shard.delete(&holder, Sequence(1), at(50));
    assert_eq!(deleted, Some(true));
    assert_eq!(
        scene.lease(Existence::Required, 51),
        Err(Unavailable::UsedUp),
        "what is deleted was taken all the same"
    );
    assert_eq!(scene.listed(102), Some(vec![2, 3]));
    assert_eq!(scene.listed(103), None);
    scene.expire(104);
    assert!(scene.is_empty());
    let tally = scene.shard.take_tally();
    assert_eq!((tally.mailboxes_used_up, tally.mailboxes_expired), (1, 1));
}

#[test]
fn places_that_are_kept_count_as_taken_until_they_come_back() {
    let mut scene = taking(2, Budget::default());
    let one = scene.lease(Existence::Required, 1).expect("the first");
    let two = scene.lease(Existence::Required, 1).expect("the second");
    assert_eq!(
        scene.lease(Existence::Required, 1),
        Err(Unavailable::MailboxFull),
        "one of them may come back"
    );
    scene.shard.release(one, at(2));
    let three = scene.lease(Existence::Required, 2).expect("it came back");
    scene.fill(three, 3);
    scene.fill(two, 4);
    assert_eq!(
        scene.lease(Existence::Required, 5),
        Err(Unavailable::UsedUp)
    );
    assert_eq!(scene.listed(5), Some(vec![1, 2]));
}

#[test]
fn the_last_message_does_not_bring_an_end_that_is_nearer() {
    let mut scene = taking(1, Budget::default());
    scene.mail(950);
    let state = scene.shard.state(&scene.holder, at(950)).expect("held");
    assert_eq!(state.expires_at, Some(at(1000)));
}

#[test]
fn a_promise_is_no_longer_than_what_the_last_message_may_leave() {
    let mut scene = taking(2, Budget::default());
    let first = scene.lease(Existence::Required, 1).expect("there is room");
    let body = message(&scene.ledger, 10, at(1));
    let promised = scene.shard.deliver(first, &body, at(1));
    assert_eq!(promised, at(101), "the second may come at once");
    scene.mail(1);
    assert_eq!(scene.listed(100), Some(vec![1, 2]));
    assert_eq!(scene.listed(101), None);
}

#[test]
fn the_last_message_is_shown_for_a_minute_if_a_lease_has_kept_its_mailbox() {
    let mut scene = taking(1, Budget::default());
    let lease = scene.lease(Existence::Required, 999).expect("in time");
    let body = message(&scene.ledger, 10, at(1200));
    let promised = scene.shard.deliver(lease, &body, at(1200));
    assert_eq!(promised, at(1200).plus(LATE_MESSAGE_SHOWN));
    let end = 1200 + LATE_MESSAGE_SHOWN.as_secs();
    assert_eq!(scene.listed(end - 1), Some(vec![1]));
    assert_eq!(scene.listed(end), None);
}

#[test]
fn what_waits_at_an_address_is_part_of_what_its_mailbox_takes() {
    let mut scene = Scene::empty(Budget::default());
    scene.implied_mail(1);
    scene.implied_mail(1);
    let terms = Terms {
        takes: Some(Takes::new(2, secs(100))),
        ..Terms::default()
    };
    let wanted = NewMailbox {
        terms: Some(Box::new(terms)),
        ..NewMailbox::new(token(1), secs(1000), DAY)
    };
    let address = scene.address.clone();
    let state = scene.shard.create(&address, wanted, at(2));
    assert_eq!(state.map(|it| it.expires_at), Ok(Some(at(102))));
    assert_eq!(scene.lease(Existence::Implied, 3), Err(Unavailable::UsedUp));
}

#[test]
fn erasing_ends_a_mailbox_at_once_whatever_is_under_way() {
    let mut scene = taking(3, Budget::default());
    scene.mail(1);
    let lease = scene.lease(Existence::Required, 2).expect("there is room");
    let diary = scene.watch(None, 2);
    let holder = scene.holder.clone();
    assert_eq!(scene.shard.erase(&holder, at(3)), Some(()));
    assert_eq!(diary.read(), "closed");
    assert_eq!((scene.listed(3), scene.ledger.used()), (None, 0));
    assert_eq!(
        scene.lease(Existence::Required, 3),
        Err(Unavailable::NoSuchMailbox)
    );
    let body = message(&scene.ledger, 10, at(4));
    assert_eq!(scene.shard.deliver(lease, &body, at(4)), at(4));
    drop(body);
    assert!(scene.is_empty());
    assert_eq!(scene.shard.erase(&holder, at(5)), None);
}

#[test]
fn a_plan_may_allow_a_mailbox_more_or_less_than_the_settings_do() {
    let budget = Budget {
        mailbox_messages_max: 1,
        mailbox_bytes_max: Bytes(10),
        ..Budget::default()
    };
    let mut scene = Scene::empty(budget);
    let quota = mayfly::mail::quota::Quota::new(1);
    let terms = Terms {
        plan: Some("team".into()),
        seat: quota.take(),
        messages_max: Some(3),
        bytes_max: Some(Bytes(25)),
        ..Terms::default()
    };
    let wanted = NewMailbox {
        terms: Some(Box::new(terms)),
        ..NewMailbox::new(token(1), secs(1000), DAY)
    };
    let address = scene.address.clone();
    let state = scene.shard.create(&address, wanted, at(0)).expect("free");
    assert_eq!(state.plan.as_deref(), Some("team"));
    scene.mail(1);
    scene.mail(1);
    assert_eq!(
        scene.lease(Existence::Required, 1),
        Err(Unavailable::MailboxFull),
        "too many bytes"
    );
    assert!(quota.take().is_none());
    scene.expire(1001);
    assert_eq!(quota.taken(), 0, "its place is free again");
}

#[test]
fn a_recovered_mailbox_has_a_new_token_and_no_old_one() {
    let mut scene = Scene::new(Budget::default());
    scene.mail(1);
    let diary = scene.watch(None, 2);
    let (old, new) = (token(1), token(2));
    let state = scene.shard.recover(&old, new, at(3)).expect("it lives");
    assert_eq!((state.messages, state.expires_at), (1, Some(at(1000))));
    assert_eq!(diary.read(), "closed");
    assert_eq!(scene.listed(3), None, "the old token is dead");
    assert_eq!(scene.shard.recover(&old, token(3), at(3)), None);
    scene.holder = Holder::Token(new);
    assert_eq!(scene.listed(3), Some(vec![1]));
    scene.mail(4);
    assert_eq!(diary.read(), "");
    assert_eq!(
        scene.shard.recover(&new, new, at(5)),
        None,
        "that is in use"
    );
    assert_eq!(
        scene.shard.recover(&new, token(4), at(1000)),
        None,
        "too late"
    );
    assert_eq!(scene.shard.take_tally().mailboxes_recovered, 1);
}

#[test]
fn an_ended_address_is_given_to_nobody_for_its_time() {
    let budget = Budget {
        address_quarantine: Span::secs(400),
        ..Budget::default()
    };
    let mut scene = Scene::new(budget.clone());
    scene.expire(1001);
    assert!(scene.is_empty());
    assert_eq!(scene.create(1002, 10), Err(CreateError::Taken));
    assert_eq!(scene.create(1400, 10), Err(CreateError::Taken));
    assert_eq!(
        scene.lease(Existence::Implied, 1400).err(),
        Some(Unavailable::NoSuchMailbox),
        "mail does not wait for the next one"
    );
    let operators = scene.lease(Existence::Operators, 1400);
    scene
        .shard
        .release(operators.expect("never held"), at(1400));
    scene.create(1502, 1000).expect("free again");
    let holder = scene.holder.clone();
    scene.shard.erase(&holder, at(1503));
    assert_eq!(scene.create(1504, 10), Err(CreateError::Taken));
    assert_eq!(scene.shard.take_tally().quarantine_refused, 3);
    scene.shard.set_budget(Budget {
        address_quarantine: Span::secs(0),
        ..budget
    });
    scene.create(1505, 10).expect("it was turned off");
}

#[test]
fn what_nobody_held_is_not_kept_from_others() {
    let mut scene = Scene::empty(Budget::default());
    scene.implied_mail(1);
    let operator = Holder::Operator(scene.address.clone());
    scene.shard.delete(&operator, Sequence(1), at(2));
    assert!(scene.is_empty());
    scene.create(3, 10).expect("free");
}
