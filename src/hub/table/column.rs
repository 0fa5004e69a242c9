//! A value beside the records, for what most servers never set: it costs
//! nothing until one is set, and then its size for each slot up to that one.

use super::slots::Slot;

#[derive(Debug, Default)]
pub struct Column<T>(Vec<T>);

impl<T: Copy + Default + PartialEq> Column<T> {
    /// The value of a slot; the default if none was set.
    #[inline]
    pub fn get(&self, index: Slot) -> T {
        self.0.get(index.at()).copied().unwrap_or_default()
    }

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
    fn it_grows_with_what_is_set() {
        let mut column = Column::<u32>::default();
        column.set(Slot::taken(9), 0);
        assert_eq!((column.get(Slot::taken(9)), column.0.capacity()), (0, 0));
        column.set(Slot::taken(3), 7);
        column.set(Slot::taken(1), 0);
        let values: Vec<u32> = (0..5).map(|index| column.get(Slot::taken(index))).collect();
        assert_eq!(values, [0, 0, 0, 7, 0]);
    }
}
