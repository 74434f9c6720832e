//! Generic tests.
