//! Results that several threads write, each its own rows.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::view::Cut;

/// Tensors to write: those of one thread alone, or, where its rows lie between those of others, all of them behind a lock.
#[derive(Debug)]
pub(crate) enum Output<'s, T> {
    Own(T),
    Shared(&'s Mutex<T>),
}

/// The tensors, for as long as no one else may have them.
pub(crate) enum Access<'a, T> {
    Own(&'a mut T),
    Shared(MutexGuard<'a, T>),
}

impl<T> Output<'_, T> {
    /// The tensors, if no other thread has to wait for them.
    pub fn own(&mut self) -> Option<&mut T> {
        match self {
            Self::Own(tensors) => Some(tensors),
            Self::Shared(_) => None,
        }
    }

    /// The tensors, to be given back soon.
    pub fn access(&mut self) -> Access<'_, T> {
        match self {
            Self::Own(tensors) => Access::Own(tensors),
            Self::Shared(tensors) => Access::Shared(tensors.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

impl<'s, T: Cut> Output<'s, T> {
    /// Two outputs for two threads: the rows `low`, and the rows `high`. `lock` holds the tensors where they cannot be cut.
    pub fn halves<'t>(self, low: &T::Rows, high: &T::Rows, lock: &'t mut Option<Mutex<T>>) -> [Output<'t, T>; 2]
    where
        's: 't,
    {
        match self {
            Output::Own(tensors) => {
                if let Some(place) = tensors.boundary(low, high) {
                    let (low, high) = tensors.cut(place);
                    return [Output::Own(low), Output::Own(high)];
                }
                let shared = lock.insert(Mutex::new(tensors));
                [Output::Shared(shared), Output::Shared(shared)]
            }
            Output::Shared(tensors) => [Output::Shared(tensors), Output::Shared(tensors)],
        }
    }
}

impl<T> Deref for Access<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Own(tensors) => tensors,
            Self::Shared(tensors) => tensors,
        }
    }
}

impl<T> DerefMut for Access<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        match self {
            Self::Own(tensors) => tensors,
            Self::Shared(tensors) => tensors,
        }
    }
}
