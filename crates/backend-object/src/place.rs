//! Where a vault lies in an object store, as a URL.

use std::fmt;

/// A URL that names no place in an object store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{url}` is no place in an object store: {why}")]
pub struct PlaceError {
    url: String,
    why: &'static str,
}

/// Whose protocol is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Amazon S3 and what speaks it.
    S3,
    /// Azure Blob Storage.
    Azure,
    /// Google Cloud Storage.
    Google,
}

impl Provider {
    const ALL: [Self; 3] = [Self::S3, Self::Azure, Self::Google];

    /// The scheme of its URLs.
    #[must_use]
    pub fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Azure => "az",
            Self::Google => "gs",
        }
    }

    /// What the names of its environment variables begin with.
    #[must_use]
    pub fn variables(self) -> &'static str {
        match self {
            Self::S3 => "AWS_",
            Self::Azure => "AZURE_",
            Self::Google => "GOOGLE_",
        }
    }
}

/// A bucket (Azure: container) and what the names of a vault's objects begin with there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Whose protocol is spoken.
    pub provider: Provider,
    /// The bucket or container.
    pub bucket: String,
    /// Segments without a `/` at either end; empty for the whole bucket.
    pub prefix: String,
}

impl Place {
    /// Longest prefix in bytes: with an object's name behind it, every store takes the key.
    pub const MAX_PREFIX: usize = 200;

    /// Reads `s3://BUCKET/PREFIX`, `az://CONTAINER/PREFIX` or `gs://BUCKET/PREFIX`. `None` when it
    /// is no URL of an object store, so perhaps a directory.
    pub fn parse(url: &str) -> Option<Result<Self, PlaceError>> {
        let (scheme, rest) = url.split_once("://")?;
        let provider = Provider::ALL
            .into_iter()
            .find(|provider| provider.scheme() == scheme)?;
        Some(Self::within(provider, rest).map_err(|why| PlaceError {
            url: url.to_owned(),
            why,
        }))
    }

    fn within(provider: Provider, rest: &str) -> Result<Self, &'static str> {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if bucket.is_empty() || !bucket.bytes().all(plain) {
            return Err("the bucket's name is letters, digits, `.`, `_` and `-`");
        }
        let good = |segment: &str| !segment.is_empty() && !segment.starts_with('.');
        let segments = prefix.is_empty() || prefix.split('/').all(good);
        if !segments || !prefix.bytes().all(|byte| byte == b'/' || plain(byte)) {
            return Err("the prefix is segments of letters, digits, `.`, `_` and `-`");
        }
        if prefix.len() > Self::MAX_PREFIX {
            return Err("the prefix is longer than 200 bytes");
        }
        Ok(Self {
            provider,
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }

    /// What a user would call it: the last segment.
    #[must_use]
    pub fn short_name(&self) -> &str {
        let last = self.prefix.rsplit('/').next().unwrap_or_default();
        if last.is_empty() { &self.bucket } else { last }
    }

    /// The key of an object of this name.
    pub(crate) fn key(&self, name: &str) -> String {
        match (self.prefix.as_str(), name) {
            ("", name) => name.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, name) => format!("{prefix}/{name}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.provider.scheme(), self.bucket)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_places_and_paths_are_not() {
        for (url, want) in [
            ("s3://b", Some(("s3://b", "b"))),
            ("s3://b/", Some(("s3://b", "b"))),
            ("az://c/vault", Some(("az://c/vault", "vault"))),
            (
                "gs://b.example/a/B_2/",
                Some(("gs://b.example/a/B_2", "B_2")),
            ),
            ("/mnt/vault", None),
            ("s3", None),
            ("https://b/vault", None),
        ] {
            let place = Place::parse(url).map(|place| place.unwrap());
            let said = place.map(|place| (place.to_string(), place.short_name().to_owned()));
            let want = want.map(|(text, name)| (text.to_owned(), name.to_owned()));
            assert_eq!(said, want, "{url}");
        }
    }

    #[test]
    fn odd_urls_are_refused() {
        let long = format!("s3://b/{}", "x".repeat(201));
        for url in [
            "s3://",
            "s3:///p",
            "s3://b//p",
            "s3://b/../p",
            "s3://b/p//",
            "s3://b/p?x=1",
            "s3://user:secret@b/p",
            "s3://b/a b",
            &long,
        ] {
            assert!(
                Place::parse(url).is_some_and(|place| place.is_err()),
                "{url}"
            );
        }
    }
}
