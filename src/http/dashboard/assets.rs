//! What pages need beside their HTML: style, scripts, icon. All of it is in the binary, so that the
//! dashboard works where there is no other network, and each file's address holds a digest of its
//! content, so that browsers may keep it for ever.

use std::fmt::Write;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

/// A year: what is behind an address never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

struct Asset {
    name: &'static str,
    kind: &'static str,
    content: &'static [u8],
}

/// One file of the folder.
macro_rules! asset {
    ($name:literal, $kind:expr) => {
        Asset { name: $name, kind: $kind, content: include_bytes!(concat!("assets/", $name)) }
    };
}

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// htmx 2.0.11 and uPlot 1.6.32 are taken from npm as they are; their licences stand beside them.
static ASSETS: [Asset; 6] = [
    asset!("app.css", CSS),
    asset!("app.js", JS),
    asset!("htmx.js", JS),
    asset!("uplot.css", CSS),
    asset!("uplot.js", JS),
    asset!("icon.svg", "image/svg+xml"),
];

/// The address of each asset, in the same order.
static ADDRESSES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let address = |asset: &Asset| {
        let digest = Sha256::digest(asset.content);
        let short = digest.iter().take(8).fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let (stem, ending) = asset.name.rsplit_once('.').unwrap_or((asset.name, ""));
        format!("/assets/{stem}.{short}.{ending}")
    };
    ASSETS.iter().map(address).collect()
});

/// Where a file is served.
pub(super) fn address(name: &str) -> &'static str {
    let place = ASSETS.iter().position(|asset| asset.name == name);
    place.map_or("/assets/none", |place| &ADDRESSES[place])
}

pub(super) async fn serve(Path(file): Path<String>) -> Response {
    let place = ADDRESSES.iter().position(|address| address["/assets/".len()..] == file);
    let Some(place) = place else { return StatusCode::NOT_FOUND.into_response() };
    let asset = &ASSETS[place];
    let headers = [(header::CONTENT_TYPE, asset.kind), (header::CACHE_CONTROL, FOR_EVER)];
    (headers, asset.content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_hold_a_digest() {
        let address = address("app.css");
        assert!(address.starts_with("/assets/app."), "{address}");
        assert_eq!(address.len(), "/assets/app..css".len() + 16);
    }
}
