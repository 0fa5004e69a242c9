//! The real program with a store: it is killed again and again, its disk is filled, and what it has
//! promised is there.

mod crowd;
mod full;
mod killed;
mod rot;
mod size;
