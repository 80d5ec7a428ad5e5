//! A C header, read: what it declares, in the words that a spec needs.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use lang_c::ast;
use lang_c::driver::{Config, parse};
use lang_c::loc::get_location_for_offset;
use lang_c::span::Node;

/// What a C type is.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    Void,
    /// An arithmetic type, under the name that Rust has for it.
    Number(&'static str),
    /// A name that the header or one that it includes gives to a type.
    Named(String),
    /// A structure, by its tag.
    Struct(String),
    Pointer {
        to: Box<Type>,
        constant: bool,
    },
    Function,
    /// What a spec has no word for, as a reason.
    Other(&'static str),
}

/// A function's parameter, or a structure's field.
#[derive(Clone, Debug)]
pub struct Member {
    pub name: String,
    pub ty: Type,
}

/// A prototype.
#[derive(Debug)]
pub struct Function {
    pub name: String,
    pub params: Vec<Member>,
    pub returns: Type,
}

/// All that a header declares.
#[derive(Debug, Default)]
pub struct Header {
    /// Functions of the file itself, in its order.
    pub functions: Vec<Function>,
    /// Names of types, also those of included files.
    pub types: HashMap<String, Type>,
    /// Structures that are not only named.
    pub structs: HashMap<String, Vec<Member>>,
    /// Enumerators and macros of the file itself that are integers, with what they are.
    pub constants: Vec<(String, String)>,
}

/// Types that C's own headers name, and Rust's names for them.
const STANDARD: &[(&str, &str)] = &[
    ("size_t", "usize"),
    ("ssize_t", "isize"),
    ("intptr_t", "isize"),
    ("uintptr_t", "usize"),
    ("ptrdiff_t", "isize"),
    ("int8_t", "i8"),
    ("uint8_t", "u8"),
    ("int16_t", "i16"),
    ("uint16_t", "u16"),
    ("int32_t", "i32"),
    ("uint32_t", "u32"),
    ("int64_t", "i64"),
    ("uint64_t", "u64"),
];

/// Without these, headers leave out types of vectors, which come with the compiler's own functions in
/// words of its own.
const NO_VECTORS: &[&str] = &["-U__MMX__", "-U__SSE__", "-U__SSE2__", "-U__AVX__"];

impl Header {
    /// Reads `file` as `cc` does, with `options` (such as `-DNAME=1`) for the preprocessor.
    ///
    /// # Errors
    /// When it cannot be preprocessed, or is not C.
    pub fn read(file: &Path, options: &[String]) -> Result<Self> {
        if !file.is_file() {
            bail!("{} is no file", file.display());
        }
        let mut config = Config::with_gcc();
        config.cpp_command = "cc".into();
        config
            .cpp_options
            .extend(NO_VECTORS.iter().map(|option| option.to_string()));
        config.cpp_options.extend_from_slice(options);
        let parsed = parse(&config, file)
            .map_err(|error| anyhow::anyhow!("{error}"))
            .with_context(|| format!("reading {}", file.display()))?;
        let own = file.to_string_lossy();
        let mut header = Header::default();
        for item in &parsed.unit.0 {
            let ast::ExternalDeclaration::Declaration(declaration) = &item.node else {
                continue;
            };
            let (place, _) = get_location_for_offset(&parsed.source, item.span.start);
            header.declaration(&declaration.node, place.file == own);
        }
        header.macros(file, options)?;
        Ok(header)
    }

    fn declaration(&mut self, declaration: &ast::Declaration, own: bool) {
        let is_typedef = declaration.specifiers.iter().any(|specifier| {
            matches!(&specifier.node, ast::DeclarationSpecifier::StorageClass(class)
                if class.node == ast::StorageClassSpecifier::Typedef)
        });
        let base = self.base(specifiers(&declaration.specifiers), own);
        for declarator in &declaration.declarators {
            let declarator = &declarator.node.declarator.node;
            let Some(name) = name_of(declarator) else {
                continue;
            };
            if is_typedef {
                let ty = match standard(&name) {
                    Some(number) => Type::Number(number),
                    None => self.derive(base.clone(), declarator),
                };
                self.types.insert(name, ty);
            } else if own && let Some(function) = self.function(&name, &base, declarator) {
                self.functions.push(function);
            }
        }
    }

    fn function(
        &mut self,
        name: &str,
        base: &(Type, bool),
        declarator: &ast::Declarator,
    ) -> Option<Function> {
        let (last, pointers) = declarator.derived.split_last()?;
        let ast::DerivedDeclarator::Function(of) = &last.node else {
            return None;
        };
        let returns = pointers
            .iter()
            .fold(base.clone(), |ty, derived| wrap(ty, &derived.node))
            .0;
        let mut params = Vec::new();
        for (index, param) in of.node.parameters.iter().enumerate() {
            let base = self.base(specifiers(&param.node.specifiers), false);
            let (name, ty) = match &param.node.declarator {
                Some(declarator) => (
                    name_of(&declarator.node),
                    self.derive(base, &declarator.node),
                ),
                None => (None, base.0),
            };
            if ty != Type::Void {
                let name = name.unwrap_or_else(|| format!("arg{index}"));
                params.push(Member { name, ty });
            }
        }
        if of.node.ellipsis == ast::Ellipsis::Some {
            let ty = Type::Other("takes any number of arguments");
            params.push(Member {
                name: "more".into(),
                ty,
            });
        }
        Some(Function {
            name: name.into(),
            params,
            returns,
        })
    }

    /// The type that specifiers say, and whether it is constant.
    fn base(&mut self, (specifiers, constant): Words<'_>, own: bool) -> (Type, bool) {
        let mut words = HashSet::new();
        let mut longs = 0;
        let mut found = None;
        for specifier in specifiers {
            let word = match specifier {
                ast::TypeSpecifier::Void => "void",
                ast::TypeSpecifier::Char => "char",
                ast::TypeSpecifier::Short => "short",
                ast::TypeSpecifier::Int => "int",
                ast::TypeSpecifier::Long => {
                    longs += 1;
                    "long"
                }
                ast::TypeSpecifier::Float => "float",
                ast::TypeSpecifier::Double => "double",
                ast::TypeSpecifier::Signed => "signed",
                ast::TypeSpecifier::Unsigned => "unsigned",
                ast::TypeSpecifier::Bool => "bool",
                ast::TypeSpecifier::TypedefName(name) => {
                    let name = &name.node.name;
                    found = Some(match standard(name) {
                        Some(number) => Type::Number(number),
                        None if name.starts_with("__") => match self.types.get(name) {
                            Some(ty) => ty.clone(),
                            None => Type::Other("is of a type that the compiler makes up"),
                        },
                        None => Type::Named(name.clone()),
                    });
                    continue;
                }
                ast::TypeSpecifier::Struct(of) => {
                    found = Some(self.structure(&of.node, own));
                    continue;
                }
                ast::TypeSpecifier::Enum(of) => {
                    if own {
                        self.enumerators(&of.node);
                    }
                    found = Some(Type::Number("i32"));
                    continue;
                }
                _ => {
                    found = Some(Type::Other("is of a type that a spec has no word for"));
                    continue;
                }
            };
            words.insert(word);
        }
        let ty = found.unwrap_or_else(|| number(&words, longs));
        (ty, constant)
    }

    fn structure(&mut self, of: &ast::StructType, own: bool) -> Type {
        let tag = match &of.identifier {
            Some(tag) => tag.node.name.clone(),
            None => format!("anonymous{}", self.structs.len()),
        };
        if of.kind.node == ast::StructKind::Union {
            return Type::Other("is a union");
        }
        if let Some(declarations) = &of.declarations {
            let mut fields = Vec::new();
            for declaration in declarations {
                let ast::StructDeclaration::Field(field) = &declaration.node else {
                    continue;
                };
                let base = self.base(qualifiers(&field.node.specifiers), own);
                for declarator in &field.node.declarators {
                    let ty = match &declarator.node {
                        ast::StructDeclarator {
                            declarator: Some(declarator),
                            bit_width: None,
                        } => (
                            name_of(&declarator.node),
                            self.derive(base.clone(), &declarator.node),
                        ),
                        _ => (None, Type::Other("is a bit field")),
                    };
                    fields.push(Member {
                        name: ty.0.unwrap_or_default(),
                        ty: ty.1,
                    });
                }
                if field.node.declarators.is_empty() {
                    let ty = Type::Other("has no name");
                    fields.push(Member {
                        name: String::new(),
                        ty,
                    });
                }
            }
            self.structs.insert(tag.clone(), fields);
        }
        Type::Struct(tag)
    }

    fn enumerators(&mut self, of: &ast::EnumType) {
        let mut next = Some(0i128);
        for enumerator in &of.enumerators {
            let value = match &enumerator.node.expression {
                None => next,
                Some(expression) => evaluate(&expression.node),
            };
            if let Some(value) = value {
                let name = enumerator.node.identifier.node.name.clone();
                self.constants.push((name, value.to_string()));
            }
            next = value.map(|value| value + 1);
        }
    }

    fn derive(&mut self, base: (Type, bool), declarator: &ast::Declarator) -> Type {
        let outer = declarator
            .derived
            .iter()
            .fold(base, |ty, derived| wrap(ty, &derived.node));
        match &declarator.kind.node {
            ast::DeclaratorKind::Declarator(inner) => {
                inner
                    .node
                    .derived
                    .iter()
                    .fold(outer, |ty, derived| wrap(ty, &derived.node))
                    .0
            }
            _ => outer.0,
        }
    }

    /// Macros of the file itself that are integers.
    fn macros(&mut self, file: &Path, options: &[String]) -> Result<()> {
        let output = Command::new("cc")
            .args(["-E", "-dD"])
            .args(NO_VECTORS)
            .args(options)
            .arg(file)
            .output()
            .context("starting cc")?;
        let own = format!("\"{}\"", file.display());
        let mut here = false;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            if let Some(place) = line.strip_prefix("# ") {
                here = place.split(' ').nth(1) == Some(&own);
            }
            let Some((name, value)) = line
                .strip_prefix("#define ")
                .filter(|_| here)
                .and_then(|rest| rest.split_once(' '))
            else {
                continue;
            };
            if let Some(value) = integer(value)
                && !self.constants.iter().any(|(other, _)| other == name)
            {
                self.constants.push((name.into(), value));
            }
        }
        Ok(())
    }
}

