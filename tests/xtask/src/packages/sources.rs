//! Where packages come from: Debian 12's suites on the mirror that the host itself uses.

use std::process::Command;

use crate::process;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const MAIN: &str = "http://deb.debian.org/debian";
const SECURITY: &str = "http://deb.debian.org/debian-security";

/// The `sources.list` of the private apt.
pub fn list() -> String {
    let configured = configured();
    let mirror = |release: &str, default: &str| {
        configured
            .iter()
            .find(|(_, known)| known == release)
            .map_or_else(|| default.to_owned(), |(uri, _)| uri.clone())
    };
    let main = mirror("bookworm", MAIN);
    let security = mirror("bookworm-security", SECURITY);
    let backports = mirror("bookworm-backports", &main);
    let updates = mirror("bookworm-updates", &main);
    [
        (main, "bookworm"),
        (updates, "bookworm-updates"),
        (backports, "bookworm-backports"),
        (security, "bookworm-security"),
    ]
    .iter()
    .map(|(uri, suite)| format!("deb [signed-by={KEYRING}] {uri} {suite} main\n"))
    .collect()
}

/// The host's own sources as pairs of address and release. A host without any, or with another
/// distribution's, gets the defaults.
fn configured() -> Vec<(String, String)> {
    process::capture(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(RELEASE)",
        "Created-By: Packages",
    ]))
    .unwrap_or_default()
    .lines()
    .filter_map(|line| line.split_once(' '))
    .map(|(uri, release)| (uri.trim_end_matches('/').to_owned(), release.to_owned()))
    .collect()
}
