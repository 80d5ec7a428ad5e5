use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// A folder with a kernel, an initrd and two disks, and a configuration beside them.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| {
            std::fs::write(folder.path().join(name), content).unwrap();
        };
        write("vmlinuz", &crate::boot::tests::bzimage_start());
        write("initrd.img", b"initrd");
        write("a.img", &[0; 512]);
        write("b.img", &[0; 512]);
        write("text", b"hello");
        Self(folder)
    }

    fn parse(&self, text: &str) -> Result<Config, ConfigError> {
        Config::parse(&Source {
            file: self.0.path().join("test.toml"),
            text: text.into(),
        })
    }

    /// The complaint about `text`, without the folder's name.
    fn complaint(&self, text: &str) -> String {
        let error = self.parse(text).expect_err(text).to_string();
        error.replace(&format!("{}/", self.0.path().display()), "")
    }
}

const GOOD: &str = r#"
[accelerator.gpu0]
api = "opencl"
platform = "Portable"

[vm.bob]
kernel = "vmlinuz"
initrd = "initrd.img"
cpus = 2
memory = "1GiB"
disks = [{ path = "a.img" }, { path = "b.img", read_only = true }]
accelerators.gpu0 = { share = 3, cap = "50%", memory = "2GiB", calls_per_second = 50000, timeout = "10s" }

[vm.alice]
kernel = "vmlinuz"
accelerators.gpu0 = {}
"#;

#[test]
fn a_good_configuration_is_read_whole() {
    let folder = Folder::new();
    let config = folder.parse(GOOD).unwrap();
    let names: Vec<_> = config.vms.iter().map(|vm| vm.name.as_str()).collect();
    assert_eq!(names, ["bob", "alice"]);
    let (bob, alice) = (&config.vms[0], &config.vms[1]);
    assert_eq!(bob.kernel, folder.0.path().join("vmlinuz"));
    assert_eq!((bob.cpus, bob.memory), (2, 1 << 30));
    assert_eq!(bob.disks.len(), 2);
    assert!(!bob.disks[0].read_only && bob.disks[1].read_only);
    let expected = AcceleratorSpec {
        name: "gpu0".into(),
        api: "opencl".into(),
        platform: Some("Portable".into()),
        device: 0,
        share: 3,
        cap: Some(50),
        memory: Some(2 << 30),
        calls_per_second: Some(50000),
        timeout: Some(Duration::from_secs(10)),
        ..AcceleratorSpec::default()
    };
    assert_eq!(bob.accelerators, [expected]);
    assert_eq!(alice.cmdline, DEFAULT_CMDLINE);
    assert_eq!((alice.cpus, alice.memory), (DEFAULT_CPUS, DEFAULT_MEMORY));
    assert_eq!(alice.accelerators[0].share, 1);
    assert_eq!(config.places.accelerators["gpu0"], 2);
    assert_eq!(config.places.grants[&("alice".into(), "gpu0".into())], 16);
}

