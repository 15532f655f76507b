//! From oci-spec's types to a configuration that this library reads: for callers that hold a `Spec`. Cargo feature `oci-spec`.
//! In: `oci_spec::runtime::Spec`. Out: [`ConfigText`], the text of config.json.

use oci_spec::runtime::Spec as OciSpec;

use super::{Document, Spec};
use crate::error::{Error, ErrorKind, Result};

/// The text of a config.json. It owns what [`Spec`] borrows; written to `BUNDLE/config.json` it makes a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigText(Vec<u8>);

impl ConfigText {
    /// The JSON.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The configuration as this library understands it.
    ///
    /// # Errors
    /// As [`super::config`].
    pub fn read(&self) -> Result<Document<Spec<'_>>> {
        super::config(&self.0, "config.json")
    }
}

/// Not `From`: oci-spec keeps paths as they are in the file system, where they need not be UTF-8 as JSON demands.
impl TryFrom<&OciSpec> for ConfigText {
    type Error = Error;

    fn try_from(spec: &OciSpec) -> Result<ConfigText> {
        let text = serde_json::to_vec(spec);
        text.map(ConfigText)
            .map_err(|e| Error::new(ErrorKind::Config, "config-json", format!("write the configuration as JSON: {e}")))
    }
}
