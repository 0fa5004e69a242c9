//! Orders in which connections are visited.

/// Returns the numbers below `count`, each once, in an order that is the same every time. The next
/// one has to be fetched from memory, as when clients send at random times.
pub fn shuffled(count: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count).collect();
    // Fisher and Yates' shuffle, with Marsaglia's generator.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for last in (1..order.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(last, (state % (last as u64 + 1)) as usize);
    }
    order
}
