//! Reads decisions from a fuzzer's bytes. When the bytes are used up every number is zero.

/// The bytes that have not been read yet.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// A number from 0 to `n` - 1.
    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n.max(1)
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// The next `length` bytes, or as many as there are.
    pub fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Up to `most` numbers, of which [`pieces`] makes the places where bytes are cut.
    pub fn cuts(&mut self, most: usize) -> Vec<u16> {
        let count = self.below(most + 1);
        (0..count).map(|_| self.u16()).collect()
    }
}

/// `bytes` in pieces, cut at these places; a place is taken modulo the length.
pub fn pieces<'a>(bytes: &'a [u8], cuts: &[u16]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> =
        cuts.iter().map(|cut| usize::from(*cut) % bytes.len().max(1)).collect();
    places.push(bytes.len());
    places.sort_unstable();
    places.dedup();
    let mut from = 0;
    places
        .into_iter()
        .map(|to| &bytes[std::mem::replace(&mut from, to)..to])
        .filter(|piece| !piece.is_empty())
        .collect()
}
