//! The hosts of the REST API. An application lives in one region; another region's host answers
//! 60026, older ones 60006 or 70020 (page `errors`).

/// A region's name in the configuration and its hosts (page `rest-intro`; the stand-by hosts are
/// known from the provider's SDKs only).
struct Region {
    name: &'static str,
    base_url: &'static str,
    stand_by: Option<&'static str>,
}

const REGIONS: &[Region] = &[
    region("china", "https://console.tim.qq.com", Some("https://adminapi.my-imcloud.com")),
    region(
        "singapore",
        "https://adminapisgp.im.qcloud.com",
        Some("https://adminapisgp.my-imcloud.com"),
    ),
    region("seoul", "https://adminapikr.im.qcloud.com", Some("https://adminapikr.my-imcloud.com")),
    region("tokyo", "https://adminapijpn.im.qcloud.com", None),
    region(
        "frankfurt",
        "https://adminapiger.im.qcloud.com",
        Some("https://adminapiger.my-imcloud.com"),
    ),
    region(
        "silicon-valley",
        "https://adminapiusa.im.qcloud.com",
        Some("https://adminapiusa.my-imcloud.com"),
    ),
    region("jakarta", "https://adminapiidn.im.qcloud.com", None),
    region(
        "mumbai",
        "https://adminapiind.im.qcloud.com",
        Some("https://adminapiind.my-imcloud.com"),
    ),
    region(
        "riyadh",
        "https://adminapiksa.im.qcloud.com",
        Some("https://adminapiksa.my-imcloud.com"),
    ),
];

const fn region(
    name: &'static str,
    base_url: &'static str,
    stand_by: Option<&'static str>,
) -> Region {
    Region { name, base_url, stand_by }
}

/// Scheme and host of a region's REST API.
#[must_use]
pub fn base_url(region: &str) -> Option<&'static str> {
    REGIONS.iter().find(|known| known.name == region).map(|known| known.base_url)
}

/// The names that [`base_url`] knows, for messages about one that it does not.
pub fn names() -> impl Iterator<Item = &'static str> {
    REGIONS.iter().map(|region| region.name)
}

/// Every host of the provider, stand-by hosts included. A configured host that is none of these is
/// worth a warning, since the secret's signature is sent there.
pub fn known_hosts() -> impl Iterator<Item = &'static str> {
    let urls = REGIONS.iter().flat_map(|region| [Some(region.base_url), region.stand_by]);
    urls.flatten().filter_map(|url| url.strip_prefix("https://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_region_has_a_host_of_its_own() {
        let hosts: std::collections::HashSet<_> = known_hosts().collect();
        assert_eq!(hosts.len(), 16);
        for name in names() {
            let host = base_url(name).and_then(|url| url.strip_prefix("https://")).unwrap();
            assert!(hosts.contains(host), "{name}");
        }
        assert_eq!(base_url("singapore"), Some("https://adminapisgp.im.qcloud.com"));
        assert_eq!(base_url("moon"), None);
    }
}
