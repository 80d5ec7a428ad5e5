//! What a sandboxed worker cannot do.

use std::process::Command;

fn worker(arguments: &[&str]) -> serde_json::Value {
    let output = Command::new(env!("CARGO_BIN_EXE_weir-worker"))
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text:?}, {output:?}"))
}

#[test]
fn every_way_out_is_refused() {
    let cache = tempfile::tempdir().unwrap();
    let cache = cache.path().to_str().unwrap();
    let said = worker(&["--check-sandbox", "--cache", cache]);
    let attempts = said["attempts"].as_object().unwrap();
    assert!(attempts.len() >= 10);
    for (what, outcome) in attempts {
        assert_eq!(outcome, "refused", "{what}");
    }
    if said["namespaces"] == "as root" {
        assert!(said["user"].as_u64() > Some(65_535), "{said}");
    }
}

#[test]
fn devices_can_be_probed_from_inside() {
    let all = worker(&["--probe-all"]);
    let first = &all["platforms"][0];
    assert!(
        first["devices"][0]["global_mem"].as_u64().unwrap() > 0,
        "{all}"
    );
    let name = first["name"].as_str().unwrap();
    let one = worker(&["--probe", "--platform", name]);
    assert_eq!(one["device"], first["devices"][0]["name"]);
    let none = worker(&["--probe", "--platform", "no such platform"]);
    assert!(none["error"].as_str().unwrap().contains(name), "{none}");
}
