//! The body of an answer, encoded once for all clients that ask for it.

use std::{io::Write as _, sync::OnceLock};

use axum::body::Bytes;
use flate2::{Compression, write::GzEncoder};

use crate::present::metrics::{self, Exposition, Format};

/// Bodies below this size are never compressed: they fit into one packet as they are.
const MIN_COMPRESSED: usize = 1400;

/// The metrics of one reading in each format and coding, as far as a client has asked for them.
///
/// All are encoded on the HTTP thread. There are at most six, and they are dropped with the
/// reading.
#[derive(Debug, Default)]
pub struct Bodies {
    plain: [OnceLock<Option<Bytes>>; Format::ALL.len()],
    compressed: [OnceLock<Option<Body>>; Format::ALL.len()],
}

/// A body.
#[derive(Clone, Debug)]
pub struct Body {
    /// Its bytes.
    pub bytes: Bytes,
    /// Whether they are compressed by gzip.
    pub is_gzip: bool,
}

impl Bodies {
    /// The body of `exposition`, or `None` if it cannot be encoded. It is compressed if `gzip`,
    /// and if that makes it smaller.
    pub fn get(&self, exposition: &Exposition, format: Format, gzip: bool) -> Option<Body> {
        let plain = &self.plain[format as usize];
        if !gzip {
            let bytes = plain.get_or_init(|| encode(exposition, format)).clone()?;
            return Some(Body { bytes, is_gzip: false });
        }
        let compressed = self.compressed[format as usize].get_or_init(|| {
            // The uncompressed bytes are not kept, because clients of one reading mostly request
            // the same coding.
            let bytes = match plain.get() {
                Some(bytes) => bytes.clone()?,
                None => encode(exposition, format)?,
            };
            Some(match compress(&bytes) {
                Some(bytes) => Body { bytes, is_gzip: true },
                None => Body { bytes, is_gzip: false },
            })
        });
        compressed.clone()
    }
}

fn encode(exposition: &Exposition, format: Format) -> Option<Bytes> {
    match metrics::encode(exposition, format) {
        Ok(bytes) => Some(bytes.into()),
        Err(error) => {
            tracing::error!("cannot encode the metrics: {error}");
            None
        }
    }
}

/// `bytes`, compressed by gzip, or `None` if that is not worth it.
///
/// The level is the fastest: text shrinks to about an eighth, and slower levels take several times
/// as long to save a few more percent.
fn compress(bytes: &[u8]) -> Option<Bytes> {
    if bytes.len() < MIN_COMPRESSED {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 6), Compression::fast());
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    let compressed = written.expect("a vector takes all bytes");
    (compressed.len() < bytes.len()).then(|| compressed.into())
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, sync::Arc};

    use flate2::read::GzDecoder;
    use profiler_common::call::{Abi, CallKey};

    use super::*;
    use crate::model::{CallRow, Figures, Snapshot};

    #[test]
    fn compressed_bodies_are_the_same_ones() {
        let rows = (0..100).map(|nr| {
            let total = Figures { calls: 1, ..Figures::default() };
            CallRow::new(CallKey::of(Abi::X86_64, nr), total)
        });
        let snapshot = Arc::new(Snapshot { calls: rows.collect(), ..Snapshot::default() });
        let exposition = Exposition { snapshot, ..Exposition::default() };
        let bodies = Bodies::default();
        for format in Format::ALL {
            let compressed = bodies.get(&exposition, format, true).expect("encodes");
            let plain = bodies.get(&exposition, format, false).expect("encodes");
            assert!(compressed.is_gzip && !plain.is_gzip, "{format:?}");
            assert!(compressed.bytes.len() < plain.bytes.len() / 2, "{format:?}");
            let mut decoded = Vec::new();
            GzDecoder::new(&*compressed.bytes).read_to_end(&mut decoded).expect("gzip");
            assert_eq!(decoded, plain.bytes, "{format:?}");
            assert_eq!(plain.bytes, metrics::encode(&exposition, format).expect("encodes"));
        }
    }

    #[test]
    fn what_is_small_or_dense_is_not_compressed() {
        assert_eq!(compress(&[b'a'; MIN_COMPRESSED - 1]), None);
        assert!(compress(&[b'a'; MIN_COMPRESSED]).is_some());
        let mut state = 1_u64;
        let dense: Vec<u8> = (0..10_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        assert_eq!(compress(&dense), None);
    }
}
