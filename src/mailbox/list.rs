//! Lists of mailboxes in the order in which the mailboxes were added. The links lie in the entries,
//! so that an entry is removed in constant time and a list needs no memory of its own.

/// The key that stands for no entry.
pub const NONE: u32 = u32::MAX;

/// The neighbours of an entry in its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Links {
    pub before: u32,
    pub after: u32,
}

impl Default for Links {
    fn default() -> Self {
        Links { before: NONE, after: NONE }
    }
}

/// The first and the last entry of a list.
#[derive(Clone, Copy, Debug)]
pub struct List {
    first: u32,
    last: u32,
}

impl Default for List {
    fn default() -> Self {
        List { first: NONE, last: NONE }
    }
}

/// The collection that holds the entries of a list.
pub trait Entries {
    fn links(&mut self, key: u32) -> &mut Links;
}

impl List {
    pub fn first(self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    /// The first entry that is not `but`.
    pub fn first_but(self, but: u32, entries: &mut impl Entries) -> Option<u32> {
        let first = self.first()?;
        if first != but {
            return Some(first);
        }
        Some(entries.links(first).after).filter(|after| *after != NONE)
    }

    /// Appends an entry that is in no list.
    pub fn push(&mut self, key: u32, entries: &mut impl Entries) {
        *entries.links(key) = Links { before: self.last, after: NONE };
        match self.last {
            NONE => self.first = key,
            last => entries.links(last).after = key,
        }
        self.last = key;
    }

    /// Takes out an entry of this list.
    pub fn remove(&mut self, key: u32, entries: &mut impl Entries) {
        let Links { before, after } = std::mem::take(entries.links(key));
        match before {
            NONE => self.first = after,
            before => entries.links(before).after = after,
        }
        match after {
            NONE => self.last = before,
            after => entries.links(after).before = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Entries for Vec<Links> {
        fn links(&mut self, key: u32) -> &mut Links {
            &mut self[key as usize]
        }
    }

    #[test]
    fn an_entry_in_the_middle_or_at_either_end_of_a_list_is_removed_and_the_others_stay_linked() {
        let mut entries = vec![Links::default(); 5];
        let mut list = List::default();
        (0..5).for_each(|key| list.push(key, &mut entries));
        for key in [2, 0, 4] {
            list.remove(key, &mut entries);
        }
        assert_eq!(list.first(), Some(1));
        assert_eq!(list.first_but(3, &mut entries), Some(1));
        assert_eq!(list.first_but(1, &mut entries), Some(3));
        list.remove(1, &mut entries);
        assert_eq!(list.first(), Some(3));
        list.remove(3, &mut entries);
        assert_eq!(list.first(), None);
        assert_eq!(entries, vec![Links::default(); 5]);
    }
}
