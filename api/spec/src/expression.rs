//! The language of lengths and conditions: integer expressions over a function's other parameters.
//!
//! Values are mathematical integers. Arithmetic that leaves 128 bits, a division by zero or a shift
//! too far has no value, which makes a call malformed; so does, in the end, a length that is negative
//! or does not fit into 64 bits.
//!
//! ```text
//! num_events                         a scalar parameter
//! region[0]                          an element of an input array
//! *param_value_size_ret              what a call has written (only in `written`)
//! returned                           what a call has returned (only in `written`)
//! param_value.is_null()              whether the program passed a null pointer
//! CL_MEM_COPY_HOST_PTR  42           a constant, a number
//! size_of::<cl_buffer_region>()      bytes of a type
//! a + b  a - b  a * b  a / b  a % b  a & b  a | b  a ^ b  a << b  a >> b  -a
//! a == b  a != b  a < b  a <= b  a > b  a >= b  !a  a && b  a || b      1 or 0
//! a.min(b)  a.max(b)                 the smaller, the larger
//! a as cl_uint                       cut down to a type
//! if a { b } else { c }
//! match a { CL_R | CL_A => b, _ => c }
//! panic!()                           no value
//! desc.width  desc.object.is_null()  a field of an input structure
//! (info as *const cl_region).size    the same, where the pointer is to `c_void`
//! element_size(order, data_type)     a `const fn` of the spec
//! kept(buffer)                       the value that is kept with the object of a handle
//! related(queue, buffer, events)     whether all of these belong to one object (only in `queued`)
//! ```
//!
//! An element or field behind a null pointer is 0: the vendor judges whether null may be passed.

use std::sync::Arc;

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::spanned::Spanned;

use crate::parse::Error;
use crate::prototype::Names;

/// What an expression's values come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// The value of the scalar parameter with this index.
    Param(usize),
    /// An element of the input array with this index.
    Element(usize, usize),
    /// What a call has written behind the out-parameter with this index.
    Deref(usize),
    /// Whether the pointer parameter with this index is null.
    IsNull(usize),
    /// What the call has returned.
    Returned,
    /// A field of the input structure that the parameter with this index points to.
    Field(Field),
    /// The value that is kept with the object named by the handle with this index.
    Kept(usize),
    /// Bytes that travel as the input with this index. Only mediator and worker know.
    Bytes(usize),
    /// Whether all objects that the parameters with these indices name belong to the same one in the
    /// end. Only the guest library knows.
    Related(Vec<usize>),
    /// The argument with this index, in the body of a [`Definition`].
    Argument(usize),
}

/// A field of an input structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The parameter that points to the structure.
    pub param: usize,
    /// Where in the structure it lies.
    pub offset: u64,
    /// Its size.
    pub bytes: u8,
    /// Whether it has a sign.
    pub signed: bool,
}

/// A `const fn` of the spec.
#[derive(Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// How many arguments it takes.
    pub arguments: usize,
    /// Its value, over [`Leaf::Argument`]s.
    pub body: Expression,
}

impl Definition {
    /// A Rust function that computes it.
    pub fn to_rust(&self) -> TokenStream {
        let name = format_ident!("{}", self.name);
        let arguments = (0..self.arguments).map(|index| format_ident!("argument_{index}"));
        let body = self.body.to_rust(&mut |leaf| match leaf {
            Leaf::Argument(index) => {
                let argument = format_ident!("argument_{index}");
                quote!(#argument)
            }
            _ => unreachable!("a definition knows nothing but its arguments"),
        });
        quote! {
            pub fn #name(#(#arguments: i128),*) -> Option<i128> {
                Some(#body)
            }
        }
    }
}

/// An operation on two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names say it")]
pub enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    BitAnd,
    BitOr,
    BitXor,
    ShiftLeft,
    ShiftRight,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
    Min,
    Max,
}

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// A number.
    Number(i128),
    /// Something that a call says.
    Leaf(Leaf),
    /// Two values and what is done to them.
    Binary(Operator, Box<Expression>, Box<Expression>),
    /// Its negative.
    Negate(Box<Expression>),
    /// 1 if it is zero, 0 if not.
    Not(Box<Expression>),
    /// Cut down to so many bytes, with sign or without.
    Cast {
        /// The value.
        value: Box<Expression>,
        /// Size of the type.
        bytes: u8,
        /// Whether the type has a sign.
        signed: bool,
    },
    /// The second if the first is not zero, else the third.
    If(Box<Expression>, Box<Expression>, Box<Expression>),
    /// The one beside the numbers that have the first one's value, else the last.
    Match(
        Box<Expression>,
        Vec<(Vec<i128>, Expression)>,
        Box<Expression>,
    ),
    /// A `const fn` and its arguments.
    Call(Arc<Definition>, Vec<Expression>),
    /// No value.
    Impossible,
}

