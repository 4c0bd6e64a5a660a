//! What a message costs in allocations: each is paid for twice, when it is made and when it is
//! overwritten and freed.

#![forbid(unsafe_code)]

mod kept;

use allocation_counter::measure;
use kept::{Kept, data};

#[test]
fn a_message_on_a_kept_connection_needs_few_allocations() {
    let mut kept = Kept::new();
    let text = data(4 << 10);
    kept.message(&text);
    let spent = measure(|| {
        kept.message(&text);
    });
    assert_eq!(spent.count_current, 0, "what a message took is given back");
    assert!(spent.count_total <= 6, "{spent:?}");
}
