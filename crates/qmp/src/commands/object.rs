//! QEMU's object tree (QOM), and objects that users create.

use serde::Deserialize;
use serde_json::Value;

use super::{Nothing, commands};

commands! {
    /// `qom-get`.
    QomGet => "qom-get" -> Value {
        /// Where.
        path: String,
        /// Which property.
        property: String,
    }

    /// `qom-set`.
    QomSet => "qom-set" -> Nothing {
        /// Where.
        path: String,
        /// Which property.
        property: String,
        /// Its new value.
        value: Value,
    }

    /// `qom-list`.
    QomList => "qom-list" -> Vec<Property> {
        /// Where.
        path: String,
    }

    /// `object-add` of an object without further properties.
    ObjectAdd => "object-add" -> Nothing {
        /// Its class.
        qom_type: String,
        /// Its id.
        id: String,
    }

    /// `object-del`.
    ObjectDel => "object-del" -> Nothing {
        /// Its id.
        id: String,
    }
}

/// A property in the object tree.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// Its type; of a child `child<CLASS>`.
    #[serde(rename = "type")]
    pub kind: String,
}

impl Property {
    /// The class, when the property is a child.
    #[must_use]
    pub fn child_class(&self) -> Option<&str> {
        self.kind.strip_prefix("child<")?.strip_suffix('>')
    }
}
