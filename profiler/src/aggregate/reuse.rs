//! Reuses free places of a list.

/// Puts an entry into a free place, or at the end if there is none. Returns the place.
pub(super) fn put<T>(entries: &mut Vec<T>, free: &mut Vec<usize>, entry: T) -> usize {
    match free.pop() {
        Some(index) => {
            entries[index] = entry;
            index
        }
        None => {
            entries.push(entry);
            entries.len() - 1
        }
    }
}