impl Expression {
    /// Takes a parsed Rust expression over `names` as one of this language.
    pub(crate) fn new(expr: &syn::Expr, names: &Names<'_>) -> Result<Expression, Error> {
        let unknown = || {
            names.error(
                expr.span(),
                "this is not an expression of the length language",
            )
        };
        match expr {
            syn::Expr::Lit(syn::ExprLit {
                lit: syn::Lit::Int(number),
                ..
            }) => match number.base10_parse() {
                Ok(value) => Ok(Expression::Number(value)),
                Err(_) => Err(unknown()),
            },
            syn::Expr::Paren(inner) => Expression::new(&inner.expr, names),
            syn::Expr::Group(inner) => Expression::new(&inner.expr, names),
            syn::Expr::Path(path) => names.value(&path.path),
            syn::Expr::Binary(binary) => {
                let operator = operator(&binary.op).ok_or_else(unknown)?;
                let left = Box::new(Expression::new(&binary.left, names)?);
                let right = Box::new(Expression::new(&binary.right, names)?);
                Ok(Expression::Binary(operator, left, right))
            }
            syn::Expr::Unary(unary) => match (&unary.op, &*unary.expr) {
                (syn::UnOp::Deref(_), syn::Expr::Path(path)) => {
                    Ok(Expression::Leaf(Leaf::Deref(names.output(&path.path)?)))
                }
                (syn::UnOp::Not(_), inner) => {
                    Ok(Expression::Not(Box::new(Expression::new(inner, names)?)))
                }
                (syn::UnOp::Neg(_), inner) => {
                    Ok(Expression::Negate(Box::new(Expression::new(inner, names)?)))
                }
                _ => Err(unknown()),
            },
            syn::Expr::Index(index) => match (&*index.expr, &*index.index) {
                (
                    syn::Expr::Path(path),
                    syn::Expr::Lit(syn::ExprLit {
                        lit: syn::Lit::Int(number),
                        ..
                    }),
                ) => {
                    let number = number.base10_parse().map_err(|_| unknown())?;
                    let param = names.input_array(&path.path)?;
                    Ok(Expression::Leaf(Leaf::Element(param, number)))
                }
                _ => Err(unknown()),
            },
            syn::Expr::Field(field) => {
                let (field, is_pointer) = names.field(field)?;
                match is_pointer {
                    false => Ok(Expression::Leaf(Leaf::Field(field))),
                    true => Err(names.error(
                        expr.span(),
                        "this is not an integer; of a handle, only `.is_null()` is known",
                    )),
                }
            }
            syn::Expr::MethodCall(call) if call.method == "is_null" && call.args.is_empty() => {
                match &*call.receiver {
                    syn::Expr::Path(path) => {
                        Ok(Expression::Leaf(Leaf::IsNull(names.pointer(&path.path)?)))
                    }
                    syn::Expr::Field(field) => match names.field(field)? {
                        (field, true) => Ok(Expression::Not(Box::new(Expression::Leaf(
                            Leaf::Field(field),
                        )))),
                        _ => Err(unknown()),
                    },
                    _ => Err(unknown()),
                }
            }
            syn::Expr::MethodCall(call) if call.args.len() == 1 => {
                let operator = match call.method.to_string().as_str() {
                    "min" => Operator::Min,
                    "max" => Operator::Max,
                    _ => return Err(unknown()),
                };
                let left = Box::new(Expression::new(&call.receiver, names)?);
                let right = Box::new(Expression::new(&call.args[0], names)?);
                Ok(Expression::Binary(operator, left, right))
            }
            syn::Expr::Call(call) => match &*call.func {
                syn::Expr::Path(path) => Expression::call(&path.path, &call.args, names),
                _ => Err(unknown()),
            },
            syn::Expr::Match(choice) => Expression::choice(choice, names),
            syn::Expr::Macro(mac) if mac.mac.path.is_ident("panic") => Ok(Expression::Impossible),
            syn::Expr::Cast(cast) => {
                let (bytes, signed) = names.integer(&cast.ty)?;
                Ok(Expression::Cast {
                    value: Box::new(Expression::new(&cast.expr, names)?),
                    bytes,
                    signed,
                })
            }
            syn::Expr::If(choice) => {
                let Some((_, otherwise)) = &choice.else_branch else {
                    return Err(names.error(expr.span(), "this `if` has no `else`"));
                };
                Ok(Expression::If(
                    Box::new(Expression::new(&choice.cond, names)?),
                    Box::new(block(&choice.then_branch, names)?),
                    Box::new(Expression::new(otherwise, names)?),
                ))
            }
            syn::Expr::Block(inner) => block(&inner.block, names),
            _ => Err(unknown()),
        }
    }

