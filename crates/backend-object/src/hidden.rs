//! What somebody hid: held objects behind delete markers.
//!
//! A plain DELETE in a bucket with versions puts a marker before the object, held or not. To all who
//! look, the object is gone; its version is there. Tresor never hides what is held, so whoever did was
//! somebody else, and taking the markers away undoes it. What is not held is left as it is: that was
//! removed.

use std::collections::BTreeMap;

use http::Method;
use jiff::Timestamp;
use tresor_backend::{Error, ErrorKind, ObjectName};

use crate::ObjectBackend;
use crate::direct::Ask;
use crate::lock::{encode, held, of_version};

/// An object that is there and not to be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    /// Its name.
    pub name: ObjectName,
    markers: Vec<String>,
}

/// What a bucket has under one key.
#[derive(Debug, Default, PartialEq, Eq)]
struct Versions {
    is_hidden: bool,
    markers: Vec<String>,
    bodies: Vec<String>,
}

impl ObjectBackend {
    /// All objects that the store holds and that are hidden, sorted by name. Empty where there are no
    /// versions.
    ///
    /// # Errors
    /// When the store fails, or these credentials may not list versions.
    pub async fn hidden(&self) -> Result<Vec<Hidden>, Error> {
        let now = Timestamp::now();
        let mut hidden = Vec::new();
        for (name, versions) in self.versions().await? {
            if !versions.is_hidden {
                continue;
            }
            for version in &versions.bodies {
                if self.is_version_held(&name, version, now).await? {
                    let markers = versions.markers;
                    hidden.push(Hidden { name, markers });
                    break;
                }
            }
        }
        Ok(hidden)
    }

    /// Takes the markers before an object away.
    ///
    /// # Errors
    /// When the store fails, or these credentials may not remove versions.
    pub async fn unhide(&self, hidden: &Hidden) -> Result<(), Error> {
        let Some(direct) = self.s3() else {
            return Ok(());
        };
        for marker in &hidden.markers {
            self.delete_directly(direct, &hidden.name, &of_version(marker))
                .await?;
        }
        Ok(())
    }

    async fn is_version_held(
        &self,
        name: &ObjectName,
        version: &str,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let Some(direct) = self.s3() else {
            return Ok(false);
        };
        let version = of_version(version);
        let head = self.head_of(direct, "list", name, &version).await?;
        Ok(held(&head, now).is_some())
    }

    async fn versions(&self) -> Result<BTreeMap<ObjectName, Versions>, Error> {
        let mut found = BTreeMap::new();
        let Some(direct) = self.s3() else {
            return Ok(found);
        };
        let below = match self.place.prefix.as_str() {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        let mut from = String::new();
        loop {
            let ask = Ask {
                operation: "list",
                method: Method::GET,
                name: None,
                query: format!("?versions&prefix={}{from}", encode(&below)),
                body: String::new(),
            };
            let answer = self.ask(direct, ask).await?;
            let text = String::from_utf8_lossy(&answer.body);
            read_page(&text, &below, &mut found);
            let next = next_page(&text);
            let error =
                |why: &str| Error::new(ErrorKind::Unavailable, "list", below.as_str()).because(why);
            match next {
                None => return Ok(found),
                Some(next) if next == from => return Err(error("the list goes in circles")),
                Some(next) => from = next,
            }
        }
    }
}

/// Takes the entries of a page; keys that are none of a vault's are passed over.
fn read_page(text: &str, below: &str, found: &mut BTreeMap<ObjectName, Versions>) {
    for (entry, is_marker) in [("Version", false), ("DeleteMarker", true)] {
        for inner in text.split(&format!("<{entry}>")).skip(1) {
            let Some((inner, _)) = inner.split_once(&format!("</{entry}>")) else {
                continue;
            };
            let key = element(inner, "Key").and_then(|key| key.strip_prefix(below));
            let name = key.and_then(|key| ObjectName::new(key).ok());
            let (Some(name), Some(version)) = (name, element(inner, "VersionId")) else {
                continue;
            };
            let versions = found.entry(name).or_default();
            let of = match is_marker {
                true => &mut versions.markers,
                false => &mut versions.bodies,
            };
            of.push(version.to_owned());
            versions.is_hidden |= is_marker && element(inner, "IsLatest") == Some("true");
        }
    }
}

/// Where the next page begins, as it goes into the query.
fn next_page(text: &str) -> Option<String> {
    let key = element(text, "NextKeyMarker").filter(|key| !key.is_empty())?;
    let mut from = format!("&key-marker={}", encode(key));
    if let Some(version) = element(text, "NextVersionIdMarker") {
        from.push_str(&format!("&version-id-marker={}", encode(version)));
    }
    (element(text, "IsTruncated") == Some("true")).then_some(from)
}

fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    Some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_versions() {
        let entry = |kind: &str, key: &str, id: &str, latest: bool| {
            format!(
                "<{kind}><Key>{key}</Key><VersionId>{id}</VersionId><IsLatest>{latest}</IsLatest></{kind}>"
            )
        };
        let text = [
            "<ListVersionsResult><IsTruncated>true</IsTruncated>".to_owned(),
            "<NextKeyMarker>v/b+c</NextKeyMarker>".to_owned(),
            "<NextVersionIdMarker>i/d=</NextVersionIdMarker>".to_owned(),
            entry("DeleteMarker", "v/a", "m2", true),
            entry("DeleteMarker", "v/a", "m1", false),
            entry("Version", "v/a", "1", false),
            entry("Version", "v/b", "2", true),
            entry("DeleteMarker", "v/b", "m3", false),
            entry("Version", "v/a//b", "3", true),
            entry("Version", "w/a", "4", true),
            "</ListVersionsResult>".to_owned(),
        ]
        .concat();
        let mut found = BTreeMap::new();
        read_page(&text, "v/", &mut found);
        let versions = |is_hidden, markers: &[&str], bodies: &[&str]| Versions {
            is_hidden,
            markers: markers.iter().map(|&id| id.to_owned()).collect(),
            bodies: bodies.iter().map(|&id| id.to_owned()).collect(),
        };
        let name = |text| ObjectName::new(text).unwrap();
        let want = BTreeMap::from([
            (name("a"), versions(true, &["m2", "m1"], &["1"])),
            (name("b"), versions(false, &["m3"], &["2"])),
        ]);
        assert_eq!(found, want);
        let next = next_page(&text).unwrap();
        assert_eq!(next, "&key-marker=v%2Fb%2Bc&version-id-marker=i%2Fd%3D");
        assert_eq!(next_page(&text.replace(">true<", ">false<")), None);
        assert_eq!(next_page(""), None);
    }
}
