//! Passwords, for APIs whose accounts have them: hashed with Argon2id (RFC 9106), on threads beside this one.
//!
//! A password is kept nowhere, its hash lies in its mailbox and goes with it. What is shown is hashed whether there is something
//! to compare it with or not, so an unknown address takes as long as a wrong password. How many are hashed at a time and how
//! many wait for that is bounded: the rest is told to come back.

use super::app::App;
use super::problem::Problem;
use super::random;
use crate::config::sections::Compatibility;
use crate::store::Password;
use argon2::{Algorithm, Argon2, Params, Version};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Turns to hash a password.
#[derive(Debug)]
pub(super) struct Turns {
    turns: Arc<Semaphore>,
    waiting: AtomicU32,
}

/// Somebody who waits, counted for as long as they do.
struct Waiting<'a>(&'a AtomicU32);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Turns {
    /// As many at a time.
    pub(super) fn new(at_once: u32) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(at_once.max(1) as usize)),
            waiting: AtomicU32::new(0),
        }
    }

    /// Waits for a turn, if not too many do.
    async fn take(&self, waiting_max: u32) -> Result<OwnedSemaphorePermit, Problem> {
        let turns = Arc::clone(&self.turns);
        if let Ok(turn) = Arc::clone(&turns).try_acquire_owned() {
            return Ok(turn);
        }
        if self.waiting.load(Relaxed) >= waiting_max {
            return Err(Problem::Busy);
        }
        self.waiting.fetch_add(1, Relaxed);
        let _waiting = Waiting(&self.waiting);
        turns.acquire_owned().await.map_err(|_| Problem::Busy)
    }
}

/// What to keep of a password.
pub(super) async fn hash(app: &App, password: &str) -> Result<Password, Problem> {
    let fresh = fresh(&app.settings.load().compatibility);
    hashed_like(app, password, fresh).await
}

/// Whether a password is the one that was kept, if one was.
pub(super) async fn is_right(
    app: &App,
    shown: &str,
    kept: Option<&Password>,
) -> Result<bool, Problem> {
    let like = match kept {
        Some(kept) => kept.clone(),
        None => fresh(&app.settings.load().compatibility),
    };
    let hashed = hashed_like(app, shown, like).await?;
    let kept = kept.map_or([0; 32], |kept| kept.hash);
    Ok(aws_lc_rs::constant_time::verify_slices_are_equal(&kept, &hashed.hash).is_ok())
}

/// A salt of its own, and the costs of today.
fn fresh(settings: &Compatibility) -> Password {
    Password {
        memory_kib: u32::try_from(settings.password_memory.0 >> 10).unwrap_or(u32::MAX),
        passes: settings.password_passes,
        salt: random(),
        hash: [0; 32],
    }
}

/// Hashes with the costs and the salt of another.
async fn hashed_like(app: &App, shown: &str, like: Password) -> Result<Password, Problem> {
    let waiting_max = app.settings.load().compatibility.passwords_waiting_max;
    let turn = app.passwords.take(waiting_max).await?;
    let shown = shown.as_bytes().to_vec();
    let hashed = tokio::task::spawn_blocking(move || {
        // The turn ends with the work, even if nobody waits for it any more.
        let _turn = turn;
        work(&shown, like)
    });
    hashed.await.ok().flatten().ok_or(Problem::Busy)
}

/// `None` when there is not enough memory.
fn work(shown: &[u8], like: Password) -> Option<Password> {
    let mut hashed = like;
    let params = Params::new(hashed.memory_kib, hashed.passes, 1, Some(hashed.hash.len()));
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.ok()?);
    let done = argon2.hash_password_into(shown, &hashed.salt, &mut hashed.hash);
    done.ok().map(|()| hashed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cheap() -> Password {
        Password {
            memory_kib: 8,
            passes: 1,
            salt: *b"somesaltsomesalt",
            hash: [0; 32],
        }
    }

    #[test]
    fn the_same_password_salt_and_costs_make_the_same_hash_and_no_others() {
        let hash = |shown: &[u8], like: Password| work(shown, like).expect("little memory").hash;
        let right = hash(b"secret", cheap());
        assert_eq!(hash(b"secret", cheap()), right);
        assert_ne!(right, [0; 32]);
        for (what, other) in [
            ("password", hash(b"Secret", cheap())),
            ("length", hash(b"secret\0", cheap())),
            ("nothing", hash(b"", cheap())),
            (
                "salt",
                hash(
                    b"secret",
                    Password {
                        salt: [7; 16],
                        ..cheap()
                    },
                ),
            ),
            (
                "memory",
                hash(
                    b"secret",
                    Password {
                        memory_kib: 16,
                        ..cheap()
                    },
                ),
            ),
            (
                "passes",
                hash(
                    b"secret",
                    Password {
                        passes: 2,
                        ..cheap()
                    },
                ),
            ),
        ] {
            assert_ne!(other, right, "{what}");
        }
        assert!(
            work(
                b"secret",
                Password {
                    memory_kib: 1,
                    ..cheap()
                }
            )
            .is_none()
        );
    }

    #[tokio::test]
    async fn beyond_those_who_may_wait_everybody_is_turned_away() {
        let turns = Turns::new(1);
        let first = turns.take(0).await.expect("nobody else is there");
        assert_eq!(
            turns.take(0).await.expect_err("none may wait"),
            Problem::Busy
        );
        {
            let mut waits = std::pin::pin!(turns.take(1));
            let none = std::future::poll_fn(|context| {
                std::task::Poll::Ready(waits.as_mut().poll(context).is_pending())
            });
            assert!(none.await, "it waits");
            assert_eq!(turns.take(1).await.expect_err("one waits"), Problem::Busy);
        }
        // Whoever gave up does not wait any more.
        assert_eq!(turns.waiting.load(Relaxed), 0);
        drop(first);
        assert!(turns.take(0).await.is_ok());
    }
}
