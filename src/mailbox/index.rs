//! The index of mailboxes: from the hash of a user to the key of the mailbox.
//!
//! It has many small tables, chosen by the hash, so a table that grows moves few entries: nobody may
//! wait while those of a million users are moved. It takes no memory before the first mailbox is made.

use hashbrown::HashTable;

/// How many tables there are. With a million users each has about two thousand, which are moved in
/// less than a millisecond when it grows. More tables would take more memory for themselves than the
/// entries of some ten thousand users do.
const TABLES: usize = 512;

/// The keys of all mailboxes, by the hashes of their users.
#[derive(Debug, Default)]
pub struct Index(Vec<HashTable<u32>>);

impl Index {
    /// The key of a mailbox. `is_it` says whether a key is the one that is looked for.
    #[inline]
    pub fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.0.get(place(hash))?.find(hash, |key| is_it(*key)).copied()
    }

    /// Adds a key that is not in the index. `hash_of` returns the hash of the user of a key.
    pub fn insert(&mut self, hash: u64, key: u32, hash_of: impl Fn(u32) -> u64) {
        if self.0.is_empty() {
            self.0.resize_with(TABLES, HashTable::new);
        }
        self.0[place(hash)].insert_unique(hash, key, |key| hash_of(*key));
    }

    /// Takes a key out.
    pub fn remove(&mut self, hash: u64, key: u32) {
        let Some(table) = self.0.get_mut(place(hash)) else { return };
        if let Ok(entry) = table.find_entry(hash, |known| *known == key) {
            entry.remove();
        }
    }
}

/// The table of a hash. The bits in the middle choose it, because a table uses the lowest and the
/// highest ones.
#[inline]
fn place(hash: u64) -> usize {
    (hash >> 32) as usize % TABLES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_hash_until_it_is_removed_and_no_table_is_large() {
        let hash_of = |key: u32| u64::from(key).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut index = Index::default();
        assert_eq!(index.find(0, |_| true), None);
        (0..100_000).for_each(|key| index.insert(hash_of(key), key, hash_of));
        for key in [0, 1, 77_777, 99_999] {
            assert_eq!(index.find(hash_of(key), |it| it == key), Some(key));
        }
        assert!(index.0.iter().all(|table| table.len() < 300));
        (0..100_000).for_each(|key| index.remove(hash_of(key), key));
        assert!(index.0.iter().all(HashTable::is_empty));
    }
}
