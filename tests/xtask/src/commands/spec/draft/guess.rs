//! What a prototype lets one guess about its parameters, from types, names and neighbours.
//!
//! A guess that is wrong costs whoever reads the draft more than one that is missing: where names do not
//! say it, nothing is guessed, and `spec check` asks.

use super::header::{Function, Header, Member, Type};

/// What is said of a parameter.
#[derive(Debug, PartialEq)]
pub enum Said {
    /// Its type says all.
    Nothing,
    /// These attributes.
    Attributes(Vec<String>),
    /// Not known; what would have to be.
    Unknown(&'static str),
}

/// Names of parameters that count or measure something contain one of these words.
const LENGTHS: &[&str] = &[
    "num", "count", "size", "len", "length", "nbytes", "bytes", "n", "entries", "avail", "nmemb",
];
/// These measure bytes.
const BYTES: &[&str] = &["size", "nbytes", "bytes"];
const MAKES: &[&str] = &[
    "create", "alloc", "new", "make", "init", "open", "dup", "clone",
];
const RETAINS: &[&str] = &["retain", "ref"];
const RELEASES: &[&str] = &["release", "free", "destroy", "delete", "close", "unref"];

/// Words of a name in snake or camel case, in small letters.
pub fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_small = false;
    for c in name.chars() {
        if c == '_' || (c.is_uppercase() && was_small) {
            words.push(String::new());
        }
        was_small = c.is_lowercase() || c.is_ascii_digit();
        if c != '_'
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn has(words: &[String], of: &[&str]) -> bool {
    words.iter().any(|word| of.contains(&word.as_str()))
}

/// Whether one of `words` is or, as `gzclose` does, ends with one of `of`.
fn ends(words: &[String], of: &[&str]) -> bool {
    let ends = |word: &String| of.iter().any(|end| end.len() > 3 && word.ends_with(end));
    has(words, of) || words.iter().any(ends)
}

/// A header, and what its types are to a spec.
pub struct Guesser<'a> {
    pub header: &'a Header,
}

impl Guesser<'_> {
    /// The kind of handle that `ty` is: a pointer to a structure of which only the library knows more.
    pub fn handle(&self, ty: &Type) -> Option<String> {
        match ty {
            Type::Named(name) => match self.header.types.get(name)? {
                Type::Pointer { to, .. } => match &**to {
                    Type::Struct(tag) if self.is_opaque(tag) || self.is_returned(ty) => {
                        Some(name.clone())
                    }
                    _ => None,
                },
                other @ Type::Named(_) => self.handle(other).map(|_| name.clone()),
                _ => None,
            },
            Type::Pointer { to, .. } => match &**to {
                Type::Struct(tag) if self.is_opaque(tag) => Some(tag.trim_matches('_').into()),
                Type::Named(name) => match self.header.types.get(name)? {
                    Type::Struct(tag) if self.is_opaque(tag) => Some(name.clone()),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether functions return `ty`: then the library makes what it points to.
    fn is_returned(&self, ty: &Type) -> bool {
        let mut functions = self.header.functions.iter();
        functions.any(|function| function.returns == *ty)
    }

    fn is_opaque(&self, tag: &str) -> bool {
        !self.header.structs.contains_key(tag)
    }

    /// What `ty` is in the end, where it only has a name.
    pub fn resolved<'t>(&'t self, ty: &'t Type) -> &'t Type {
        match ty {
            Type::Named(name) => match self.header.types.get(name) {
                Some(ty) => self.resolved(ty),
                None => ty,
            },
            _ => ty,
        }
    }

    /// Why a function can be described by no spec, if so.
    pub fn beyond(&self, function: &Function) -> Option<&'static str> {
        let returns = std::iter::once(&function.returns);
        let mut types = function.params.iter().map(|p| &p.ty).chain(returns);
        types.find_map(|ty| self.beyond_type(ty))
    }

    fn beyond_type(&self, ty: &Type) -> Option<&'static str> {
        match self.resolved(ty) {
            Type::Other(why) => Some(why),
            Type::Pointer { to, .. } if self.handle(ty).is_none() => self.beyond_type(to),
            Type::Named(_) => Some("is of a type that is not declared"),
            Type::Struct(tag) => {
                let fields = self.header.structs.get(tag);
                fields
                    .into_iter()
                    .flatten()
                    .find_map(|field| match field.ty {
                        Type::Pointer { .. } => None,
                        _ => self.beyond_type(&field.ty),
                    })
            }
            _ => None,
        }
    }

    /// Attributes of `function` as a whole.
    pub fn function(&self, function: &Function) -> Vec<String> {
        let name = words(&function.name);
        let handle = |param: &&Member| self.handle(&param.ty).is_some();
        let first = function.params.iter().find(handle);
        let mut attributes = Vec::new();
        if self.handle(&function.returns).is_some() {
            attributes.push(match first {
                Some(parent) => format!("new(parent = {})", identifier(&parent.name)),
                None => "new".into(),
            });
        } else if let ([param], Some(_)) = (function.params.as_slice(), first) {
            let param = identifier(&param.name);
            if ends(&name, RETAINS) {
                attributes.extend(["queued".into(), format!("retains({param})")]);
            } else if ends(&name, RELEASES) {
                attributes.extend(["queued".into(), format!("releases({param})")]);
            }
        }
        // A number that is no error: zero is what most functions say when they have nothing.
        let unsigned = ["u8", "u16", "u32", "u64", "usize", "c_uint", "c_uchar"];
        if let Type::Number(number) = self.resolved(&function.returns)
            && unsigned.contains(number)
        {
            attributes.push("fails(0)".into());
        }
        attributes
    }

    /// What is said of each parameter of `function`.
    pub fn params(&self, function: &Function) -> Vec<Said> {
        (0..function.params.len())
            .map(|index| self.param(function, index))
            .collect()
    }

    fn param(&self, function: &Function, index: usize) -> Said {
        let param = &function.params[index];
        if self.handle(&param.ty).is_some() {
            return Said::Nothing;
        }
        let name = words(&param.name);
        let (to, constant) = match self.resolved(&param.ty) {
            Type::Function => return Said::Unknown("what becomes of what is called"),
            Type::Pointer { to, constant } => (&**to, *constant),
            _ => return Said::Nothing,
        };
        let after_callback = index > 0
            && *self.resolved(&function.params[index - 1].ty) == Type::Function
            && has(&name, &["data", "user", "arg", "opaque", "ctx"]);
        if after_callback && *self.resolved(to) == Type::Void {
            return Said::Attributes(vec!["user_data".into()]);
        }
        // Strings that are read, and a list of them that C lets be written to.
        let strings = matches!(self.resolved(to), Type::Pointer { to, constant: true }
            if is_char(self.resolved(to)));
        match constant || strings {
            true => self.input(function, index, to),
            false => self.output(function, index, to),
        }
    }

    fn input(&self, function: &Function, index: usize, to: &Type) -> Said {
        let length = self.length(function, index);
        match self.resolved(to) {
            Type::Pointer { to, .. } if is_char(self.resolved(to)) => match length {
                Some(length) => match self.lengths(function, index, &length) {
                    Some(lengths) => said([format!("strings({length}, {lengths})")]),
                    None => said([format!("strings({length})")]),
                },
                None => Said::Unknown("how many strings there are"),
            },
            Type::Number("usize") if has(&words(&function.params[index].name), &["lengths"]) => {
                said(["lengths".into()])
            }
            ty if is_char(ty) && length.is_none() => said(["string".into()]),
            _ => match length {
                Some(length) => said([format!("len({length})")]),
                None => Said::Unknown("how much is read"),
            },
        }
    }

    /// The parameter with the lengths of the strings in parameter `index`, of which there are `count`.
    fn lengths(&self, function: &Function, index: usize, count: &str) -> Option<String> {
        let next = function.params.get(index + 1)?;
        let is_list = matches!(self.resolved(&next.ty), Type::Pointer { to, constant: true }
            if *self.resolved(to) == Type::Number("usize"));
        let named = has(&words(&next.name), &["lengths"]) && !count.is_empty();
        (is_list && named).then(|| identifier(&next.name))
    }

    fn output(&self, function: &Function, index: usize, to: &Type) -> Said {
        let name = words(&function.params[index].name);
        let length = self.length(function, index);
        if self.handle(to).is_some() {
            let handle = |param: &&Member| self.handle(&param.ty).is_some();
            let parent = function.params.iter().find(handle);
            let new = match parent {
                Some(parent) => format!("new(parent = {})", identifier(&parent.name)),
                None => "new".into(),
            };
            let finds = !has(&words(&function.name), MAKES);
            return match length {
                Some(length) if finds => said([format!("found({length})"), "optional".into()]),
                Some(length) => said([format!("len({length})"), new]),
                None => said([new]),
            };
        }
        if let Some(length) = length {
            let mut attributes = vec![format!("len({length})")];
            if let Some(size) = self.written(function, index) {
                // Whoever does not ask how much it was may still want it.
                let all = format!("if {size}.is_null() {{ {length} }} else {{ *{size} }}");
                attributes.extend([format!("written({all})"), "optional".into()]);
            }
            return Said::Attributes(attributes);
        }
        let returned = name.last().is_some_and(|word| word == "ret");
        let counted = has(&name, LENGTHS) || returned;
        match self.resolved(to) {
            Type::Number("c_int" | "i32") if has(&name, &["err", "errcode", "error"]) => {
                said(["error".into()])
            }
            // What a length is written to may be read before: `*destLen` of zlib.
            Type::Number(number)
                if !is_byte(number) && counted && !self.measures(function, index) =>
            {
                said(["len(1)".into(), "optional".into()])
            }
            Type::Number(number) if !is_byte(number) && returned => {
                said(["len(1)".into(), "optional".into()])
            }
            _ => Said::Unknown("how much is written"),
        }
    }

    /// Whether parameter `index` has the name of a pointer without a length of its own: it may be both how
    /// much there is room for and how much was written.
    fn measures(&self, function: &Function, index: usize) -> bool {
        let name = words(&function.params[index].name);
        let Some(previous) = index.checked_sub(1) else {
            return false;
        };
        let other = &function.params[previous];
        matches!(self.resolved(&other.ty), Type::Pointer { .. })
            && self.handle(&other.ty).is_none()
            && self.length(function, previous).is_none()
            && has(
                &name,
                &words(&other.name)
                    .iter()
                    .map(String::as_str)
                    .collect::<Vec<_>>(),
            )
    }

    /// The parameter that says how much of the output `index` was written.
    fn written(&self, function: &Function, index: usize) -> Option<String> {
        let name = words(&function.params[index].name);
        let says = |param: &&Member| {
            let other = words(&param.name);
            matches!(self.resolved(&param.ty), Type::Pointer { to, constant: false }
                if *self.resolved(to) == Type::Number("usize"))
                && other.last().is_some_and(|word| word == "ret")
                && name.iter().all(|word| other.contains(word))
        };
        let found = function.params.iter().find(says)?;
        Some(identifier(&found.name))
    }

    /// The parameter that says how long what parameter `index` points to is.
    ///
    /// A length belongs to the pointer that it fits best; another that is read may have it too, if their
    /// names have a word in common.
    fn length(&self, function: &Function, index: usize) -> Option<String> {
        let pointers = 0..function.params.len();
        let mut best: Option<(Fit, &Member)> = None;
        for (at, param) in function.params.iter().enumerate() {
            let Some(fit) = self.fit(function, index, at) else {
                continue;
            };
            let most = pointers
                .clone()
                .filter_map(|other| self.fit(function, other, at))
                .max();
            let is_read = matches!(
                self.resolved(&function.params[index].ty),
                Type::Pointer { constant: true, .. }
            );
            let may = most == Some(fit) || (fit.common > 0 && is_read);
            if may && best.is_none_or(|(before, _)| fit > before) {
                best = Some((fit, param));
            }
        }
        best.map(|(_, param)| identifier(&param.name))
    }

    /// How well the parameter `at` is the length of what parameter `index` points to.
    fn fit(&self, function: &Function, index: usize, at: usize) -> Option<Fit> {
        let (param, length) = (&function.params[index], &function.params[at]);
        let Type::Pointer { to, .. } = self.resolved(&param.ty) else {
            return None;
        };
        let Type::Number(number) = self.resolved(&length.ty) else {
            return None;
        };
        if self.handle(&param.ty).is_some() || self.is_single(function, index) {
            return None;
        }
        let counts_bytes = match self.resolved(to) {
            Type::Void => true,
            Type::Number(number) => is_byte(number),
            _ => false,
        };
        let (name, of) = (words(&param.name), words(&length.name));
        let is_length = has(&of, LENGTHS) && !number.starts_with('f');
        // Bytes are no number of what is larger.
        let measures_bytes = has(&of, BYTES) && !has(&of, &["num", "count"]);
        if !is_length || (measures_bytes && !counts_bytes) {
            return None;
        }
        let fit = Fit {
            common: of.iter().filter(|word| shares(&name, word)).count(),
            adjacent: index.abs_diff(at) == 1,
            before: at + 1 == index,
        };
        // One that has a word of its own measures something else.
        let is_bare = of.iter().all(|word| LENGTHS.contains(&word.as_str()));
        (fit.common > 0 || (fit.adjacent && is_bare)).then_some(fit)
    }

    /// Whether what parameter `index` points to is one number that the call writes, by its name.
    fn is_single(&self, function: &Function, index: usize) -> bool {
        let param = &function.params[index];
        let Type::Pointer {
            to,
            constant: false,
        } = self.resolved(&param.ty)
        else {
            return false;
        };
        let is_number = matches!(self.resolved(to), Type::Number(number) if !is_byte(number));
        let last = words(&param.name).pop();
        is_number && last.is_some_and(|word| word == "ret")
    }
}

/// How well a length fits a pointer; the greater, the better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    /// Words that their names have in common.
    common: usize,
    adjacent: bool,
    /// The length stands directly before the pointer.
    before: bool,
}

/// Whether one of `words` is `word`, but for the ending of a plural, and it measures nothing itself.
fn shares(words: &[String], word: &str) -> bool {
    let stem = |word: &str| word.strip_suffix('s').unwrap_or(word).to_owned();
    !LENGTHS.contains(&word) && words.iter().any(|other| stem(other) == stem(word))
}

fn said<const N: usize>(attributes: [String; N]) -> Said {
    Said::Attributes(attributes.into())
}

fn is_char(ty: &Type) -> bool {
    *ty == Type::Number("c_char")
}

fn is_byte(number: &str) -> bool {
    ["c_char", "c_uchar", "i8", "u8"].contains(&number)
}

/// A C name as Rust takes it.
pub fn identifier(name: &str) -> String {
    const TAKEN: &[&str] = &[
        "in", "type", "ref", "move", "match", "fn", "mod", "use", "where", "impl", "loop", "self",
        "box", "dyn", "let", "mut", "pub", "as", "crate", "super", "trait", "async", "await",
        "final", "priv", "virtual", "yield", "unsafe", "true", "false", "abstract", "override",
        "macro", "try", "gen", "become",
    ];
    match TAKEN.contains(&name) {
        true => format!("{name}_"),
        false => name.to_owned(),
    }
}
