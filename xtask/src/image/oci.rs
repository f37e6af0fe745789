// SPDX-License-Identifier: MIT OR Apache-2.0
//! An OCI image of one binary, as the tar of an image layout (OCI image-spec 1.0, image-layout.md): what
//! `ctr images import`, `skopeo copy oci-archive:` and `podman load` take.

use anyhow::Result;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::tar::Archive;

/// Where the binary is in the image.
const BINARY: &str = "usr/bin/netagent";
/// Everything is of this moment: an image says what is in it, not when somebody packed it.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// What makes an image.
pub(super) struct Image<'a> {
    pub(super) binary: &'a [u8],
    /// As containerd and podman store it, with host and tag: `localhost/netagent:0.1.0`.
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    /// As Go spells it.
    pub(super) architecture: &'a str,
    /// `LICENSE-…` and their texts.
    pub(super) licences: &'a [(&'a str, Vec<u8>)],
}

/// A packed image.
pub(super) struct Packed {
    /// The archive.
    pub(super) tar: Vec<u8>,
    /// Digest of the manifest, by which registries know an image.
    pub(super) digest: String,
}

impl Image<'_> {
    /// Packs the image. The same binary gives the same bytes.
    pub(super) fn pack(&self) -> Result<Packed> {
        let layer = self.layer()?;
        let config = bytes(&json!({
            "created": CREATED,
            "architecture": self.architecture,
            "os": "linux",
            "config": { "Entrypoint": [format!("/{BINARY}")], "Cmd": ["run"], "WorkingDir": "/" },
            "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
            "history": [{ "created": CREATED, "created_by": "cargo xtask image" }],
        }));
        let manifest = bytes(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
            "annotations": {
                "org.opencontainers.image.title": "netagent",
                "org.opencontainers.image.description": "Gives a VM inside a Kubernetes pod the pod's network",
                "org.opencontainers.image.version": self.version,
                "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
            },
        }));
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
        entry["platform"] = json!({ "architecture": self.architecture, "os": "linux" });
        // The first is containerd's own and names the image whole; the second is the specification's.
        entry["annotations"] = json!({
            "io.containerd.image.name": self.name,
            "org.opencontainers.image.ref.name": self.version,
        });
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [entry],
        });
        let digest = digest(&manifest);
        let mut blobs = [layer, config, manifest].map(|blob| (blob_path(&blob), blob));
        blobs.sort();
        let mut tar = Archive::default();
        tar.directory("blobs")?;
        tar.directory("blobs/sha256")?;
        for (path, blob) in &blobs {
            tar.file(path, 0o644, blob)?;
        }
        tar.file("index.json", 0o644, &bytes(&index))?;
        tar.file("oci-layout", 0o644, &bytes(&json!({ "imageLayoutVersion": "1.0.0" })))?;
        Ok(Packed { tar: tar.finish(), digest })
    }

    /// The root file system: the binary, its licences, and the link by which runtimes' paths below /var/run are those
    /// below /run.
    fn layer(&self) -> Result<Vec<u8>> {
        let mut tar = Archive::default();
        for directory in ["run", "usr", "usr/bin"] {
            tar.directory(directory)?;
        }
        tar.file(BINARY, 0o755, self.binary)?;
        for directory in ["usr/share", "usr/share/licenses", "usr/share/licenses/netagent"] {
            tar.directory(directory)?;
        }
        for (name, text) in self.licences {
            tar.file(&format!("usr/share/licenses/netagent/{name}"), 0o644, text)?;
        }
        tar.directory("var")?;
        tar.link("var/run", "../run")?;
        Ok(tar.finish())
    }
}

/// JSON with its keys in order.
fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(blob), "size": blob.len() })
}

fn blob_path(blob: &[u8]) -> String {
    digest(blob).replacen("sha256:", "blobs/sha256/", 1)
}

fn digest(blob: &[u8]) -> String {
    let hex: String = Sha256::digest(blob).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(binary: &[u8]) -> Packed {
        let licences = [("LICENSE-MIT", b"text".to_vec())];
        Image {
            binary,
            name: "localhost/netagent:1.2.3",
            version: "1.2.3",
            architecture: "amd64",
            licences: &licences,
        }
        .pack()
        .unwrap()
    }

    #[test]
    fn the_same_binary_is_the_same_image() {
        let (one, again, other) = (image(b"a"), image(b"a"), image(b"b"));
        assert_eq!((&one.tar, &one.digest), (&again.tar, &again.digest));
        assert_ne!(one.digest, other.digest);
    }

    #[test]
    fn digests_are_those_of_the_standard() {
        // FIPS 180-2, B.1.
        assert_eq!(digest(b"abc"), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
