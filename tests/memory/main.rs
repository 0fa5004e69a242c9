//! What the hub says it holds against what an allocator has given out, for everything that
//! grows with what peers do; that all else that is kept has a bound; how often what arrives in
//! small pieces is copied; and that nobody who reads is ended for what others are sent.

#[path = "../../benches/support/allocator.rs"]
#[allow(dead_code)]
mod allocator;
mod burst;
mod copied;
mod held;
mod kept;
mod prefixed;
mod rig;

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;