    fn call(
        path: &syn::Path,
        arguments: &syn::punctuated::Punctuated<syn::Expr, syn::Token![,]>,
        names: &Names<'_>,
    ) -> Result<Expression, Error> {
        if path.is_ident("kept") || path.is_ident("related") {
            let params: Vec<usize> = arguments
                .iter()
                .map(|argument| names.handles(argument))
                .collect::<Result<_, _>>()?;
            return match (path.is_ident("kept"), &params[..]) {
                (true, [param]) if names.is_handle(*param) => {
                    Ok(Expression::Leaf(Leaf::Kept(*param)))
                }
                (true, _) => Err(names.error(path.span(), "say kept(handle)")),
                (false, _) => Ok(Expression::Leaf(Leaf::Related(params))),
            };
        }
        if path.is_ident("bytes") {
            return match arguments.first() {
                Some(argument) if arguments.len() == 1 => {
                    Ok(Expression::Leaf(Leaf::Bytes(names.pointed(argument)?)))
                }
                _ => Err(names.error(path.span(), "say bytes(pointer)")),
            };
        }
        let Some(definition) = names.definition(path) else {
            return names.size_of(path).map(Expression::Number);
        };
        if arguments.len() != definition.arguments {
            let (wanted, given) = (definition.arguments, arguments.len());
            let message = format!("it takes {wanted} arguments and is given {given}");
            return Err(names.error(path.span(), message));
        }
        let arguments = arguments
            .iter()
            .map(|argument| Expression::new(argument, names));
        Ok(Expression::Call(
            definition,
            arguments.collect::<Result<_, _>>()?,
        ))
    }

    fn choice(choice: &syn::ExprMatch, names: &Names<'_>) -> Result<Expression, Error> {
        let mut cases = Vec::new();
        for arm in &choice.arms {
            let value = Expression::new(&arm.body, names)?;
            if let Some((_, guard)) = &arm.guard {
                return Err(names.error(guard.span(), "a case has no further condition"));
            }
            match numbers(&arm.pat, names)? {
                Some(numbers) => cases.push((numbers, value)),
                None => {
                    let on = Box::new(Expression::new(&choice.expr, names)?);
                    return Ok(Expression::Match(on, cases, Box::new(value)));
                }
            }
        }
        Err(names.error(choice.span(), "this `match` has no case `_`"))
    }

    /// The value, where `leaf` gives the values of what a call says.
    pub fn evaluate(&self, leaf: &mut dyn FnMut(&Leaf) -> Option<i128>) -> Option<i128> {
        match self {
            Expression::Number(value) => Some(*value),
            Expression::Leaf(found) => leaf(found),
            Expression::Negate(inner) => inner.evaluate(leaf)?.checked_neg(),
            Expression::Not(inner) => Some(i128::from(inner.evaluate(leaf)? == 0)),
            Expression::Cast {
                value,
                bytes,
                signed,
            } => {
                let unused = 128 - 8 * u32::from(*bytes);
                let value = value.evaluate(leaf)? << unused;
                Some(match signed {
                    true => value >> unused,
                    false => ((value as u128) >> unused) as i128,
                })
            }
            Expression::If(condition, then, otherwise) => match condition.evaluate(leaf)? {
                0 => otherwise.evaluate(leaf),
                _ => then.evaluate(leaf),
            },
            Expression::Match(on, cases, otherwise) => {
                let on = on.evaluate(leaf)?;
                let case = cases.iter().find(|(numbers, _)| numbers.contains(&on));
                case.map_or(&**otherwise, |(_, value)| value).evaluate(leaf)
            }
            Expression::Call(definition, arguments) => {
                let arguments: Vec<i128> = arguments
                    .iter()
                    .map(|argument| argument.evaluate(leaf))
                    .collect::<Option<_>>()?;
                definition.body.evaluate(&mut |leaf| match leaf {
                    Leaf::Argument(index) => arguments.get(*index).copied(),
                    _ => None,
                })
            }
            Expression::Impossible => None,
            Expression::Binary(operator, left, right) => {
                let left = left.evaluate(leaf)?;
                match operator {
                    Operator::And if left == 0 => return Some(0),
                    Operator::Or if left != 0 => return Some(1),
                    _ => {}
                }
                apply(*operator, left, right.evaluate(leaf)?)
            }
        }
    }

