//! What must not be seen: passwords, seeds, private keys, client secrets.

use zeroize::{Zeroize, Zeroizing};

/// A value that nobody prints by accident: it has no `Debug`, no `Display`, no `Serialize`, and its memory is wiped on drop.
///
/// Reading it takes a call that shows in review: [`Secret::expose`].
#[derive(Clone)]
pub struct Secret<T: Zeroize>(Zeroizing<T>);

impl<T: Zeroize> Secret<T> {
    /// Takes the value over; the caller keeps no copy.
    pub fn new(value: T) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself, for the one place that uses it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Zeroize + Default> Default for Secret<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}
