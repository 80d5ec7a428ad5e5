//! What is wrong with a spec is said with the place and what would be right.

use weir_spec::Spec;

const HEAD: &str = r#"#![api(name = "test", id = 7, library = "libtest.so", event = event)]
#![errors(lost = E, malformed = E, quota = E, unsupported = E)]
const E: i32 = -5;
const KEY: u32 = 9;
struct pair { a: u32, b: u64 }
#[handle(-6)] type queue = *mut c_void;
struct desc { width: u64, of: queue }
const fn twice(n: u32) -> u32 { 2 * n }
#[handle(-7)] type event = *mut c_void;
unsafe extern "C" {
"#;
/// Lines of it.
const LINES: usize = 10;

/// Says what is wrong with a function, with its place relative to the function's first line.
fn error(function: &str) -> String {
    match Spec::parse("spec.rs", &format!("{HEAD}{function}\n}}")) {
        Ok(_) => panic!("nothing is wrong with {function}"),
        Err(e) => format!("{}:{}: {}", e.line - LINES, e.column, e.message),
    }
}

#[test]
fn what_a_pointer_lacks() {
    let lacks = [
        (
            "fn f(\n    p: *const u32,\n) -> i32;",
            "2:5: parameter `p` is read and nothing says how much: say #[len(…)]",
        ),
        (
            "fn f(p: *mut c_void) -> i32;",
            "1:6: parameter `p` is written and nothing says how much: say #[len(…)]",
        ),
        (
            "fn f(name: *const c_char) -> i32;",
            "1:6: parameter `name` is read and nothing says how much: say #[string] or #[len(…)]",
        ),
        (
            "fn f(n: u32, q: *const queue) -> i32;",
            "1:14: parameter `q` is an array of handles without a length: say #[len(…)]",
        ),
        (
            "fn f(q: *mut queue) -> i32;",
            "1:6: parameter `q` is written with a queue: say #[new(parent = …)] if the call makes \
             it (and #[len(…)] if it makes several), or #[found(count)] if it may be known already",
        ),
        (
            "fn f(s: *mut *const c_char) -> i32;",
            "1:6: parameter `s` is a pointer to pointers: say #[strings(count)] or \
             #[strings(count, lengths)]",
        ),
        (
            "fn f(done: Option<unsafe extern \"C\" fn()>) -> i32;",
            "1:6: parameter `done` is a function: say #[callback(after)], #[callback(never)] or \
             #[callback(unsupported)]",
        ),
        (
            "fn f(p: pair) -> i32;",
            "1:6: parameter `p` is a structure, which cannot be passed by value",
        ),
    ];
    for (function, expected) in lacks {
        assert_eq!(error(function), expected);
    }
}

#[test]
fn what_does_not_fit_together() {
    let wrong = [
        (
            "fn f(q: queue);",
            "1:4: f has nowhere to put its error: it needs a parameter with #[error], or \
             #[fails(…)] with the value that it returns then, or #[fails(abort)]",
        ),
        (
            "fn f(#[error] e: *mut i32) -> queue;",
            "1:4: f returns a queue: say #[new(parent = …)]",
        ),
        (
            "#[holds(4)] fn f() -> i32;",
            "1:16: f says what its new object holds, but makes none",
        ),
        (
            "#[keeps(4)] fn f() -> i32;",
            "1:16: f says what is kept with its new object, but makes none",
        ),
        (
            "#[split(a, n, w)] fn f(a: u64, n: u64, w: u32, #[len(n)] p: *mut u8) -> i32;",
            "1:22: f is split by a length that no bulk data has",
        ),
        (
            "fn f(#[arg(len(1), passed_as(2))] p: *const u32) -> i32;",
            "1:35: f: parameter `p` is #[passed_as], which only an integer can be",
        ),
        (
            "fn f(#[arg(len(1), bulk, lent(1))] p: *const u32) -> i32;",
            "1:36: f: parameter `p` is #[lent], which only bulk input of a new object can be",
        ),
        (
            "fn f(n: u32, #[guest_only] m: u32, #[shaped(n, m, 1, 0, 0)] p: *const u8) -> i32;",
            "1:61: f: parameter `p` has a length that depends on what is not sent",
        ),
        (
            "#[blocks(related(q))] fn f(q: queue) -> i32;",
            "1:26: f depends on `related`, which only #[queued] may",
        ),
        (
            "#[device_time] fn f(q: queue) -> i32;",
            "1:19: f takes device time, but has no parameter #[new] for its event",
        ),
        (
            "#[queued] fn f(#[len(1)] p: *mut u32) -> i32;",
            "1:26: f: parameter `p` is written by a call that nobody waits for",
        ),
        (
            "fn f(#[len(*n)] p: *mut u8, #[len(1)] n: *mut u64) -> i32;",
            "1:17: f: parameter `p` has a length that is known only afterwards",
        ),
        (
            "fn f(#[arg(extra, len(1))] p: *mut u8) -> i32;",
            "1:28: f: parameter `p` is #[extra], which needs #[by_hand(guest)]",
        ),
        (
            "fn f(#[strings(n, l)] s: *mut *const c_char, #[len(n)] l: *const usize, n: u32) -> i32;",
            "1:23: f: parameter `s` has lengths that do not say #[lengths]",
        ),
        (
            "#[blocks(bytes(p))] fn f(#[len(1)] p: *const u8) -> i32;",
            "1:24: f depends on `bytes`, which only #[holds] may",
        ),
        (
            "fn f(n: u32, #[arg(strings(n), includes)] s: *mut *const c_char) -> i32;",
            "1:43: f: parameter `s` may include files, but no object is made of it",
        ),
        (
            "fn f(q: u32, #[arg(len(8), answers(q: KEY = text))] p: *mut u8) -> i32;",
            "1:53: f: parameter `p` answers text, which needs #[len(parameter)] and \
             #[written(*parameter)]",
        ),
        (
            "fn f(#[guest_only] n: u32, #[len(n)] p: *mut u8) -> i32;",
            "1:38: f: parameter `p` has a length that depends on what is not sent",
        ),
    ];
    for (function, expected) in wrong {
        assert_eq!(error(function), expected);
    }
}

#[test]
fn what_is_misspelt() {
    let wrong = [
        (
            "fn f(p: *const uint) -> i32;",
            "1:9: the type `*const uint` is not declared",
        ),
        (
            "#[blcoks] fn f() -> i32;",
            "1:3: there is no attribute #[blcoks] here",
        ),
        (
            "fn f(#[lenght(1)] p: *mut u8) -> i32;",
            "1:8: there is no attribute #[lenght] here",
        ),
        (
            "fn f(n: u32, #[len(m)] p: *mut u8) -> i32;",
            "1:20: there is no parameter or constant `m`",
        ),
        (
            "fn f(#[len] p: *mut u8) -> i32;",
            "1:8: #[len] needs something in parentheses",
        ),
        (
            "#[device_time(1)] fn f() -> i32;",
            "1:3: #[device_time] takes nothing in parentheses",
        ),
        (
            "#[retains(q)] fn f(q: u32) -> i32;",
            "1:11: this parameter is not a handle",
        ),
        (
            "#[new] fn f() -> i32;",
            "1:3: the function returns no handle",
        ),
        (
            "fn f(q: queue, #[new(child = q)] e: *mut event) -> i32;",
            "1:22: say #[new(parent = …)] or #[new(parent = structure.handle | …)]",
        ),
        (
            "fn f(#[new] e: *mut u32) -> i32;",
            "1:8: this is not a pointer to handles",
        ),
        (
            "fn f(#[properties(KEY = pair)] p: *const u64) -> i32;",
            "1:25: `pair` is not a type of handles",
        ),
        (
            "fn f(w: u32, #[arg(len(8), answers(w: KYE = queue))] p: *mut u8) -> i32;",
            "1:39: there is no constant `KYE`",
        ),
        (
            "#[by_hand(host)] fn f() -> i32;",
            "1:11: say `guest` or `worker`",
        ),
        (
            "fn f(#[callback(soon)] c: Option<fn()>) -> i32;",
            "1:17: say `after`, `never` or `unsupported`",
        ),
        (
            "fn f(a: u32, a: u32) -> i32;",
            "1:14: there are two parameters `a`",
        ),
        (
            "fn f(#[len(f(2))] p: *mut u8) -> i32;",
            "1:12: the only functions are size_of::<T>() and the spec's own `const fn`s",
        ),
        (
            "fn f(#[len(if 1 { 2 })] p: *mut u8) -> i32;",
            "1:12: this `if` has no `else`",
        ),
        (
            "fn f(#[len(size_of::<c_void>())] p: *mut u8) -> i32;",
            "1:22: this type has no size",
        ),
        (
            "fn f(n: f32, #[len(n)] p: *mut u8) -> i32;",
            "1:20: `n` is not an integer",
        ),
        (
            "fn f(#[shaped(1, 2, 3)] p: *const u8) -> i32;",
            "1:8: say #[shaped(row, rows, slices, row_pitch, slice_pitch)], and perhaps the origin",
        ),
        (
            "fn f(n: u32, #[shaped(1, 2, 3, n + 1, 0)] p: *const u8) -> i32;",
            "1:32: a pitch is a parameter, a field or 0",
        ),
        (
            "#[new] #[holds(4, most = 3)] fn f(#[error] e: *mut i32) -> queue;",
            "1:19: say `too_large = …`",
        ),
        (
            "#[split(n)] fn f(n: u32) -> i32;",
            "1:3: say #[split(offset, length, blocking)]",
        ),
        (
            "fn f(#[len(twice(1, 2))] p: *mut u8) -> i32;",
            "1:12: it takes 1 arguments and is given 2",
        ),
        (
            "fn f(n: u32, #[len(kept(n))] p: *mut u8) -> i32;",
            "1:25: this is not a parameter with handles",
        ),
        (
            "fn f(#[len(1)] d: *const desc, #[len(d.height)] p: *mut u8) -> i32;",
            "1:40: there is no field `height`",
        ),
        (
            "fn f(#[len(1)] d: *const desc, #[len(d.of)] p: *mut u8) -> i32;",
            "1:38: this is not an integer; of a handle, only `.is_null()` is known",
        ),
        (
            "fn f(n: u32, #[len(n.width)] p: *mut u8) -> i32;",
            "1:20: this is not an input structure",
        ),
        (
            "fn f(n: u32, #[len(match n { 1 => 2 })] p: *mut u8) -> i32;",
            "1:20: this `match` has no case `_`",
        ),
        (
            "fn f(n: u32, #[len(match n { m => 2, _ => 1 })] p: *mut u8) -> i32;",
            "1:30: there is no parameter or constant `m`",
        ),
        (
            "fn f(n: u32, #[len(n[0])] p: *mut u8) -> i32;",
            "1:20: this is not a pointer to read integers",
        ),
    ];
    for (function, expected) in wrong {
        assert_eq!(error(function), expected, "{function}");
    }
}

#[test]
fn what_the_whole_spec_lacks() {
    let parse = |text: &str| {
        Spec::parse("spec.rs", text)
            .map(drop)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        parse("const A: u32 = 1;"),
        "spec.rs:1:1: the spec does not begin with #![api(name = …, id = …, library = …)]"
    );
    assert_eq!(
        parse("#![api(name = \"x\", id = 0, library = \"l\")]"),
        "spec.rs:1:4: #![api(…)] needs name, id (not 0) and library"
    );
    let api = "#![api(name = \"x\", id = 1, library = \"l\")]";
    assert!(parse(api).contains("the spec lacks #![errors("));
    assert_eq!(
        parse(&format!("{api}\nconst A: u32 = 1;\nconst A: u32 = 2;")),
        "spec.rs:3:7: `A` is declared twice"
    );
    assert_eq!(
        parse(&format!("{api}\nfn f() {{}}")),
        "spec.rs:2:1: a function that lengths use is `const`"
    );
    let missing = Spec::read("no/such/spec.rs")
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(
        missing.starts_with("no/such/spec.rs:0:0: cannot be read"),
        "{missing}"
    );
}
