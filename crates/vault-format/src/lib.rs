//! vault-format
