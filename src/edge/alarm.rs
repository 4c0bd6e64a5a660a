//! Deadlines of one core's connections.
//!
//! A connection moves its deadline with each command, which costs nothing: the wheel keeps the old
//! one, and when it comes up looks whether it still holds. Only a deadline that comes *earlier* than the one in the wheel is entered anew.

use crate::clock::Instant;
use crate::wheel::{TimerKey, Wheel};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// All alarms of a core.
#[derive(Debug, Default)]
pub struct Alarms {
    wheel: RefCell<Wheel<Rc<Setting>>>,
    due: RefCell<Vec<Rc<Setting>>>,
}

#[derive(Debug)]
struct Setting {
    /// When it rings.
    deadline: Cell<Instant>,
    /// When the wheel looks at it, and its place there.
    entered: Cell<Option<(Instant, TimerKey)>>,
    rung: Cell<bool>,
    /// The connection to wake: slot and generation.
    connection: (u32, u32),
}

/// One connection's alarm.
#[derive(Debug)]
pub struct Alarm {
    setting: Rc<Setting>,
    alarms: Rc<Alarms>,
}

impl Alarms {
    /// Finds the alarms that ring by `now`, `limit` at most, and hands their connections to `wake`.
    pub fn ring(&self, now: Instant, limit: usize, mut wake: impl FnMut((u32, u32))) {
        let mut due = self.due.borrow_mut();
        self.wheel
            .borrow_mut()
            .advance(now, limit, |setting| due.push(setting));
        for setting in due.drain(..) {
            setting.entered.set(None);
            if setting.deadline.get() > now {
                self.enter(&setting);
            } else {
                setting.rung.set(true);
                wake(setting.connection);
            }
        }
    }

    /// No alarm rings before then.
    pub fn next(&self) -> Option<Instant> {
        self.wheel.borrow().next_deadline()
    }

    fn enter(&self, setting: &Rc<Setting>) {
        let deadline = setting.deadline.get();
        let key = self.wheel.borrow_mut().insert(deadline, Rc::clone(setting));
        setting.entered.set(Some((deadline, key)));
    }

    fn withdraw(&self, setting: &Setting) {
        if let Some((_, key)) = setting.entered.take() {
            self.wheel.borrow_mut().remove(key);
        }
    }
}

impl Alarm {
    /// An alarm for the connection in this slot, of this generation; not set.
    pub fn new(alarms: &Rc<Alarms>, connection: (u32, u32)) -> Self {
        Self {
            setting: Rc::new(Setting {
                deadline: Cell::new(Instant::ZERO),
                entered: Cell::new(None),
                rung: Cell::new(false),
                connection,
            }),
            alarms: Rc::clone(alarms),
        }
    }

    /// It rings at `deadline` and not before.
    pub fn set(&self, deadline: Instant) {
        let setting = &self.setting;
        setting.rung.set(false);
        setting.deadline.set(deadline);
        match setting.entered.get() {
            Some((looked_at, _)) if looked_at <= deadline => {}
            _ => {
                self.alarms.withdraw(setting);
                self.alarms.enter(setting);
            }
        }
    }

    /// Whether it has rung since it was set.
    pub fn has_rung(&self) -> bool {
        self.setting.rung.get()
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.alarms.withdraw(&self.setting);
    }
}