/// Each mistake, by what replaces what in the good configuration, and the complaint.
const MISTAKES: [(&str, &str, &str); 21] = [
    (
        "cpus = 2",
        "cpu = 2",
        "test.toml:9: [vm.bob] knows no key `cpu` (did you mean `cpus`?); it may have `kernel`, \
         `initrd`, `cmdline`, `cpus`, `memory`, `disks` and `accelerators`",
    ),
    (
        "memory = \"1GiB\"",
        "memory = \"1Gb\"",
        "test.toml:10: `memory`: \"1Gb\" is no size: write a whole number and KiB, MiB, GiB or \
         TiB, such as \"512MiB\"",
    ),
    (
        "memory = \"1GiB\"",
        "memory = 1024",
        "test.toml:10: `memory` is no text in quotes; write memory = \"1GiB\"",
    ),
    (
        "memory = \"1GiB\"",
        "memory = \"64MiB\"",
        "test.toml:10: `memory`: a machine needs at least 128MiB to boot a stock kernel",
    ),
    (
        "kernel = \"vmlinuz\"\ninitrd",
        "kernel = \"nowhere\"\ninitrd",
        "test.toml:7: `kernel`: nowhere cannot be read: No such file or directory (os error 2)",
    ),
    (
        "kernel = \"vmlinuz\"\ninitrd",
        "kernel = \"text\"\ninitrd",
        "test.toml:7: text is not a kernel that Weir can boot: it must be a 64-bit bzImage (such \
         as Debian's /boot/vmlinuz-*) or an ELF vmlinux for x86-64",
    ),
    (
        "kernel = \"vmlinuz\"\ninitrd",
        "initrd",
        "test.toml:6: [vm.bob] lacks `kernel`; write kernel = \"vmlinuz\"",
    ),
    (
        "initrd.img",
        "other.img",
        "test.toml:8: `initrd`: other.img cannot be read: No such file or directory (os error 2)",
    ),
    (
        "cpus = 2",
        "cpus = 17",
        "test.toml:9: `cpus` is 17, and must be a whole number from 1 to 16",
    ),
    (
        "cpus = 2",
        "cpus = \"two\"",
        "test.toml:9: `cpus` is \"two\", and must be a whole number from 1 to 16",
    ),
    (
        "share = 3",
        "share = 0",
        "test.toml:12: `share` is 0, and must be a whole number from 1 to 10000",
    ),
    (
        "cap = \"50%\"",
        "cap = \"150%\"",
        "test.toml:12: `cap`: \"150%\" is no ceiling: write a percentage from \"1%\" to \"100%\"",
    ),
    (
        "memory = \"2GiB\"",
        "memory = \"0GiB\"",
        "test.toml:12: `memory`: a quota of nothing lets nothing be done; leave the key out for \
         no quota",
    ),
    (
        "calls_per_second = 50000",
        "calls_per_second = -1",
        "test.toml:12: `calls_per_second` is -1, and must be a whole number from 1",
    ),
    (
        "timeout = \"10s\"",
        "timeout = \"10\"",
        "test.toml:12: `timeout`: \"10\" is no time: write a whole number and ms, s, min or h, \
         such as \"10s\"",
    ),
    (
        "accelerators.gpu0 = {}",
        "accelerators.gpu1 = {}",
        "test.toml:16: no accelerator is called `gpu1`; define it with a table \
         [accelerator.gpu1]",
    ),
    (
        "api = \"opencl\"\n",
        "",
        "test.toml:2: [accelerator.gpu0] lacks `api`; write api = \"opencl\"",
    ),
    (
        "[vm.alice]",
        "[machine.alice]",
        "test.toml:14: the top level knows no key `machine`; it may have `accelerator`, `vm`, `tenant` and `metrics`",
    ),
    (
        "[vm.alice]",
        "[vm.\"a/b\"]",
        "test.toml:14: `a/b` is no name for [vm.NAME]: use at most 64 letters, digits, `-` and \
         `_`",
    ),
    (
        "disks = [{ path = \"a.img\" }",
        "disks = [\"a.img\"",
        "test.toml:11: `disks` must be a list of tables; write disks = [{ path = \"disk.img\" }]",
    ),
    (
        "read_only = true",
        "read_only = 1",
        "test.toml:11: `read_only` must be true or false",
    ),
];

#[test]
fn every_mistake_gets_one_clear_sentence() {
    let folder = Folder::new();
    for (from, to, complaint) in MISTAKES {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        assert_eq!(folder.complaint(&text), complaint);
    }
}

#[test]
fn what_is_not_toml_is_told_with_its_line() {
    let complaint = Folder::new().complaint("[vm.alice]\nkernel = \n");
    assert!(
        complaint.starts_with("test.toml:2: this is not TOML: "),
        "{complaint}"
    );
}

#[test]
fn a_policy_is_read_or_refused() {
    let folder = Folder::new();
    let with = |policy: &str| GOOD.replacen("api =", &format!("policy = \"{policy}\"\napi ="), 1);
    let policy = |text: &str| folder.parse(text).unwrap().vms[0].accelerators[0].policy;
    assert_eq!(policy(&with("fifo")), PolicyKind::Fifo);
    assert_eq!(policy(&with("none")), PolicyKind::None);
    assert_eq!(policy(GOOD), PolicyKind::Fair);
    let complaint = folder.complaint(&with("lottery"));
    assert!(
        complaint.ends_with("write \"fair\", \"fifo\", \"strict\" or \"none\""),
        "{complaint}"
    );
}

#[test]
fn an_address_for_metrics_is_read_or_refused() {
    let folder = Folder::new();
    let with = |address: &str| format!("metrics = \"{address}\"\n{GOOD}");
    let config = folder.parse(&with("127.0.0.1:9464")).unwrap();
    assert_eq!(config.metrics, "127.0.0.1:9464".parse().ok());
    assert!(folder.parse(&with("[::1]:80")).unwrap().metrics.is_some());
    let complaint = folder.complaint(&with("localhost"));
    assert!(complaint.starts_with("test.toml:1: `metrics`: \"localhost\" is no address"));
}

#[test]
fn a_configuration_without_machines_is_refused() {
    let complaint = Folder::new().complaint("[accelerator.gpu0]\napi = \"opencl\"\n");
    assert!(
        complaint.contains("no machine and no local tenant is defined"),
        "{complaint}"
    );
}

