//! How much an image may ask for.

/// Limits on one image. All are far above what real images have.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of all layers unpacked, together; holes of sparse files count.
    pub unpacked_bytes: u64,
    /// Entries of all layers, together.
    pub entries: u64,
    /// How many times its stored size a layer may unpack to, once it is over [`Limits::bomb_bytes`].
    pub ratio: u64,
    /// Bytes that a layer may unpack to, however small it is stored.
    pub bomb_bytes: u64,
    /// Layers.
    pub layers: usize,
    /// Bytes of a manifest, index or config.
    pub document_bytes: u64,
    /// Files of an archive that holds an image, before its layers are looked into.
    pub members: usize,
}

impl Default for Limits {
    /// 64 GiB, two million entries, 200 times beyond 1 GiB, 512 layers, 8 MiB a document.
    fn default() -> Self {
        Self {
            unpacked_bytes: 64 << 30,
            entries: 2_000_000,
            ratio: 200,
            bomb_bytes: 1 << 30,
            layers: 512,
            document_bytes: 8 << 20,
            members: 100_000,
        }
    }
}
