//! People are told: by a real server, on a real catalog, whatever dies or is away meanwhile.

mod killed;
mod support;
mod waiting;
