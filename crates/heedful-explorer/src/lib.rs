//! The explorer: a page that shows attention, and the HTTP API behind it.
