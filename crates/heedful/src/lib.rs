//! Exact attention on CPUs that can be looked into.
