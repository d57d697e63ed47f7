//! The root key's digest, in memory, so that root's questions need no database either.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use keywright_model::digest::Digest;
use subtle::ConstantTimeEq as _;

/// The digest of the root key in force. Cheap to clone: all clones are one.
#[derive(Clone, Default)]
pub struct RootKey(Arc<RwLock<Known>>);

#[derive(Clone, Copy, Default)]
enum Known {
    /// Nobody has said it yet.
    #[default]
    Not,
    /// There is none: it is disabled.
    None,
    /// This one.
    Digest(Digest),
}

impl RootKey {
    /// Takes another digest, or none, from now on.
    pub fn set(&self, digest: Option<Digest>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = digest.map_or(Known::None, Known::Digest);
    }

    /// Whether this is its digest; `None` while that is not known.
    pub fn is(&self, digest: &Digest) -> Option<bool> {
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            Known::Not => None,
            Known::None => Some(false),
            Known::Digest(root) => Some(root.0.ct_eq(&digest.0).into()),
        }
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clone_follows_a_rotation() {
        let (old, new) = (Digest([1; 32]), Digest([2; 32]));
        let root = RootKey::default();
        let clone = root.clone();
        assert_eq!(clone.is(&old), None);
        root.set(Some(old));
        assert_eq!((clone.is(&old), clone.is(&new)), (Some(true), Some(false)));
        root.set(Some(new));
        assert_eq!((clone.is(&old), clone.is(&new)), (Some(false), Some(true)));
        root.set(None);
        assert_eq!(clone.is(&new), Some(false));
    }
}
