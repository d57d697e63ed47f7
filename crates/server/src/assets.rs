//! The pages of `/docs`, out of the archive that the vendored crate puts into the binary.
//!
//! Files are sent as they are stored: a deflated one becomes gzip by putting gzip's header and trailer around it, so that
//! nothing is unpacked here.

use std::sync::OnceLock;

use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;

/// The files that the page needs.
const NAMES: &[&str] = &[
    "swagger-ui.css",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
    "favicon-16x16.png",
    "favicon-32x32.png",
];

/// One file, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asset {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its media type.
    pub(crate) content_type: &'static str,
    /// Whether `bytes` is gzip.
    pub(crate) gzip: bool,
    /// What is sent.
    pub(crate) bytes: Vec<u8>,
}

/// The file with a name.
pub(crate) fn asset(name: &str) -> Option<&'static Asset> {
    static ASSETS: OnceLock<Vec<Asset>> = OnceLock::new();
    ASSETS
        .get_or_init(|| read_archive(SWAGGER_UI_VENDORED).unwrap_or_default())
        .iter()
        .find(|asset| asset.name == name)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}

/// Reads the archive's central directory (APPNOTE 4.3.12), which ends with a record of 22 bytes and a comment.
fn read_archive(archive: &[u8]) -> Option<Vec<Asset>> {
    let end = archive.windows(4).rposition(|bytes| bytes == b"PK\x05\x06")?;
    let (entries, mut at) = (number(archive, end + 10, 2)?, number(archive, end + 16, 4)?);
    let mut assets = Vec::new();
    for _ in 0..entries {
        let (name, next) = entry_name(archive, at)?;
        let wanted = NAMES
            .iter()
            .find(|wanted| name.strip_suffix(**wanted).is_some_and(|folder| folder.ends_with("/dist/")));
        if let Some(name) = wanted.filter(|_| !name.contains("/flavors/")) {
            assets.push(read_entry(archive, at, name)?);
        }
        at = next;
    }
    Some(assets)
}

fn entry_name(archive: &[u8], at: usize) -> Option<(&str, usize)> {
    if number(archive, at, 4)? != 0x0201_4b50 {
        return None;
    }
    let (name, extra, comment) =
        (number(archive, at + 28, 2)?, number(archive, at + 30, 2)?, number(archive, at + 32, 2)?);
    let text = std::str::from_utf8(archive.get(at + 46..at + 46 + name)?).ok()?;
    Some((text, at + 46 + name + extra + comment))
}

fn read_entry(archive: &[u8], at: usize, name: &'static str) -> Option<Asset> {
    let deflated = number(archive, at + 10, 2)? == 8;
    let (checksum, stored, plain) =
        (archive.get(at + 16..at + 20)?, number(archive, at + 20, 4)?, archive.get(at + 24..at + 28)?);
    let header = number(archive, at + 42, 4)?;
    let data = header + 30 + number(archive, header + 26, 2)? + number(archive, header + 28, 2)?;
    let data = archive.get(data..data + stored)?;
    let bytes = if deflated {
        // RFC 1952 §2.3: deflate, no flags, no time, unknown system; then the checksum and the length.
        let header: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        [header, data, checksum, plain].concat()
    } else {
        data.to_vec()
    };
    Some(Asset { name, content_type: content_type(name), gzip: deflated, bytes })
}

/// A little-endian number of up to four bytes.
fn number(archive: &[u8], at: usize, bytes: usize) -> Option<usize> {
    let field = archive.get(at..at + bytes)?;
    Some(field.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_in_the_binary() {
        for name in NAMES {
            let asset = asset(name).unwrap_or_else(|| panic!("{name} is missing"));
            let magic: &[u8] = if asset.gzip { &[0x1f, 0x8b] } else { b"\x89P" };
            assert!(asset.bytes.starts_with(magic) && asset.bytes.len() > 500, "{name}");
        }
        assert_eq!(asset("../Cargo.toml"), None);
    }

    #[test]
    fn a_damaged_archive_has_no_files() {
        assert_eq!(read_archive(b""), None);
        assert_eq!(read_archive(&[0; 100]), None);
        assert_eq!(read_archive(&SWAGGER_UI_VENDORED[..1000]), None);
    }
}
