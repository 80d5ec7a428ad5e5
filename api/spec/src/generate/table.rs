//! The mediator's table: a `weir_wire::function::Api` that says of each call what is checked,
//! metered and admitted.

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};

use super::pretty;
use crate::expression::{Expression, Leaf, integer_type};
use crate::model::*;

/// Code that defines `pub static API: Api`, and, as `pub mod constants`, the spec's constants.
pub fn generate(spec: &Spec) -> String {
    let name = &spec.name;
    let id = spec.id;
    let kinds = spec.kinds.iter().map(|kind| {
        let (name, invalid) = (&kind.name, kind.invalid);
        quote!(Kind { name: #name, invalid: #invalid })
    });
    let Errors {
        lost,
        malformed,
        quota,
        unsupported,
    } = spec.errors;
    let functions = spec
        .functions
        .iter()
        .map(|function| describe(spec, function));
    let constants = spec.constants.iter().map(|constant| {
        let name = format_ident!("{}", constant.name);
        let ty = resolved_type(spec, &constant.ty);
        let value = Literal::i128_unsuffixed(constant.value);
        quote!(pub const #name: #ty = #value;)
    });
    let kind_numbers = spec.kinds.iter().enumerate().map(|(number, kind)| {
        let name = format_ident!("{}", kind.name.to_uppercase());
        let doc = format!("Number of the kind `{}`.", kind.name);
        quote!(#[doc = #doc] pub const #name: usize = #number;)
    });
    let function_numbers = spec.functions.iter().map(|function| {
        let (name, number) = (format_ident!("{}", function.name), function.number);
        quote!(pub const #name: u16 = #number;)
    });
    let values = super::values(spec);
    pretty(quote! {
        #[allow(unused_imports)]
        use weir_wire::function::{
            Api, Contents, Errors, Failure, Function, Kind, Order, Param, Parent, Passing,
        };
        #[allow(unused_imports)]
        use weir_wire::handle::Handle;

        #values

        /// The API's table.
        pub static API: Api = Api {
            name: #name,
            id: #id,
            functions: &[#(#functions),*],
            kinds: &[#(#kinds),*],
            errors: Errors {
                lost: #lost,
                malformed: #malformed,
                quota: #quota,
                unsupported: #unsupported,
            },
        };

        /// The API's constants.
        #[allow(missing_docs, non_upper_case_globals)]
        pub mod constants {
            #(#constants)*
        }

        /// Numbers of the kinds of objects.
        pub mod kinds {
            #(#kind_numbers)*
        }

        /// Numbers of the functions.
        #[allow(missing_docs, non_upper_case_globals)]
        pub mod functions {
            #(#function_numbers)*
        }
    })
}

/// The Rust type that an alias stands for in the end.
fn resolved_type(spec: &Spec, ty: &syn::Type) -> TokenStream {
    let mut resolved = ty.clone();
    while let syn::Type::Path(path) = &resolved
        && let Some(ident) = path.path.get_ident()
        && let Some(alias) = spec.aliases.iter().find(|alias| *ident == alias.name)
    {
        resolved = alias.target.clone();
    }
    quote!(#resolved)
}

/// Which parameters put a function's work into an order with other work.
pub(crate) struct Order {
    /// The line that it is given to: what its event belongs to.
    pub(crate) line: usize,
    /// The events that it waits for.
    pub(crate) waits: Option<usize>,
}

/// How the work of `function` is put into an order, if it makes an event that belongs to something.
pub(crate) fn order(spec: &Spec, function: &Function) -> Option<Order> {
    let event = spec.event?;
    let line = function.params.iter().find_map(|param| match &param.role {
        Role::New(new) if new.kind == event => new.parent,
        _ => None,
    })?;
    let waits = function.params.iter().position(|param| {
        matches!(&param.role, Role::Input { contents: Contents::Handles(kind), .. } if *kind == event)
    });
    Some(Order { line, waits })
}

fn describe(spec: &Spec, function: &Function) -> TokenStream {
    let name = &function.name;
    let words = function.words;
    let command = matches!(function.carried, Carried::Command { .. });
    let mut params: Vec<TokenStream> = match command {
        true => function
            .params
            .iter()
            .filter_map(|param| describe_param(spec, function, param))
            .collect(),
        false => Vec::new(),
    };
    if let Some(new) = &function.new
        && command
    {
        let (passing, word) = (new_passing(function, new), new.word);
        params.push(
            quote!(Param { name: "return", word: #word, optional: false, passing: #passing }),
        );
    }
    if let Some(word) = function.done {
        params.push(quote!(Param {
            name: "__done",
            word: #word,
            optional: true,
            passing: Passing::Out { len: Some(|_, _| Some(4)) },
        }));
    }
    if let Failure::Beside { word, .. } = function.failure
        && command
    {
        params.push(quote!(Param {
            name: "__error",
            word: #word,
            optional: true,
            passing: Passing::Out { len: Some(|_, _| Some(4)) },
        }));
    }
    let failure = match function.failure {
        Failure::Beside { word, .. } if command => quote!(Failure::Out(#word)),
        Failure::Out(index) if command => {
            let word = function.params[index].word;
            quote!(Failure::Out(#word))
        }
        _ => quote!(Failure::Return),
    };
    let blocks = match &function.blocks {
        Condition::Never => quote!(None),
        Condition::Always => quote!(Some(|_, _| Some(1))),
        Condition::If(condition) => some_closure(spec, function, condition, 1),
    };
    let holds = option(
        function
            .holds
            .as_ref()
            .map(|e| closure(spec, function, e, 1)),
    );
    let too_large = option(function.too_large.map(|code| quote!(#code)));
    let keeps = option(
        function
            .keeps
            .as_ref()
            .map(|e| closure(spec, function, e, 1)),
    );
    let device_time = function.device_time;
    let order = option(order(spec, function).filter(|_| command).map(|order| {
        let line = function.params[order.line].word;
        let waits = option(order.waits.map(|index| {
            let word = function.params[index].word;
            quote!(#word)
        }));
        quote!(Order { line: #line, waits: #waits })
    }));
    let word_of = |index: Option<usize>| {
        option(index.map(|i| {
            let word = function.params[i].word;
            quote!(#word)
        }))
    };
    let retains = word_of(function.retains);
    let releases = word_of(function.releases);
    quote!(Function {
        name: #name,
        words: #words,
        params: &[#(#params),*],
        failure: #failure,
        blocks: #blocks,
        holds: #holds,
        too_large: #too_large,
        keeps: #keeps,
        device_time: #device_time,
        order: #order,
        retains: #retains,
        releases: #releases,
    })
}

fn describe_param(spec: &Spec, function: &Function, param: &Param) -> Option<TokenStream> {
    let name = &param.name;
    let word = param.word;
    let mut optional = param.optional;
    let size = |param: &Param| i128::from(spec.element_size(&param.resolved));
    let passing = match &param.role {
        Role::Scalar => quote!(Passing::Scalar),
        Role::Handle(kind) => quote!(Passing::Handle(#kind)),
        Role::Input { len, contents } => {
            let len = option(
                len.as_ref()
                    .map(|e| closure(spec, function, e, size(param))),
            );
            let contents = describe_contents(spec, contents);
            quote!(Passing::In { len: #len, contents: #contents })
        }
        Role::Output { len, .. } => {
            let len = some_closure(spec, function, len, size(param));
            quote!(Passing::Out { len: #len })
        }
        Role::Error => {
            // Null where nobody waits for the call.
            optional = true;
            quote!(Passing::Out {
                len: Some(|_, _| Some(4))
            })
        }
        Role::New(new) => new_passing(function, new),
        Role::Found { kind, len } => {
            let len = closure(spec, function, len, 8);
            quote!(Passing::NewArray { kind: #kind, found: true, parent: None, len: #len })
        }
        Role::NewList { new, len } => {
            let len = closure(spec, function, len, 8);
            let (kind, parent) = (new.kind, parent(function, new));
            quote!(Passing::NewArray { kind: #kind, found: false, parent: #parent, len: #len })
        }
        Role::HandleOrBytes { .. } => quote!(Passing::HandleOrBytes),
        Role::Lengths | Role::Callback(_) | Role::UserData | Role::GuestOnly { .. } => return None,
    };
    Some(quote!(Param { name: #name, word: #word, optional: #optional, passing: #passing }))
}

fn describe_contents(spec: &Spec, contents: &Contents) -> TokenStream {
    match contents {
        Contents::Plain | Contents::String | Contents::Options => quote!(Contents::Plain),
        Contents::Bulk => quote!(Contents::Bulk),
        Contents::Handles(kind) => quote!(Contents::Handles(#kind)),
        Contents::Properties(keys) => {
            let keys = keys.iter().map(|(key, kind)| quote!((#key, #kind)));
            quote!(Contents::Properties(&[#(#keys),*]))
        }
        Contents::Strings { .. } => quote!(Contents::Strings),
        Contents::Records(index) => {
            let size = spec.structs[*index].size as usize;
            let handles = handles_in(spec, *index);
            quote!(Contents::Records { size: #size, handles: &[#(#handles),*] })
        }
    }
}

/// `(offset, kind)` of each handle in a structure.
pub(super) fn handles_in(spec: &Spec, structure: usize) -> Vec<TokenStream> {
    let handles = spec.structs[structure].handles().into_iter();
    let handles = handles.map(|(offset, kind)| {
        let offset = offset as usize;
        quote!((#offset, #kind))
    });
    handles.collect()
}

fn new_passing(function: &Function, new: &New) -> TokenStream {
    let (kind, parent) = (new.kind, parent(function, new));
    quote!(Passing::New { kind: #kind, parent: #parent })
}

/// Where a call says what its new object belongs to.
fn parent(function: &Function, new: &New) -> TokenStream {
    option(new.parent.map(|index| {
        let word = function.params[index].word;
        let first = option(new.first.map(|(param, offset)| {
            let (word, offset) = (function.params[param].word, offset as usize);
            quote!((#word, #offset))
        }));
        quote!(Parent { word: #word, first: #first })
    }))
}

fn option(inner: Option<TokenStream>) -> TokenStream {
    match inner {
        Some(inner) => quote!(Some(#inner)),
        None => quote!(None),
    }
}

fn some_closure(
    spec: &Spec,
    function: &Function,
    expression: &Expression,
    size: i128,
) -> TokenStream {
    option(Some(closure(spec, function, expression, size)))
}

/// A closure that gives `expression` times `size` for a call.
fn closure(spec: &Spec, function: &Function, expression: &Expression, size: i128) -> TokenStream {
    // Most lengths are one unsigned parameter, or a constant: no need for wide arithmetic there.
    let size_u64 = size as u64;
    match expression {
        Expression::Number(value) => {
            if let Some(value) = value.checked_mul(size).and_then(|n| u64::try_from(n).ok()) {
                return quote!(|_, _| Some(#value));
            }
        }
        Expression::Leaf(Leaf::Param(index))
            if matches!(
                function.params[*index].resolved,
                Type::Int { signed: false, .. }
            ) =>
        {
            let value = scalar(&function.params[*index]);
            return match size_u64 {
                1 => quote!(|call, _| Some(u64::from(#value))),
                _ => quote!(|call, _| u64::from(#value).checked_mul(#size_u64)),
            };
        }
        _ => {}
    }
    let value = expression.to_rust(&mut |leaf| leaf_of_call(spec, function, leaf));
    let value = match size {
        1 => value,
        _ => {
            let size = Literal::i128_unsuffixed(size);
            quote!(i128::checked_mul(#value, #size)?)
        }
    };
    let asks = |wanted: fn(&Leaf) -> bool| expression.leaves().into_iter().any(wanted);
    let kept = match asks(|leaf| matches!(leaf, Leaf::Kept(_))) {
        true => quote!(kept),
        false => quote!(_),
    };
    let call = match expression.leaves().is_empty() {
        true => quote!(_),
        false => quote!(call),
    };
    quote!(|#call, #kept| u64::try_from(#value).ok())
}

/// The value of a scalar parameter, in its own type.
fn scalar(param: &Param) -> TokenStream {
    let word = param.word;
    match param.resolved {
        Type::Int {
            bytes: 8,
            signed: false,
        } => quote!(call.word(#word)),
        Type::Int { bytes, signed } => {
            let ty = integer_type(bytes, signed);
            quote!((call.word(#word) as #ty))
        }
        Type::Float(4) => quote!(f32::from_bits(call.word(#word) as u32)),
        _ => quote!(f64::from_bits(call.word(#word))),
    }
}

/// The value of a scalar parameter, as its type is written.
pub(crate) fn scalar_as(param: &Param) -> TokenStream {
    let (word, ty) = (param.word, &param.ty);
    match param.resolved {
        Type::Float(_) => scalar(param),
        _ => quote!((call.word(#word) as #ty)),
    }
}

/// What a leaf is, given a `call` and what is `kept`.
pub(crate) fn leaf_of_call(spec: &Spec, function: &Function, leaf: &Leaf) -> TokenStream {
    match leaf {
        Leaf::Param(index) => {
            let value = scalar(&function.params[*index]);
            quote!(i128::from(#value))
        }
        Leaf::Element(index, element) => {
            let param = &function.params[*index];
            let word = param.word;
            let size = spec.element_size(&param.resolved) as usize;
            let Type::Pointer { to, .. } = &param.resolved else {
                unreachable!("only arrays have elements");
            };
            let Type::Int { bytes, signed } = **to else {
                unreachable!("only arrays of integers are used in expressions");
            };
            let ty = integer_type(bytes, signed);
            let offset = element * size;
            quote!(i128::from(call.number(#word, #offset, #size)? as #ty))
        }
        Leaf::Field(field) => {
            let word = function.params[field.param].word;
            let (offset, size) = (field.offset as usize, usize::from(field.bytes));
            let ty = integer_type(field.bytes, field.signed);
            quote!(i128::from(call.number(#word, #offset, #size)? as #ty))
        }
        Leaf::Kept(index) => {
            let word = function.params[*index].word;
            quote!(i128::from(kept(Handle(call.word(#word)))?))
        }
        Leaf::Bytes(index) => {
            let word = function.params[*index].word;
            quote!(call.reference(#word).map_or(0, |found| i128::from(found.len)))
        }
        Leaf::IsNull(index) => {
            let word = function.params[*index].word;
            match function.params[*index].role {
                Role::Handle(_) | Role::New(_) => quote!(i128::from(call.word(#word) == 0)),
                _ => quote!(i128::from(call.word(#word) >> 62 == 0)),
            }
        }
        Leaf::Deref(_) | Leaf::Returned | Leaf::Related(_) | Leaf::Argument(_) => {
            unreachable!("the check of the spec allows nothing that the table cannot know")
        }
    }
}