    /// Every leaf, in the order of the text.
    pub fn leaves(&self) -> Vec<&Leaf> {
        match self {
            Expression::Number(_) | Expression::Impossible => Vec::new(),
            Expression::Leaf(leaf) => vec![leaf],
            Expression::Match(on, cases, otherwise) => {
                let cases = cases.iter().flat_map(|(_, value)| value.leaves()).collect();
                [on.leaves(), cases, otherwise.leaves()].concat()
            }
            Expression::Call(_, arguments) => {
                arguments.iter().flat_map(Expression::leaves).collect()
            }
            Expression::Negate(inner) | Expression::Not(inner) => inner.leaves(),
            Expression::Cast { value, .. } => value.leaves(),
            Expression::Binary(_, left, right) => [left.leaves(), right.leaves()].concat(),
            Expression::If(a, b, c) => [a.leaves(), b.leaves(), c.leaves()].concat(),
        }
    }

    /// Rust code of type `i128` for this, to stand in a function or closure that returns an
    /// `Option`; `leaf` gives the code, also of type `i128`, for what a call says.
    pub fn to_rust(&self, leaf: &mut dyn FnMut(&Leaf) -> TokenStream) -> TokenStream {
        match self {
            Expression::Number(value) => {
                let number = proc_macro2::Literal::i128_unsuffixed(*value);
                quote!((#number as i128))
            }
            Expression::Leaf(found) => leaf(found),
            Expression::Negate(inner) => {
                let inner = inner.to_rust(leaf);
                quote!(i128::checked_neg(#inner)?)
            }
            Expression::Not(inner) => {
                let inner = inner.to_rust(leaf);
                quote!(i128::from(#inner == 0))
            }
            Expression::Cast {
                value,
                bytes,
                signed,
            } => {
                let value = value.to_rust(leaf);
                let ty = integer_type(*bytes, *signed);
                quote!(i128::from(#value as #ty))
            }
            Expression::If(condition, then, otherwise) => {
                let condition = condition.to_rust(leaf);
                let then = then.to_rust(leaf);
                let otherwise = otherwise.to_rust(leaf);
                quote!((if #condition != 0 { #then } else { #otherwise }))
            }
            Expression::Match(on, cases, otherwise) => {
                let on = on.to_rust(leaf);
                let cases: Vec<_> = cases
                    .iter()
                    .map(|(numbers, value)| {
                        let literal = proc_macro2::Literal::i128_unsuffixed;
                        let numbers = numbers.iter().map(|number| literal(*number));
                        let value = value.to_rust(leaf);
                        quote!(#(#numbers)|* => #value,)
                    })
                    .collect();
                let otherwise = otherwise.to_rust(leaf);
                quote!((match #on { #(#cases)* _ => #otherwise }))
            }
            Expression::Call(definition, arguments) => {
                let name = format_ident!("{}", definition.name);
                let arguments: Vec<_> = arguments.iter().map(|a| a.to_rust(leaf)).collect();
                quote!(values::#name(#(#arguments),*)?)
            }
            Expression::Impossible => quote!({ return None }),
            Expression::Binary(operator, left, right) => {
                let left = left.to_rust(leaf);
                let right = right.to_rust(leaf);
                binary_to_rust(*operator, left, right)
            }
        }
    }
}

pub(crate) fn block(block: &syn::Block, names: &Names<'_>) -> Result<Expression, Error> {
    match &block.stmts[..] {
        [syn::Stmt::Expr(inner, None)] => Expression::new(inner, names),
        _ => Err(names.error(block.span(), "this block is not a single expression")),
    }
}

/// The numbers of a case; `None` for `_`.
fn numbers(pattern: &syn::Pat, names: &Names<'_>) -> Result<Option<Vec<i128>>, Error> {
    let number = |expr: &syn::Expr| {
        let value = Expression::new(expr, names)?;
        match value.leaves().is_empty() {
            true => value.evaluate(&mut |_| None),
            false => None,
        }
        .ok_or_else(|| names.error(expr.span(), "this is not a constant"))
    };
    Ok(Some(match pattern {
        syn::Pat::Wild(_) => return Ok(None),
        syn::Pat::Lit(literal) => vec![number(&syn::Expr::Lit(literal.clone()))?],
        syn::Pat::Path(path) => vec![number(&syn::Expr::Path(path.clone()))?],
        syn::Pat::Ident(ident) if ident.subpat.is_none() && ident.by_ref.is_none() => {
            let path = syn::Path::from(ident.ident.clone());
            vec![number(&syn::parse_quote!(#path))?]
        }
        syn::Pat::Or(or) => {
            let mut all = Vec::new();
            for case in &or.cases {
                match numbers(case, names)? {
                    Some(more) => all.extend(more),
                    None => return Ok(None),
                }
            }
            all
        }
        other => return Err(names.error(other.span(), "this is not a constant")),
    }))
}

/// The Rust integer type of so many bytes.
pub(crate) fn integer_type(bytes: u8, signed: bool) -> syn::Ident {
    quote::format_ident!("{}{}", if signed { "i" } else { "u" }, 8 * u32::from(bytes))
}

fn operator(op: &syn::BinOp) -> Option<Operator> {
    Some(match op {
        syn::BinOp::Add(_) => Operator::Add,
        syn::BinOp::Sub(_) => Operator::Subtract,
        syn::BinOp::Mul(_) => Operator::Multiply,
        syn::BinOp::Div(_) => Operator::Divide,
        syn::BinOp::Rem(_) => Operator::Remainder,
        syn::BinOp::And(_) => Operator::And,
        syn::BinOp::Or(_) => Operator::Or,
        syn::BinOp::BitXor(_) => Operator::BitXor,
        syn::BinOp::BitAnd(_) => Operator::BitAnd,
        syn::BinOp::BitOr(_) => Operator::BitOr,
        syn::BinOp::Shl(_) => Operator::ShiftLeft,
        syn::BinOp::Shr(_) => Operator::ShiftRight,
        syn::BinOp::Eq(_) => Operator::Equal,
        syn::BinOp::Lt(_) => Operator::Less,
        syn::BinOp::Le(_) => Operator::LessOrEqual,
        syn::BinOp::Ne(_) => Operator::NotEqual,
        syn::BinOp::Ge(_) => Operator::GreaterOrEqual,
        syn::BinOp::Gt(_) => Operator::Greater,
        _ => return None,
    })
}

fn apply(operator: Operator, a: i128, b: i128) -> Option<i128> {
    let shift = || u32::try_from(b).ok().filter(|n| *n < 127);
    match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide => a.checked_div(b),
        Operator::Remainder => a.checked_rem(b),
        Operator::BitAnd => Some(a & b),
        Operator::BitOr => Some(a | b),
        Operator::BitXor => Some(a ^ b),
        Operator::ShiftLeft => a.checked_mul(1i128.checked_shl(shift()?)?),
        Operator::ShiftRight => Some(a >> shift()?),
        Operator::Equal => Some(i128::from(a == b)),
        Operator::NotEqual => Some(i128::from(a != b)),
        Operator::Less => Some(i128::from(a < b)),
        Operator::LessOrEqual => Some(i128::from(a <= b)),
        Operator::Greater => Some(i128::from(a > b)),
        Operator::GreaterOrEqual => Some(i128::from(a >= b)),
        Operator::And => Some(i128::from(a != 0 && b != 0)),
        Operator::Or => Some(i128::from(a != 0 || b != 0)),
        Operator::Min => Some(a.min(b)),
        Operator::Max => Some(a.max(b)),
    }
}

fn binary_to_rust(operator: Operator, a: TokenStream, b: TokenStream) -> TokenStream {
    let shift = quote!(u32::try_from(#b).ok().filter(|n| *n < 127)?);
    match operator {
        Operator::Add => quote!(i128::checked_add(#a, #b)?),
        Operator::Subtract => quote!(i128::checked_sub(#a, #b)?),
        Operator::Multiply => quote!(i128::checked_mul(#a, #b)?),
        Operator::Divide => quote!(i128::checked_div(#a, #b)?),
        Operator::Remainder => quote!(i128::checked_rem(#a, #b)?),
        Operator::BitAnd => quote!((#a & #b)),
        Operator::BitOr => quote!((#a | #b)),
        Operator::BitXor => quote!((#a ^ #b)),
        Operator::ShiftLeft => quote!(i128::checked_mul(#a, 1i128.checked_shl(#shift)?)?),
        Operator::ShiftRight => quote!((#a >> #shift)),
        Operator::Equal => quote!(i128::from(#a == #b)),
        Operator::NotEqual => quote!(i128::from(#a != #b)),
        Operator::Less => quote!(i128::from(#a < #b)),
        Operator::LessOrEqual => quote!(i128::from(#a <= #b)),
        Operator::Greater => quote!(i128::from(#a > #b)),
        Operator::GreaterOrEqual => quote!(i128::from(#a >= #b)),
        Operator::And => quote!(i128::from(#a != 0 && #b != 0)),
        Operator::Or => quote!(i128::from(#a != 0 || #b != 0)),
        Operator::Min => quote!(i128::min(#a, #b)),
        Operator::Max => quote!(i128::max(#a, #b)),
    }
}
