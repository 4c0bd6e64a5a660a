//! What a message costs in allocations: each is paid for twice, when it is made and when it is
//! overwritten and freed.

#![forbid(unsafe_code)]

mod kept;

use allocation_counter::measure;
use kept::{Kept, chunks, data};

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

#[test]
fn a_chunk_needs_no_allocation() {
    let mut kept = Kept::new();
    let text = data(4 << 10);
    // A chunk of the whole costs what DATA costs. Smaller ones need further segments of the body, and those are
    // as large for a thousand chunks of 4 bytes as for two of 2 KiB.
    for (size, allocations_max) in [(4 << 10, 6), (2 << 10, 9), (64, 9), (4, 9)] {
        let writes = chunks(&text, size);
        kept.chunks(&writes);
        let mut answered = 0;
        let spent = measure(|| answered = kept.chunks(&writes));
        assert!(answered > writes.len() * "250 ".len());
        assert_eq!(spent.count_current, 0, "what a message took is given back");
        assert!(
            spent.count_total <= allocations_max,
            "chunks of {size}: {spent:?}"
        );
    }
}

#[test]
fn a_message_in_tiny_chunks_takes_no_more_memory_than_it_has_bytes() {
    let mut kept = Kept::new();
    let text = data(128 << 10);
    let writes = chunks(&text, 1);
    kept.chunks(&writes[writes.len() - 1..]);
    let spent = measure(|| {
        kept.chunks(&writes);
    });
    // Its bytes, one segment that is as large again and hardly begun, and the envelope.
    let bytes_max = (256 << 10) + (8 << 10);
    assert!(spent.bytes_max <= bytes_max, "{spent:?}");
}