/// The words that say a type, and whether `const` is one of them.
type Words<'a> = (Vec<&'a ast::TypeSpecifier>, bool);

fn specifiers(all: &[Node<ast::DeclarationSpecifier>]) -> Words<'_> {
    let mut words = (Vec::new(), false);
    for specifier in all {
        match &specifier.node {
            ast::DeclarationSpecifier::TypeSpecifier(of) => words.0.push(&of.node),
            ast::DeclarationSpecifier::TypeQualifier(of) => words.1 |= is_const(&of.node),
            _ => {}
        }
    }
    words
}

fn qualifiers(all: &[Node<ast::SpecifierQualifier>]) -> Words<'_> {
    let mut words = (Vec::new(), false);
    for specifier in all {
        match &specifier.node {
            ast::SpecifierQualifier::TypeSpecifier(of) => words.0.push(&of.node),
            ast::SpecifierQualifier::TypeQualifier(of) => words.1 |= is_const(&of.node),
            _ => {}
        }
    }
    words
}

fn is_const(qualifier: &ast::TypeQualifier) -> bool {
    *qualifier == ast::TypeQualifier::Const
}

/// A pointer to, an array of or a function that returns `ty`; with whether that is constant.
fn wrap((ty, constant): (Type, bool), derived: &ast::DerivedDeclarator) -> (Type, bool) {
    let pointer = |to, constant| Type::Pointer {
        to: Box::new(to),
        constant,
    };
    match derived {
        // To a function, a pointer is what a function is here.
        ast::DerivedDeclarator::Pointer(_) if ty == Type::Function => (ty, false),
        ast::DerivedDeclarator::Pointer(qualifiers) => {
            let is_const = |q: &Node<ast::PointerQualifier>| matches!(&q.node, ast::PointerQualifier::TypeQualifier(q) if is_const(&q.node));
            (pointer(ty, constant), qualifiers.iter().any(is_const))
        }
        ast::DerivedDeclarator::Array(_) => (pointer(ty, constant), false),
        _ => (Type::Function, false),
    }
}

