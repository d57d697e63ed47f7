//! A short list that allocates only when it grows beyond `N`.

/// Up to `N` items in place, the rest on the heap.
#[derive(Clone, Debug)]
pub struct Inline<T, const N: usize> {
    places: [Option<T>; N],
    used: usize,
    spilled: Vec<T>,
}

impl<T, const N: usize> Default for Inline<T, N> {
    fn default() -> Self {
        Self { places: [const { None }; N], used: 0, spilled: Vec::new() }
    }
}

impl<T, const N: usize> Inline<T, N> {
    /// Appends an item.
    pub fn push(&mut self, item: T) {
        match self.places.get_mut(self.used) {
            Some(place) => {
                *place = Some(item);
                self.used += 1;
            }
            None => self.spilled.push(item),
        }
    }

    /// The items in the order in which they were pushed.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().take(self.used).flatten().chain(&self.spilled)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.used + self.spilled.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_in_place_keeps_its_order() {
        let mut list = Inline::<u32, 2>::default();
        assert!(list.is_empty());
        (0..5).for_each(|n| list.push(n));
        assert_eq!(list.iter().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(list.len(), 5);
    }
}
