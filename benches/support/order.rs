//! Orders in which connections are visited.

/// Returns the numbers below `count`, each once, in an order that is the same every time. The next
/// one has to be fetched from memory, as when clients send at random times.
pub fn shuffled(count: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count).collect();
    longlink::sim::Rng::new(1).shuffle(&mut order);
    order
}
