//! What only some connections need. It is on the heap, so that it takes one word in the record of a
//! connection that needs nothing of it.
//!
//! Most connections that need something need only the name of a device, for which 24 bytes suffice: a
//! name of up to 24 bytes lies in them. All else is in a further box.

use compact_str::CompactString;

use crate::wire::http::response::Response;
use crate::wire::ws::close::CloseReason;

/// The device of a connection, and what else only some connections need.
#[derive(Debug, Default)]
pub struct Details(Option<Box<Kept>>);

#[derive(Debug)]
enum Kept {
    Device(CompactString),
    All(Box<Rare>),
}

// The allocator gives 32 bytes for 24, and no fewer for any smaller value.
const _: () = assert!(size_of::<Details>() == 8 && size_of::<Kept>() == 24);

/// What few connections need, and each for a short time, except for groups.
#[derive(Debug, Default)]
pub struct Rare {
    device: CompactString,
    /// The groups of the connection: the key of each, and the position of the connection in it.
    pub groups: Vec<(u32, u32)>,
    /// Why the connection closes or has ended.
    pub reason: Option<CloseReason>,
    /// How many bytes were queued for the connection and never written, once it has ended.
    pub unwritten: usize,
    /// The answer that a refused client gets when the delay of the refusal is over.
    pub answer: Option<Box<Response>>,
    /// What the server must remember of a request that the handler answers later.
    pub awaited: Option<Awaited>,
}

/// Details of connections that have gone, for connections that end next: without them a connection
/// allocates two blocks for the reason why it ends, and frees them a moment later.
#[derive(Debug, Default)]
pub struct Spares(Vec<Details>);

/// The most spare details. They hold ten kilobytes.
const SPARES: usize = 64;

impl Spares {
    /// Gives details that have no memory the memory of spare ones.
    pub fn lend(&mut self, details: &mut Details) {
        if details.0.is_none()
            && let Some(spare) = self.0.pop()
        {
            *details = spare;
        }
    }

    /// Keeps the memory of the details of a connection that has gone.
    pub fn keep(&mut self, mut details: Details) {
        if self.0.len() < SPARES
            && let Some(Kept::All(rare)) = details.0.as_deref_mut()
        {
            **rare = Rare::default();
            self.0.push(details);
        }
    }
}

/// A request that the handler answers later.
#[derive(Clone, Copy, Debug)]
pub struct Awaited {
    /// Whether the body of the answer is left out.
    pub head_only: bool,
    /// Whether the client wants to go on with the connection.
    pub keep_alive: bool,
}

impl Details {
    /// The device of the user from which the connection comes; empty if it has no name.
    pub fn device(&self) -> &str {
        match self.0.as_deref() {
            None => "",
            Some(Kept::Device(device)) => device,
            Some(Kept::All(rare)) => &rare.device,
        }
    }

    /// Sets the name of the device.
    pub fn set_device(&mut self, device: CompactString) {
        match self.0.as_deref_mut() {
            Some(Kept::All(rare)) => rare.device = device,
            Some(Kept::Device(known)) => *known = device,
            None if device.is_empty() => {}
            None => self.0 = Some(Box::new(Kept::Device(device))),
        }
    }

    /// What else is known of the connection, if [`Details::change`] has ever changed it.
    pub fn get(&self) -> Option<&Rare> {
        match self.0.as_deref() {
            Some(Kept::All(rare)) => Some(rare),
            _ => None,
        }
    }

    /// What [`Details::get`] returns, so that it can be changed.
    pub fn get_mut(&mut self) -> Option<&mut Rare> {
        match self.0.as_deref_mut() {
            Some(Kept::All(rare)) => Some(rare),
            _ => None,
        }
    }

    /// Changes what else is known of the connection, which gets memory for it if it has none.
    pub fn change<R>(&mut self, change: impl FnOnce(&mut Rare) -> R) -> R {
        let Some(kept) = self.0.as_deref_mut() else {
            let mut rare = Box::<Rare>::default();
            let result = change(&mut rare);
            self.0 = Some(Box::new(Kept::All(rare)));
            return result;
        };
        match kept {
            Kept::All(rare) => change(rare),
            Kept::Device(device) => {
                let mut rare = Box::<Rare>::default();
                rare.device = std::mem::take(device);
                let result = change(&mut rare);
                *kept = Kept::All(rare);
                result
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spare_details_are_empty_and_are_lent_only_to_a_connection_that_has_none() {
        let mut spares = Spares::default();
        let mut gone = Details::default();
        gone.set_device("a phone".into());
        gone.change(|rare| (rare.unwritten, rare.reason) = (7, Some(CloseReason::Eof)));
        spares.keep(gone);
        let mut named = Details::default();
        named.set_device("a pad".into());
        spares.keep(named);
        assert_eq!(spares.0.len(), 1, "a name alone is not worth to be kept");

        let mut other = Details::default();
        other.set_device("another phone".into());
        spares.lend(&mut other);
        assert!(other.device() == "another phone" && other.get().is_none());
        let mut next = Details::default();
        spares.lend(&mut next);
        let rare = next.get().expect("the memory of the spare ones");
        assert!(next.device().is_empty() && rare.unwritten == 0 && rare.reason.is_none());
        assert!(spares.0.is_empty());

        for _ in 0..2 * SPARES {
            let mut gone = Details::default();
            gone.change(|rare| rare.unwritten = 1);
            spares.keep(gone);
        }
        assert_eq!(spares.0.len(), SPARES);
    }

    #[test]
    fn a_device_keeps_its_name_when_more_is_known_of_its_connection() {
        let mut details = Details::default();
        details.set_device(CompactString::const_new(""));
        assert!(details.0.is_none() && details.device().is_empty() && details.get().is_none());
        details.set_device("a phone".into());
        assert!(details.device() == "a phone" && details.get_mut().is_none());
        details.change(|rare| rare.unwritten = 7);
        assert_eq!((details.device(), details.get().map(|it| it.unwritten)), ("a phone", Some(7)));
        details.set_device("another phone".into());
        assert_eq!(details.device(), "another phone");
        assert_eq!(details.change(|rare| rare.unwritten), 7);
    }
}
