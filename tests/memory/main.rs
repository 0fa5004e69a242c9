//! Compares the memory that the hub reports with the memory that an allocator has given out, for
//! everything that grows with what peers do. Other tests here check that everything else that is
//! kept has a bound, how often bytes that arrive in small pieces are copied, and that no client
//! that reads is ended for what others are sent.

#[path = "../../benches/support/allocator.rs"]
#[allow(dead_code)]
mod allocator;
mod burst;
mod copied;
mod held;
mod kept;
mod prefixed;
mod recovered;
mod rig;

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;
