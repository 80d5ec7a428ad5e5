//! Encoders: the functions that make, send and answer one command each.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::Ident;

use super::{by_hand, encoded_params, ident};
use crate::Spec;
use crate::expression::{Expression, Leaf};
use crate::model::{
    Answer, Answers, Condition, Contents, Failure, Function, New, Param, Role, Type,
};

/// Makes the encoder of one function.
pub(super) struct Encoder<'a> {
    pub(super) spec: &'a Spec,
    pub(super) function: &'a Function,
}

impl Encoder<'_> {
    pub(super) fn generate(&self) -> TokenStream {
        let function = self.function;
        let name = ident(&function.name);
        let signature = encoded_params(function).map(|param| self.parameter(param));
        let wait = match function.queued {
            Condition::Never => None,
            _ if by_hand(function) => Some(quote!(, wait: bool)),
            _ => None,
        };
        let (number, words) = (function.number, function.words);
        let clamps = function.params.iter().filter_map(|param| self.clamp(param));
        let puts = function
            .params
            .iter()
            .enumerate()
            .map(|(index, param)| self.put(index, param));
        let new = function.new.map(|new| {
            let put = self.propose(new);
            quote!(let made = #put;)
        });
        let settings = self.settings();
        let send = self.send(wait.is_some());
        let gets = function
            .params
            .iter()
            .enumerate()
            .map(|(index, param)| self.get(index, param));
        let counts = self.counts();
        let (result, value) = match (&function.new, function.failure) {
            (Some(_), _) => (quote!(*mut c_void), quote!(made.address())),
            _ => (quote!(()), quote!(())),
        };
        quote! {
            pub unsafe fn #name(#(#signature),* #wait) -> Result<#result, Code> {
                #(#clamps)*
                let mut call = Call::new(&by_hand::LIBRARY, #number, #words)?;
                #(#puts)*
                #new
                #settings
                #send
                #(#gets)*
                #counts
                Ok(#value)
            }
        }
    }

    fn parameter(&self, param: &Param) -> TokenStream {
        let (name, ty) = (ident(&param.name), &param.ty);
        match &param.role {
            role if is_bulk(role) && by_hand(self.function) => quote!(#name: Bulk),
            Role::HandleOrBytes { .. } => {
                let object = object(&param.name);
                quote!(#object: Option<&weir_guest::objects::Object>, #name: #ty)
            }
            _ => quote!(#name: #ty),
        }
    }

    /// A call finds no more objects than there are bits to say which: asked for more, it asks for
    /// fewer.
    fn clamp(&self, param: &Param) -> Option<TokenStream> {
        let Role::Found { len, .. } = &param.role else {
            return None;
        };
        let Expression::Leaf(Leaf::Param(count)) = len else {
            return None;
        };
        let count = ident(&self.function.params[*count].name);
        Some(quote!(let #count = #count.min(weir_guest::call::MAX_FOUND as _);))
    }

    /// Puts a parameter into the command.
    fn put(&self, index: usize, param: &Param) -> TokenStream {
        let (name, word, optional) = (ident(&param.name), param.word, param.optional);
        match &param.role {
            Role::Scalar => {
                let value = scalar(&name, &param.resolved);
                quote!(call.word(#word, #value);)
            }
            Role::Handle(kind) => {
                let object = object(&param.name);
                quote!(let #object = call.object(#word, #name, #kind, #optional)?;)
            }
            Role::Input { len, contents } => self.put_input(index, param, len.as_ref(), contents),
            Role::Output {
                len, bulk: true, ..
            } => {
                let len = self.length(len, &name, param);
                let bulk = self.bulk(&name);
                quote! {
                    let len = #len;
                    unsafe { call.bulk_output(#word, #bulk, len, #optional)? };
                }
            }
            Role::Output { len, .. } => {
                let bytes = self.bytes(len, param);
                let output = output(&param.name);
                let required = self.required(param);
                let wanted = self.wanted(index, &name);
                quote! {
                    #required
                    let wanted = #wanted;
                    let len = if wanted { #bytes } else { 0 };
                    let #output = call.output(#word, len, wanted);
                }
            }
            Role::Error => {
                let output = output(&param.name);
                quote!(let #output = call.output(#word, 4, true);)
            }
            Role::New(new) => {
                let object = object(&param.name);
                let required = self.required(param);
                let propose = self.propose(*new);
                quote! {
                    #required
                    let #object = if #name.is_null() { None } else { Some(#propose) };
                }
            }
            Role::Found { kind, len } => {
                let output = output(&param.name);
                let required = self.required(param);
                let len = self.length(len, &name, param);
                quote! {
                    #required
                    let #output = if #name.is_null() {
                        None
                    } else {
                        Some(call.found(#word, #kind, #len / 8)?)
                    };
                }
            }
            Role::HandleOrBytes { len } => {
                let len = self.length(len, &name, param);
                let object = object(&param.name);
                quote! {
                    let len = #len;
                    unsafe { call.handle_or_bytes(#word, #object, #name, len)? };
                }
            }
            Role::Lengths | Role::Callback(_) | Role::UserData | Role::GuestOnly { .. } => quote!(),
        }
    }

    fn put_input(
        &self,
        index: usize,
        param: &Param,
        len: Option<&Expression>,
        contents: &Contents,
    ) -> TokenStream {
        let (name, word, optional) = (ident(&param.name), param.word, param.optional);
        let len = len.map(|len| self.length(len, &name, param));
        let put = match contents {
            Contents::Plain if self.is_indexed(index) => {
                quote!(call.input_inline(#word, #name.cast(), len, #optional)?)
            }
            Contents::Plain => quote!(call.input(#word, #name.cast(), len, #optional)?),
            Contents::Bulk => {
                let bulk = self.bulk(&name);
                quote!(call.bulk_input(#word, #bulk, len, #optional)?)
            }
            Contents::String => quote!(call.string(#word, #name.cast(), #optional)?),
            Contents::Handles(kind) => {
                quote!(call.objects(#word, #name.cast(), len / 8, #kind, #optional)?)
            }
            Contents::Properties(keys) => {
                let keys = keys.iter().map(|(key, kind)| quote!((#key, #kind)));
                quote!(call.properties(#word, #name.cast(), &[#(#keys),*], #optional)?)
            }
            Contents::Strings { count, lengths } => {
                let count = self.value(count);
                let lengths = match lengths {
                    Some(index) => {
                        let lengths = ident(&self.function.params[*index].name);
                        quote!(#lengths)
                    }
                    None => quote!(std::ptr::null()),
                };
                quote!(call.strings(#word, #name.cast(), #count, #lengths, #optional)?)
            }
        };
        match len {
            Some(len) => quote! {
                let len = #len;
                unsafe { #put };
            },
            None => quote!(unsafe { #put };),
        }
    }

    fn bulk(&self, name: &Ident) -> TokenStream {
        if by_hand(self.function) {
            quote!(#name)
        } else {
            quote!(Bulk::line(#name.cast()))
        }
    }

    fn required(&self, param: &Param) -> TokenStream {
        let name = ident(&param.name);
        match param.optional {
            true => quote!(),
            false => quote!(if #name.is_null() { return Err(call.malformed()); }),
        }
    }

    fn propose(&self, new: New) -> TokenStream {
        let (word, kind) = (new.word, new.kind);
        let parent = match new.parent {
            Some(parent) => {
                let parent = object(&self.function.params[parent].name);
                quote!(#parent)
            }
            None => quote!(None),
        };
        quote!(call.new_object(#word, #kind, #parent)?)
    }

    /// Whether a call has a place for an output: if the program has one, or if its value says how
    /// much of another output the program gets.
    fn wanted(&self, index: usize, name: &Ident) -> TokenStream {
        let needed_by = self
            .function
            .params
            .iter()
            .filter(|param| match &param.role {
                Role::Output {
                    written: Some(written),
                    ..
                } => written.leaves().contains(&&Leaf::Deref(index)),
                _ => false,
            });
        let needed_by = needed_by.map(|param| ident(&param.name));
        quote!(!#name.is_null() #(|| !#needed_by.is_null())*)
    }

    fn is_indexed(&self, index: usize) -> bool {
        let in_expression = |expression: &Expression| {
            let mut leaves = expression.leaves().into_iter();
            leaves.any(|leaf| matches!(leaf, Leaf::Element(array, _) if *array == index))
        };
        let in_condition =
            |condition: &Condition| matches!(condition, Condition::If(e) if in_expression(e));
        let function = self.function;
        in_condition(&function.queued)
            || in_condition(&function.blocks)
            || function.holds.as_ref().is_some_and(in_expression)
            || function.params.iter().any(|param| match &param.role {
                Role::Input { len, .. } => len.as_ref().is_some_and(in_expression),
                Role::Output { len, .. }
                | Role::Found { len, .. }
                | Role::HandleOrBytes { len } => in_expression(len),
                _ => false,
            })
    }

    fn settings(&self) -> TokenStream {
        let launches = self.function.device_time.then(|| quote!(call.launches();));
        let submits = self.function.submits.then(|| quote!(call.submits();));
        let done = self.function.done.map(|word| quote!(call.done(#word);));
        quote!(#launches #submits #done)
    }

    fn send(&self, may_wait: bool) -> TokenStream {
        let function = self.function;
        let failure = match function.failure {
            Failure::Return => quote!(weir_guest::call::Failure::Return),
            Failure::Out(error) => {
                let error = output(&function.params[error].name);
                quote!(weir_guest::call::Failure::Out(#error))
            }
            Failure::Nowhere => quote!(weir_guest::call::Failure::Nowhere),
        };
        if function.cached {
            return quote!(let reply = call.send_cached(#failure)?;);
        }
        let mut queued = match &function.queued {
            Condition::Never => quote!(false),
            Condition::Always => quote!(true),
            Condition::If(condition) => {
                let value = self.value(condition);
                quote!((#value) != 0)
            }
        };
        if may_wait {
            queued = quote!(!wait && #queued);
        }
        quote! {
            let queued = #queued;
            #[allow(unused)]
            let mut reply = call.send(queued, #failure)?;
        }
    }

    /// Brings an output to where the program wants it.
    fn get(&self, _index: usize, param: &Param) -> TokenStream {
        let name = ident(&param.name);
        match &param.role {
            Role::Output { bulk: true, .. } => quote!(),
            Role::Output {
                written, answers, ..
            } => {
                let output_name = output(&param.name);
                let limit = match written {
                    Some(written) => self.written(written),
                    None => quote!(u64::MAX),
                };
                let copy = quote!(reply.copy(#output_name, #name.cast(), limit));
                let copy = match answers {
                    Some(answers) => self.get_answer(answers, &output_name, &name, copy),
                    None => copy,
                };
                quote! {
                    let limit = #limit;
                    unsafe { #copy };
                }
            }
            Role::New(_) => {
                let object = object(&param.name);
                quote! {
                    if let Some(object) = #object {
                        unsafe { #name.write(object.address()) };
                    }
                }
            }
            Role::Found { .. } => {
                let output = output(&param.name);
                quote! {
                    if let Some(found) = #output {
                        unsafe { reply.copy_found(found, #name.cast()) };
                    }
                }
            }
            _ => quote!(),
        }
    }

    fn get_answer(
        &self,
        answers: &Answers,
        output: &Ident,
        name: &Ident,
        plain: TokenStream,
    ) -> TokenStream {
        let query = ident(&self.function.params[answers.query].name);
        let cases = answers.cases.iter().map(|(value, answer)| match answer {
            Answer::Handles(_) => {
                quote!(#value => reply.copy_handles(#output, #name.cast(), limit),)
            }
            Answer::Properties(keys) => {
                let keys = keys.iter().map(|(key, _)| key);
                quote!(#value => {
                    reply.copy_properties(#output, #name.cast(), limit, &[#(#keys),*])
                })
            }
        });
        quote!(match #query as u64 { #(#cases)* _ => #plain })
    }

    /// How many bytes of an output are an answer.
    fn written(&self, written: &Expression) -> TokenStream {
        let value = written.to_rust(&mut |leaf| match leaf {
            Leaf::Deref(index) => {
                let output = output(&self.function.params[*index].name);
                quote!(i128::from(reply.number(#output)))
            }
            other => self.leaf(other),
        });
        quote!((|| -> Option<i128> { Some(#value) })().and_then(|n| u64::try_from(n).ok()).unwrap_or(0))
    }

    fn counts(&self) -> TokenStream {
        let count = |index: Option<usize>, method: Ident| {
            index.map(|index| {
                let object = object(&self.function.params[index].name);
                quote! {
                    if let (Some(object), Ok(weir)) = (#object, by_hand::LIBRARY.current()) {
                        weir.objects.#method(object);
                    }
                }
            })
        };
        let retains = count(self.function.retains, format_ident!("retain"));
        let releases = count(self.function.releases, format_ident!("release"));
        quote!(#retains #releases)
    }

    /// Bytes of a pointer parameter of `len` elements; 0 if it is null.
    fn length(&self, len: &Expression, name: &Ident, param: &Param) -> TokenStream {
        let bytes = self.bytes(len, param);
        quote!(if #name.is_null() { 0 } else { #bytes })
    }

    /// Bytes of `len` elements of what a parameter points to.
    fn bytes(&self, len: &Expression, param: &Param) -> TokenStream {
        let size = self.spec.element_size(&param.resolved);
        let value = self.value(len);
        match size {
            1 => value,
            _ => quote!((#value).checked_mul(#size).ok_or(call.malformed())?),
        }
    }

    /// The value of an expression, as a `u64`.
    fn value(&self, expression: &Expression) -> TokenStream {
        if let Expression::Number(value) = expression
            && let Ok(value) = u64::try_from(*value)
        {
            return quote!(#value);
        }
        let value = expression.to_rust(&mut |leaf| self.leaf(leaf));
        quote! {
            (|| -> Option<i128> { Some(#value) })()
                .and_then(|n| u64::try_from(n).ok())
                .ok_or(call.malformed())?
        }
    }

    fn leaf(&self, leaf: &Leaf) -> TokenStream {
        let name = |index: &usize| ident(&self.function.params[*index].name);
        match leaf {
            Leaf::Param(index) => {
                let name = name(index);
                quote!((#name as i128))
            }
            Leaf::Element(index, element) => {
                let name = name(index);
                quote! {
                    (if #name.is_null() { return None } else {
                        unsafe { *#name.add(#element) as i128 }
                    })
                }
            }
            Leaf::IsNull(index) => {
                let name = name(index);
                quote!(i128::from(#name.is_null()))
            }
            Leaf::Deref(_) => unreachable!("only what was written depends on outputs"),
        }
    }
}

fn is_bulk(role: &Role) -> bool {
    matches!(
        role,
        Role::Output { bulk: true, .. }
            | Role::Input {
                contents: Contents::Bulk,
                ..
            }
    )
}

/// The bits of a scalar, extended with zeros.
fn scalar(name: &Ident, ty: &Type) -> TokenStream {
    match ty {
        Type::Int { bytes, .. } => {
            let unsigned = format_ident!("u{}", 8 * u32::from(*bytes));
            quote!(#name as #unsigned as u64)
        }
        Type::Float(_) => quote!(u64::from(#name.to_bits())),
        _ => quote!(#name as u64),
    }
}

/// The variable with a parameter's object.
fn object(name: &str) -> Ident {
    format_ident!("{name}_object")
}

/// The variable with the number of a parameter's output.
fn output(name: &str) -> Ident {
    format_ident!("{name}_output")
}
