//! The translator as a library.
