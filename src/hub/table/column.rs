//! A column of values, one for each slot of the table of connections.
//!
//! It holds what most servers never set. It takes no memory until a value is set, and then the
//! size of one value for each slot up to the highest slot with a value.

use super::slots::Slot;

/// One value for each slot, beside the records of the connections.
#[derive(Debug, Default)]
pub struct Column<T>(Vec<T>);

impl<T: Copy + Default + PartialEq> Column<T> {
    /// Returns the value of a slot; the default value if none was set.
    #[inline]
    pub fn get(&self, index: Slot) -> T {
        self.0.get(index.at()).copied().unwrap_or_default()
    }

    /// Sets the value of a slot.
    pub fn set(&mut self, index: Slot, value: T) {
        let index = index.at();
        if let Some(slot) = self.0.get_mut(index) {
            *slot = value;
        } else if value != T::default() {
            self.0.resize(index + 1, T::default());
            self.0[index] = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_grows_only_up_to_the_highest_slot_with_a_value() {
        let mut column = Column::<u32>::default();
        column.set(Slot::taken(9), 0);
        assert_eq!((column.get(Slot::taken(9)), column.0.capacity()), (0, 0));
        column.set(Slot::taken(3), 7);
        column.set(Slot::taken(1), 0);
        let values: Vec<u32> = (0..5).map(|index| column.get(Slot::taken(index))).collect();
        assert_eq!(values, [0, 0, 0, 7, 0]);
    }
}