#[test]
fn limits_are_read_and_impossible_ones_refused() {
    let folder = Folder::new();
    let text = |grant: &str| {
        format!(
            "[accelerator.gpu0]\napi = \"opencl\"\n[vm.a]\nkernel = \"vmlinuz\"\n\
             accelerators.gpu0 = {{ {grant} }}\n"
        )
    };
    let good = "priority = \"interactive\", bytes_per_second = \"1GiB\", clients = 8, \
                handles = 1000, queue_depth = 64, arena = \"64MiB\"";
    let config = folder.parse(&text(good)).unwrap();
    let grant = &config.vms[0].accelerators[0];
    assert!(grant.interactive);
    assert_eq!(grant.bytes_per_second, Some(1 << 30));
    let counts = (grant.clients, grant.handles, grant.queue_depth);
    assert_eq!(counts, (Some(8), Some(1000), Some(64)));
    assert_eq!(grant.arena, Some(64 << 20));
    for (bad, expected) in [
        ("priority = \"high\"", "\"normal\" or \"interactive\""),
        ("clients = 0", "clients"),
        ("clients = 5000", "clients"),
        ("handles = 2000000", "handles"),
        ("arena = \"1MiB\"", "4MiB to 64GiB"),
    ] {
        let complaint = folder.complaint(&text(bad));
        assert!(complaint.contains(expected), "{complaint}");
        assert!(complaint.contains("test.toml:5"), "{complaint}");
    }
}

#[test]
fn two_machines_must_not_share_a_disk_that_one_writes() {
    let folder = Folder::new();
    let both = |first: &str, second: &str| {
        format!(
            "[vm.a]\nkernel = \"vmlinuz\"\ndisks = [{{ path = \"a.img\"{first} }}]\n\
             [vm.b]\nkernel = \"vmlinuz\"\ndisks = [{{ path = \"./a.img\"{second} }}]\n"
        )
    };
    let read_only = ", read_only = true";
    assert!(folder.parse(&both(read_only, read_only)).is_ok());
    let complaint = folder.complaint(&both(read_only, ""));
    assert!(
        complaint.contains("machines `a` and `b` have the same disk"),
        "{complaint}"
    );
}

#[test]
fn machines_that_want_more_memory_than_there_is_are_refused() {
    let config = Folder::new().parse(GOOD).unwrap();
    config.check_memory(2 << 30).unwrap();
    let error = config.check_memory(1 << 30).unwrap_err();
    assert!(error.to_string().contains("1536 MiB"), "{error}");
}

#[test]
fn a_missing_machine_is_told_with_those_that_exist() {
    let config = Folder::new().parse(GOOD).unwrap();
    assert_eq!(config.vm("bob").unwrap().name, "bob");
    let error = config.vm("carol").unwrap_err();
    assert!(
        error.message.ends_with("there are `bob` and `alice`"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn no_text_is_too_odd(text in "\\PC*") {
        let _ = Folder::new().parse(&text);
    }

    /// Pieces of a good configuration in any order and number.
    #[test]
    fn no_shuffle_is_too_odd(lines in proptest::collection::vec(0usize..20, 0..30)) {
        let known: Vec<&str> = GOOD.lines().collect();
        let text: Vec<&str> = lines.iter().map(|line| known[line % known.len()]).collect();
        let _ = Folder::new().parse(&text.join("\n"));
    }
}

#[test]
fn local_tenants_have_the_same_grants_as_machines() {
    let text = "[accelerator.a]\napi = \"opencl\"\n\
                [tenant.carol]\naccelerators.a = { share = 3, memory = \"1GiB\" }\n";
    let file = PathBuf::from("c.toml");
    let parse = |text: &str| {
        let text = text.to_owned();
        let file = file.clone();
        Config::parse(&Source { file, text })
    };
    let config = parse(text).unwrap();
    assert!(config.vms.is_empty());
    let carol = config.tenant("carol").unwrap();
    let grant = &carol.accelerators[0];
    assert_eq!((grant.share, grant.memory), (3, Some(1 << 30)));
    assert_eq!(config.grants().count(), 1);
    let error = config.tenant("dave").unwrap_err().to_string();
    assert!(
        error.contains("no local tenant is called `dave`; there are `carol`"),
        "{error}"
    );

    let complaint = |text: &str| parse(text).unwrap_err().to_string();
    let error = complaint("[tenant.carol]\n");
    assert!(
        error.starts_with("c.toml:1: ") && error.contains("accelerators.gpu0 ="),
        "{error}"
    );
    let error = complaint("[accelerator.a]\napi = \"opencl\"\n[tenant.carol]\nkernel = \"k\"\n");
    assert!(
        error.starts_with("c.toml:4: ") && error.contains("kernel"),
        "{error}"
    );
    let error = complaint("[tenant.carol]\naccelerators.b = {}\n");
    assert!(
        error.starts_with("c.toml:2: ") && error.contains("no accelerator"),
        "{error}"
    );
}
