//! What becomes of a few prototypes of every sort.

use weir_spec::Spec;
use weir_spec::model::*;

const SPEC: &str = r#"
#![api(name = "test", id = 7, library = "libtest.so", event = event)]
#![errors(lost = -1, malformed = -2, quota = -3, unsupported = -4)]
const BUSY: i32 = -9;
const OWNER: u32 = 3;
#[handle(-6)] type queue = *mut c_void;
#[handle(-7)] type event = *mut c_void;
struct part { start: u8, len: usize, last: u16 }
unsafe extern "C" {
    #[common]
    fn parameters(
        #[error] errcode: *mut i32,
        #[arg(new(parent = q), optional)] done: *mut event,
    );

    #[new]
    fn make(#[string] name: *const c_char, errcode: *mut i32) -> queue;

    #[call(queued(wait == 0), blocks(wait), device_time)]
    fn read(
        q: queue,
        wait: u32,
        size: usize,
        #[arg(len(size), bulk)] to: *mut c_void,
        done: *mut event,
    ) -> i32;

    #[call(queued, by_hand(guest))]
    fn cut(q: queue, #[len(2)] parts: *const part, #[arg(extra, len(1))] more: *const u16) -> i32;

    fn ask(
        q: queue,
        what: u32,
        room: usize,
        #[arg(len(room), written(*size), optional, answers(what: OWNER = queue))] value: *mut c_void,
        #[len(1)] size: *mut usize,
    ) -> i32;

    #[unsupported(BUSY)]
    fn odd(anything: *mut *mut u8, errcode: *mut i32) -> *mut c_void;

    #[call(queued, releases(q))]
    fn free(q: queue) -> i32;

    fn split(
        q: queue,
        n: u32,
        #[arg(new(parent = q), len(n), optional)] parts: *mut queue,
        #[arg(len(n), invalid(BUSY))] after: *const event,
    ) -> i32;
}"#;

fn spec() -> Spec {
    Spec::parse("test.rs", SPEC).unwrap_or_else(|e| panic!("{e}"))
}

fn words(function: &Function) -> Vec<usize> {
    function.params.iter().map(|param| param.word).collect()
}

#[test]
fn an_object_that_is_returned_is_proposed_after_the_parameters() {
    let spec = spec();
    let make = &spec.functions[0];
    assert_eq!(words(make), [0, 2]);
    assert_eq!(make.words, 5);
    assert_eq!(
        make.new,
        Some(New {
            kind: 0,
            parent: None,
            first: None,
            word: 4
        })
    );
    assert_eq!(make.failure, Failure::Out(1));
    assert!(matches!(
        make.params[0].role,
        Role::Input {
            len: None,
            contents: Contents::String
        }
    ));
}

#[test]
fn bulk_data_of_a_queued_call_has_a_complete_word() {
    let spec = spec();
    let read = &spec.functions[1];
    assert_eq!(words(read), [0, 1, 2, 3, 5]);
    assert_eq!((read.done, read.words), (Some(6), 8));
    assert!(read.device_time && matches!(read.queued, Condition::If(_)));
    assert!(matches!(
        read.params[3].role,
        Role::Output { bulk: true, .. }
    ));
    assert!(read.params[4].optional);
    match read.params[4].role {
        Role::New(new) => assert_eq!((new.kind, new.parent, new.word), (1, Some(0), 5)),
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn structures_are_laid_out_as_in_c() {
    let spec = spec();
    let part = &spec.structs[0];
    assert_eq!((part.size, part.align), (24, 8));
    let cut = &spec.functions[2];
    assert_eq!(spec.element_size(&cut.params[1].resolved), 24);
    assert_eq!(spec.element_size(&cut.params[2].resolved), 2);
    assert!(cut.params[2].extra && !cut.params[1].extra);
}

#[test]
fn a_query_says_which_answers_are_handles() {
    let spec = spec();
    let ask = &spec.functions[3];
    let Role::Output {
        written: Some(_),
        answers: Some(answers),
        ..
    } = &ask.params[3].role
    else {
        panic!("{:?}", ask.params[3]);
    };
    assert_eq!(answers.query, 1);
    assert!(matches!(answers.cases[..], [(3, Answer::Handles(0))]));
}

#[test]
fn what_is_not_carried_has_its_error_and_no_words() {
    let spec = spec();
    let odd = &spec.functions[4];
    assert_eq!(odd.carried, Carried::Unsupported(-9));
    assert_eq!((odd.words, odd.failure), (0, Failure::Out(1)));
    let free = &spec.functions[5];
    assert_eq!((free.releases, free.number), (Some(0), 5));
}

#[test]
fn what_is_generated_is_rust() {
    let spec = spec();
    for code in [
        weir_spec::generate::table::generate(&spec),
        weir_spec::generate::worker::generate(&spec),
    ] {
        syn::parse_file(&code).unwrap();
    }
    let page = weir_spec::generate::coverage::generate(&spec, &|name| vec![format!("t_{name}")]);
    assert!(page.contains("| `odd` | no: `BUSY` | | |"), "{page}");
    assert!(page.contains("Of 7 functions, 6 are carried"), "{page}");
}

#[test]
fn several_objects_are_made_where_there_is_a_length() {
    let spec = spec();
    let split = spec.functions.iter().find(|f| f.name == "split");
    let split = split.expect("it is described");
    assert_eq!(words(split), [0, 1, 2, 6]);
    let Role::NewList { new, .. } = &split.params[2].role else {
        panic!("{:?}", split.params[2].role);
    };
    assert_eq!((new.kind, new.parent, new.word), (0, Some(0), 2));
    assert_eq!(split.params[3].invalid, Some(-9));
    let table = weir_spec::generate::table::generate(&spec);
    let made = "Passing::NewArray { kind: 0usize, found: false, parent: Some(Parent { word: 0usize, first: None, }),";
    let spaceless = |text: &str| text.split_whitespace().collect::<String>();
    assert!(spaceless(&table).contains(&spaceless(made)), "{table}");
    let guest = spaceless(&weir_spec::generate::guest::generate(&spec));
    assert!(guest.contains("Code(-7){Code(-9)}"));
}

/// A spec with an API of that name and these settings, and `body`.
fn with_extensions(settings: &str, body: &str) -> Result<Spec, String> {
    let text = format!(
        r#"#![api(name = "test", id = 9, library = "libtest.so")]
#![errors(lost = -1, malformed = -2, quota = -3, unsupported = -4)]
{settings}
unsafe extern "C" {{ {body} }}"#
    );
    Spec::parse("test.rs", &text).map_err(|error| error.message)
}

#[test]
fn an_extension_is_carried_if_all_its_functions_are() {
    let spec = with_extensions(
        r#"#![extensions("z_language", "a_query")]"#,
        r#"#[extension("m_whole")] fn one() -> i32;
        #[extension("m_whole", twoOther)] fn two() -> i32;
        #[extension("part")] fn three() -> i32;
        #[call(unsupported, extension("part"))] fn four() -> i32;
        fn five() -> i32;"#,
    );
    let spec = spec.unwrap();
    assert_eq!(spec.extensions, ["a_query", "m_whole", "z_language"]);
    let names: Vec<_> = spec
        .functions
        .iter()
        .map(Function::extension_name)
        .collect();
    let expected = [
        Some("one"),
        Some("twoOther"),
        Some("three"),
        Some("four"),
        None,
    ];
    assert_eq!(names, expected);
    let only: Vec<_> = spec
        .functions
        .iter()
        .map(Function::is_extension_only)
        .collect();
    assert_eq!(only, [true, false, true, true, false]);
}

#[test]
fn extensions_are_named_once() {
    let function = r#"#[extension("a")] fn one() -> i32;"#;
    let error = with_extensions(r#"#![extensions("a")]"#, function).unwrap_err();
    assert_eq!(error, "`a` has functions, which say so: leave it out");
    let error = with_extensions(r#"#![extensions("b", "b")]"#, function).unwrap_err();
    assert_eq!(error, "`b` is named twice");
}