fn name_of(declarator: &ast::Declarator) -> Option<String> {
    match &declarator.kind.node {
        ast::DeclaratorKind::Identifier(name) => Some(name.node.name.clone()),
        ast::DeclaratorKind::Declarator(inner) => name_of(&inner.node),
        ast::DeclaratorKind::Abstract => None,
    }
}

fn standard(name: &str) -> Option<&'static str> {
    let found = STANDARD.iter().find(|(c, _)| *c == name)?;
    Some(found.1)
}

fn number(words: &HashSet<&str>, longs: usize) -> Type {
    let unsigned = words.contains("unsigned");
    let pick = |signed_name, unsigned_name| match unsigned {
        true => Type::Number(unsigned_name),
        false => Type::Number(signed_name),
    };
    if words.contains("void") {
        Type::Void
    } else if words.contains("bool") {
        Type::Number("bool")
    } else if words.contains("float") {
        Type::Number("f32")
    } else if words.contains("double") && longs == 0 {
        Type::Number("f64")
    } else if words.contains("double") {
        Type::Other("is a long double")
    } else if words.contains("char") {
        match words.contains("signed") {
            true => Type::Number("i8"),
            false => pick("c_char", "c_uchar"),
        }
    } else if words.contains("short") {
        pick("i16", "u16")
    } else if longs > 0 {
        pick("i64", "u64")
    } else {
        pick("c_int", "c_uint")
    }
}

