//! A value beside the records, for what most servers never set: it costs
//! nothing until one is set, and then its size for each slot up to that one.

#[derive(Debug, Default)]
pub struct Column<T>(Vec<T>);

impl<T: Copy + Default + PartialEq> Column<T> {
    /// The value of a slot; the default if none was set.
    #[inline]
    pub fn get(&self, index: u32) -> T {
        self.0.get(index as usize).copied().unwrap_or_default()
    }

    pub fn set(&mut self, index: u32, value: T) {
        let index = index as usize;
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
        column.set(9, 0);
        assert_eq!((column.get(9), column.0.capacity()), (0, 0));
        column.set(3, 7);
        column.set(1, 0);
        assert_eq!((0..5).map(|index| column.get(index)).collect::<Vec<_>>(), [0, 0, 0, 7, 0]);
    }
}