/// The value of a constant expression of the kinds that enumerators have.
fn evaluate(expression: &ast::Expression) -> Option<i128> {
    match expression {
        ast::Expression::Constant(constant) => match &constant.node {
            ast::Constant::Integer(integer) => {
                let radix = match integer.base {
                    ast::IntegerBase::Decimal => 10,
                    ast::IntegerBase::Octal => 8,
                    ast::IntegerBase::Hexadecimal => 16,
                    ast::IntegerBase::Binary => 2,
                };
                i128::from_str_radix(&integer.number, radix).ok()
            }
            _ => None,
        },
        ast::Expression::UnaryOperator(of) => {
            let value = evaluate(&of.node.operand.node)?;
            match of.node.operator.node {
                ast::UnaryOperator::Minus => Some(-value),
                ast::UnaryOperator::Plus => Some(value),
                _ => None,
            }
        }
        ast::Expression::BinaryOperator(of) => {
            let (left, right) = (evaluate(&of.node.lhs.node)?, evaluate(&of.node.rhs.node)?);
            match of.node.operator.node {
                ast::BinaryOperator::ShiftLeft => left.checked_shl(u32::try_from(right).ok()?),
                ast::BinaryOperator::BitwiseOr => Some(left | right),
                ast::BinaryOperator::Plus => left.checked_add(right),
                ast::BinaryOperator::Minus => left.checked_sub(right),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The value of a macro, if it is an integer or one shifted: as C writes it, less brackets and suffixes.
fn integer(text: &str) -> Option<String> {
    let text = text.trim().trim_start_matches('(').trim_end_matches(')');
    if let Some((value, by)) = text.split_once("<<") {
        return Some(format!("{} << {}", integer(value)?, integer(by)?));
    }
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest.trim()),
        None => ("", text),
    };
    let hexadecimal = digits.starts_with("0x") || digits.starts_with("0X");
    let digits = digits.trim_end_matches(['u', 'U', 'l', 'L']);
    let body = match hexadecimal {
        true => &digits[2..],
        false => digits,
    };
    let radix = match (hexadecimal, body.strip_prefix('0')) {
        (true, _) => 16,
        (false, Some(rest)) if !rest.is_empty() => 8,
        _ => 10,
    };
    let value = i128::from_str_radix(body, radix).ok()?;
    Some(match hexadecimal {
        true => format!("{sign}0x{body}"),
        false => format!("{sign}{value}"),
    })
}
