//! A spec file, read.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use proc_macro2::Span;
use syn::parse::Parse;
use syn::spanned::Spanned;

use crate::attribute::{Attribute, Case, Query, Setting};
use crate::expression::{Expression, Leaf};
use crate::model::*;
use crate::types::{Types, text};

/// What is wrong with a spec, and where.
#[derive(Debug, thiserror::Error)]
#[error("{}:{line}:{column}: {message}", file.display())]
pub struct Error {
    /// The spec.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl Spec {
    /// Reads the spec in `file`.
    pub fn read(file: impl AsRef<Path>) -> Result<Spec, Error> {
        let file = file.as_ref();
        let text = std::fs::read_to_string(file).map_err(|e| Error {
            file: file.to_owned(),
            line: 0,
            column: 0,
            message: format!("cannot be read: {e}"),
        })?;
        Spec::parse(file, &text)
    }

    /// Takes `text` as a spec; `file` is for messages.
    pub fn parse(file: impl AsRef<Path>, text: &str) -> Result<Spec, Error> {
        let file = file.as_ref();
        let parsed = syn::parse_file(text).map_err(|e| at(file, e.span(), &e.to_string()))?;
        let mut reader = Reader::new(file);
        reader.settings(&parsed)?;
        for item in &parsed.items {
            reader.declaration(item)?;
        }
        reader.finish_settings(&parsed)?;
        for item in &parsed.items {
            if let syn::Item::ForeignMod(foreign) = item {
                for item in &foreign.items {
                    reader.foreign(item)?;
                }
            }
        }
        Ok(reader.spec)
    }

    /// Bytes of what a pointer of type `ty` points to: 1 for `c_void`.
    ///
    /// # Panics
    ///
    /// If `ty` is not a pointer: the check of the spec has found that it is one.
    pub fn element_size(&self, ty: &Type) -> u64 {
        let Type::Pointer { to, .. } = ty else {
            panic!("{ty:?} is not a pointer");
        };
        match &**to {
            Type::Int { bytes, .. } | Type::Float(bytes) => u64::from(*bytes),
            Type::Handle(_) | Type::Pointer { .. } | Type::Function => 8,
            Type::Struct(index) => self.structs[*index].size,
            Type::Void | Type::Nothing => 1,
        }
    }
}

/// An error at `span` of `file`.
fn at(file: &Path, span: Span, message: &str) -> Error {
    let start = span.start();
    Error {
        file: file.to_owned(),
        line: start.line,
        column: start.column + 1,
        message: message.to_owned(),
    }
}

struct Reader<'a> {
    file: &'a Path,
    spec: Spec,
    types: Types,
    constants: HashMap<String, i128>,
    /// Attributes of parameters of some name and type.
    common: HashMap<(String, String), Vec<syn::Attribute>>,
}

impl<'a> Reader<'a> {
    fn new(file: &'a Path) -> Self {
        let errors = Errors {
            lost: 0,
            malformed: 0,
            quota: 0,
            unsupported: 0,
        };
        let spec = Spec {
            file: file.to_owned(),
            name: String::new(),
            id: 0,
            library: String::new(),
            event: None,
            errors,
            kinds: Vec::new(),
            aliases: Vec::new(),
            structs: Vec::new(),
            constants: Vec::new(),
            functions: Vec::new(),
        };
        Reader {
            file,
            spec,
            types: Types::default(),
            constants: HashMap::new(),
            common: HashMap::new(),
        }
    }

    fn error(&self, span: Span, message: impl AsRef<str>) -> Error {
        at(self.file, span, message.as_ref())
    }

    fn syn(&self, error: syn::Error) -> Error {
        at(self.file, error.span(), &error.to_string())
    }

    fn attributes(&self, attributes: &[syn::Attribute]) -> Result<Vec<Attribute>, Error> {
        Attribute::all(attributes).map_err(|e| self.syn(e))
    }

    /// `#![api(name = "…", id = …, library = "…")]`.
    fn settings(&mut self, parsed: &syn::File) -> Result<(), Error> {
        let attributes = self.attributes(&parsed.attrs)?;
        let Some(api) = attributes.iter().find(|a| a.name == "api") else {
            let message = "the spec does not begin with #![api(name = …, id = …, library = …)]";
            return Err(self.error(Span::call_site(), message));
        };
        for setting in api.arguments::<Setting>().map_err(|e| self.syn(e))? {
            let syn::Expr::Lit(syn::ExprLit { lit, .. }) = &setting.value else {
                continue; // names of kinds, which are not known yet
            };
            match (setting.key.to_string().as_str(), lit) {
                ("name", syn::Lit::Str(name)) => self.spec.name = name.value(),
                ("library", syn::Lit::Str(name)) => self.spec.library = name.value(),
                ("id", syn::Lit::Int(id)) => {
                    self.spec.id = id.base10_parse().map_err(|e| self.syn(e))?;
                }
                _ => return Err(self.error(setting.key.span(), "there is no such setting")),
            }
        }
        match self.spec.name.is_empty() || self.spec.library.is_empty() || self.spec.id == 0 {
            true => Err(self.error(api.span, "#![api(…)] needs name, id (not 0) and library")),
            false => Ok(()),
        }
    }

    /// The settings that name types and constants.
    fn finish_settings(&mut self, parsed: &syn::File) -> Result<(), Error> {
        let mut errors_seen = 0;
        for attribute in self.attributes(&parsed.attrs)? {
            let settings = attribute.arguments::<Setting>().map_err(|e| self.syn(e))?;
            for setting in settings {
                let key = setting.key.to_string();
                let unknown = self.error(setting.key.span(), "there is no such setting");
                match attribute.name.as_str() {
                    "api" if key == "event" => {
                        let path = path_of(&setting.value).ok_or(unknown)?;
                        self.spec.event = Some(self.kind(path)?);
                    }
                    "api" if ["name", "id", "library"].contains(&key.as_str()) => {}
                    "errors" => {
                        let value = self.number(&setting.value)? as i64;
                        let errors = &mut self.spec.errors;
                        *(match key.as_str() {
                            "lost" => &mut errors.lost,
                            "malformed" => &mut errors.malformed,
                            "quota" => &mut errors.quota,
                            "unsupported" => &mut errors.unsupported,
                            _ => return Err(unknown),
                        }) = value;
                        errors_seen += 1;
                    }
                    _ => return Err(unknown),
                }
            }
        }
        match errors_seen {
            4 => Ok(()),
            _ => Err(self.error(
                Span::call_site(),
                "the spec lacks #![errors(lost = …, malformed = …, quota = …, unsupported = …)]",
            )),
        }
    }

    fn declaration(&mut self, item: &syn::Item) -> Result<(), Error> {
        match item {
            syn::Item::Type(alias) => self.alias(alias),
            syn::Item::Struct(item) => self.structure(item),
            syn::Item::Const(constant) => {
                let value = self.number(&constant.expr)?;
                let name = constant.ident.to_string();
                if self.constants.insert(name.clone(), value).is_some() {
                    let message = format!("`{name}` is declared twice");
                    return Err(self.error(constant.ident.span(), message));
                }
                self.spec.constants.push(Constant {
                    name,
                    ty: (*constant.ty).clone(),
                    value,
                });
                Ok(())
            }
            syn::Item::ForeignMod(_) | syn::Item::Use(_) => Ok(()),
            other => Err(self.error(
                other.span(),
                "a spec holds types, structures, constants and `unsafe extern \"C\"` functions",
            )),
        }
    }

    fn alias(&mut self, alias: &syn::ItemType) -> Result<(), Error> {
        let name = alias.ident.to_string();
        let mut resolved = None;
        for attribute in self.attributes(&alias.attrs)? {
            if attribute.name != "handle" {
                return Err(self.unknown_attribute(&attribute));
            }
            let invalid: syn::Expr = self.argument(&attribute)?;
            resolved = Some(Type::Handle(self.spec.kinds.len()));
            let invalid = self.number(&invalid)? as i64;
            self.spec.kinds.push(Kind {
                name: name.clone(),
                invalid,
            });
        }
        let is_handle = resolved.is_some();
        let resolved = match resolved {
            Some(ty) => ty,
            None => self.resolve(&alias.ty)?,
        };
        if !self.types.declare(&name, resolved.clone()) {
            return Err(self.error(alias.ident.span(), format!("`{name}` is declared twice")));
        }
        if !is_handle {
            self.spec.aliases.push(Alias {
                name,
                target: (*alias.ty).clone(),
                resolved,
            });
        }
        Ok(())
    }

    fn structure(&mut self, item: &syn::ItemStruct) -> Result<(), Error> {
        let name = item.ident.to_string();
        let fields: Vec<Type> = item
            .fields
            .iter()
            .map(|field| self.resolve(&field.ty))
            .collect::<Result<_, _>>()?;
        let index = self
            .types
            .add_struct(&fields)
            .ok_or_else(|| self.error(item.span(), "a field has no size"))?;
        let ty = Type::Struct(index);
        let (size, align) = self.types.size_align(&ty).unwrap_or_default();
        if !self.types.declare(&name, ty) {
            return Err(self.error(item.ident.span(), format!("`{name}` is declared twice")));
        }
        self.spec.structs.push(Struct {
            name,
            item: item.clone(),
            size,
            align,
        });
        Ok(())
    }

    fn resolve(&self, ty: &syn::Type) -> Result<Type, Error> {
        let message = || format!("the type `{}` is not declared", text(ty));
        self.types
            .resolve(ty)
            .ok_or_else(|| self.error(ty.span(), message()))
    }

    fn argument<T: Parse>(&self, attribute: &Attribute) -> Result<T, Error> {
        attribute.argument().map_err(|e| self.syn(e))
    }

    fn unknown_attribute(&self, attribute: &Attribute) -> Error {
        let message = format!("there is no attribute #[{}] here", attribute.name);
        self.error(attribute.span, message)
    }

    fn kind(&self, path: &syn::Path) -> Result<usize, Error> {
        let name = path_text(path);
        match self.types.by_name(&name) {
            Some(Type::Handle(kind)) => Ok(kind),
            _ => Err(self.error(path.span(), format!("`{name}` is not a type of handles"))),
        }
    }

    /// The value of a constant expression.
    fn number(&self, expr: &syn::Expr) -> Result<i128, Error> {
        let names = Names {
            reader: self,
            params: &[],
        };
        Expression::new(expr, &names)?
            .evaluate(&mut |_| None)
            .ok_or_else(|| self.error(expr.span(), "this has no value"))
    }

    /// Constant keys and the kinds of handle that go with them.
    fn keys<'c>(
        &self,
        cases: impl IntoIterator<Item = &'c Case>,
    ) -> Result<Vec<(u64, usize)>, Error> {
        cases
            .into_iter()
            .map(|case| Ok((self.key(&case.key)?, self.kind(&case.kind)?)))
            .collect()
    }

    fn key(&self, path: &syn::Path) -> Result<u64, Error> {
        let name = path_text(path);
        match self.constants.get(&name) {
            Some(value) => Ok(*value as u64),
            None => Err(self.error(path.span(), format!("there is no constant `{name}`"))),
        }
    }

    fn foreign(&mut self, item: &syn::ForeignItem) -> Result<(), Error> {
        let syn::ForeignItem::Fn(prototype) = item else {
            return Err(self.error(item.span(), "only functions are described here"));
        };
        let params = self.declared(&prototype.sig)?;
        let attributes = self.attributes(&prototype.attrs)?;
        if attributes.iter().any(|a| a.name == "common") {
            for param in params {
                let key = (param.name, text(&param.ty));
                self.common.insert(key, param.attributes);
            }
            return Ok(());
        }
        let number = u16::try_from(self.spec.functions.len())
            .map_err(|_| self.error(prototype.span(), "there are too many functions"))?;
        let names = Names {
            reader: self,
            params: &params,
        };
        let mut function = names.function(prototype, &attributes, number)?;
        crate::layout::lay_out(&mut function);
        crate::check::check(&self.spec, &function)
            .map_err(|(param, what)| self.complaint(prototype, &params, param, &what))?;
        self.spec.functions.push(function);
        Ok(())
    }

    /// Something that a function or one of its parameters lacks.
    fn complaint(
        &self,
        prototype: &syn::ForeignItemFn,
        params: &[Declared],
        param: Option<usize>,
        what: &str,
    ) -> Error {
        let function = &prototype.sig.ident;
        match param.and_then(|index| params.get(index)) {
            Some(param) => {
                let message = format!("{function}: parameter `{}` {what}", param.name);
                self.error(param.span, message)
            }
            None => self.error(function.span(), format!("{function} {what}")),
        }
    }

    fn declared(&self, signature: &syn::Signature) -> Result<Vec<Declared>, Error> {
        let mut params: Vec<Declared> = Vec::new();
        for input in &signature.inputs {
            let syn::FnArg::Typed(typed) = input else {
                return Err(self.error(input.span(), "a C function has no `self`"));
            };
            let syn::Pat::Ident(name) = &*typed.pat else {
                return Err(self.error(typed.pat.span(), "a parameter needs a name"));
            };
            let name_text = name.ident.to_string();
            if params.iter().any(|p| p.name == name_text) {
                let message = format!("there are two parameters `{name_text}`");
                return Err(self.error(name.span(), message));
            }
            let key = (name_text.clone(), text(&typed.ty));
            let own = Attribute::all(&typed.attrs).map_err(|e| self.syn(e))?;
            let attributes = match self.common.get(&key) {
                Some(common) if own.is_empty() => common.clone(),
                _ => typed.attrs.clone(),
            };
            params.push(Declared {
                name: name_text,
                span: name.ident.span(),
                ty: (*typed.ty).clone(),
                resolved: self.resolve(&typed.ty)?,
                attributes,
            });
        }
        Ok(params)
    }
}

fn path_of(expr: &syn::Expr) -> Option<&syn::Path> {
    match expr {
        syn::Expr::Path(path) => Some(&path.path),
        _ => None,
    }
}

fn path_text(path: &syn::Path) -> String {
    let segments = path.segments.iter().map(|s| s.ident.to_string());
    segments.collect::<Vec<_>>().join("::")
}

/// A parameter as it is declared.
struct Declared {
    name: String,
    span: Span,
    ty: syn::Type,
    resolved: Type,
    attributes: Vec<syn::Attribute>,
}

/// What names mean inside of one prototype.
pub(crate) struct Names<'a> {
    reader: &'a Reader<'a>,
    params: &'a [Declared],
}

/// What the attributes of a parameter say, before they are put together.
#[derive(Default)]
struct Said {
    len: Option<Expression>,
    optional: bool,
    extra: bool,
    bulk: bool,
    input: bool,
    written: Option<Expression>,
    answers: Option<Answers>,
    role: Option<Role>,
    string: bool,
    contents: Option<Contents>,
}

impl Names<'_> {
    /// An error at `span`.
    pub(crate) fn error(&self, span: Span, message: impl AsRef<str>) -> Error {
        self.reader.error(span, message)
    }

    fn param(&self, path: &syn::Path) -> Option<usize> {
        let name = path_text(path);
        self.params.iter().position(|p| p.name == name)
    }

    fn known_param(&self, path: &syn::Path) -> Result<usize, Error> {
        let message = || format!("there is no parameter `{}`", path_text(path));
        self.param(path)
            .ok_or_else(|| self.error(path.span(), message()))
    }

    /// The scalar parameter or constant of this name.
    pub(crate) fn value(&self, path: &syn::Path) -> Result<Expression, Error> {
        let name = path_text(path);
        match self.param(path) {
            Some(index) => match self.params[index].resolved {
                Type::Int { .. } => Ok(Expression::Leaf(Leaf::Param(index))),
                _ => Err(self.error(path.span(), format!("`{name}` is not an integer"))),
            },
            None => match self.reader.constants.get(&name) {
                Some(value) => Ok(Expression::Number(*value)),
                None => Err(self.error(
                    path.span(),
                    format!("there is no parameter or constant `{name}`"),
                )),
            },
        }
    }

    /// The pointer parameter of this name.
    pub(crate) fn pointer(&self, path: &syn::Path) -> Result<usize, Error> {
        let index = self.known_param(path)?;
        match self.params[index].resolved {
            Type::Pointer { .. } | Type::Function | Type::Handle(_) => Ok(index),
            _ => Err(self.error(path.span(), "this is not a pointer")),
        }
    }

    /// The out-parameter of an integer type of this name.
    pub(crate) fn output(&self, path: &syn::Path) -> Result<usize, Error> {
        self.integers(path, true)
    }

    /// The array of integers of this name that a call reads.
    pub(crate) fn input_array(&self, path: &syn::Path) -> Result<usize, Error> {
        self.integers(path, false)
    }

    fn integers(&self, path: &syn::Path, out: bool) -> Result<usize, Error> {
        let index = self.known_param(path)?;
        match &self.params[index].resolved {
            Type::Pointer { mutable, to }
                if *mutable == out && matches!(**to, Type::Int { .. }) =>
            {
                Ok(index)
            }
            _ if out => Err(self.error(path.span(), "this is not a pointer to a written integer")),
            _ => Err(self.error(path.span(), "this is not a pointer to read integers")),
        }
    }

    /// The value of `size_of::<T>()`.
    pub(crate) fn size_of(&self, path: &syn::Path) -> Result<i128, Error> {
        let unknown = || self.error(path.span(), "the only function is size_of::<T>()");
        let [segment] = &path.segments.iter().collect::<Vec<_>>()[..] else {
            return Err(unknown());
        };
        let syn::PathArguments::AngleBracketed(arguments) = &segment.arguments else {
            return Err(unknown());
        };
        let (true, Some(syn::GenericArgument::Type(ty))) =
            (segment.ident == "size_of", arguments.args.first())
        else {
            return Err(unknown());
        };
        let resolved = self.reader.resolve(ty)?;
        match self.reader.types.size_align(&resolved) {
            Some((size, _)) => Ok(i128::from(size)),
            None => Err(self.error(ty.span(), "this type has no size")),
        }
    }

    /// Size and sign of an integer type.
    pub(crate) fn integer(&self, ty: &syn::Type) -> Result<(u8, bool), Error> {
        match self.reader.resolve(ty)? {
            Type::Int { bytes, signed } => Ok((bytes, signed)),
            _ => Err(self.error(ty.span(), "this is not an integer type")),
        }
    }

    fn expression(&self, attribute: &Attribute) -> Result<Expression, Error> {
        Expression::new(&self.reader.argument(attribute)?, self)
    }

    fn condition(&self, attribute: &Attribute) -> Result<Condition, Error> {
        match attribute.has_arguments() {
            true => Ok(Condition::If(self.expression(attribute)?)),
            false => Ok(Condition::Always),
        }
    }

    fn plain(&self, attribute: &Attribute) -> Result<bool, Error> {
        attribute.plain().map_err(|e| self.reader.syn(e))?;
        Ok(true)
    }

    fn handle_param(&self, path: &syn::Path) -> Result<usize, Error> {
        let index = self.known_param(path)?;
        match self.params[index].resolved {
            Type::Handle(_) => Ok(index),
            _ => Err(self.error(path.span(), "this parameter is not a handle")),
        }
    }

    fn function(
        &self,
        prototype: &syn::ForeignItemFn,
        attributes: &[Attribute],
        number: u16,
    ) -> Result<Function, Error> {
        let returns = match &prototype.sig.output {
            syn::ReturnType::Default => None,
            syn::ReturnType::Type(_, ty) => Some((**ty).clone()),
        };
        let return_type = match &returns {
            None => Type::Nothing,
            Some(ty) => self.reader.resolve(ty)?,
        };
        let mut function = Function {
            name: prototype.sig.ident.to_string(),
            number,
            params: Vec::new(),
            returns,
            return_type,
            carried: Carried::Command {
                by_hand_guest: false,
                by_hand_worker: false,
            },
            new: None,
            failure: Failure::Nowhere,
            queued: Condition::Never,
            submits: false,
            blocks: Condition::Never,
            holds: None,
            cached: false,
            device_time: false,
            retains: None,
            releases: None,
            done: None,
            words: 0,
        };
        for attribute in attributes {
            self.function_attribute(attribute, &mut function)?;
        }
        let is_command = matches!(function.carried, Carried::Command { .. });
        for declared in self.params {
            function.params.push(self.role(declared, is_command)?);
        }
        let error = function
            .params
            .iter()
            .position(|p| matches!(p.role, Role::Error));
        function.failure = match (error, &function.return_type) {
            (Some(index), _) => Failure::Out(index),
            (
                None,
                Type::Int {
                    bytes: 4,
                    signed: true,
                },
            ) => Failure::Return,
            _ => Failure::Nowhere,
        };
        Ok(function)
    }

    fn function_attribute(
        &self,
        attribute: &Attribute,
        function: &mut Function,
    ) -> Result<(), Error> {
        match attribute.name.as_str() {
            "unsupported" => {
                let error = match attribute.has_arguments() {
                    true => self.reader.number(&self.reader.argument(attribute)?)? as i64,
                    false => self.reader.spec.errors.unsupported,
                };
                function.carried = Carried::Unsupported(error);
            }
            "local" if self.plain(attribute)? => function.carried = Carried::Local,
            "by_hand" => {
                let sides = attribute.arguments::<syn::Ident>();
                let (mut guest, mut worker) = (false, false);
                for side in sides.map_err(|e| self.reader.syn(e))? {
                    match side.to_string().as_str() {
                        "guest" => guest = true,
                        "worker" => worker = true,
                        _ => return Err(self.error(side.span(), "say `guest` or `worker`")),
                    }
                }
                function.carried = Carried::Command {
                    by_hand_guest: guest,
                    by_hand_worker: worker,
                };
            }
            "queued" => function.queued = self.condition(attribute)?,
            "blocks" => function.blocks = self.condition(attribute)?,
            "holds" => function.holds = Some(self.expression(attribute)?),
            "cached" => function.cached = self.plain(attribute)?,
            "submits" => function.submits = self.plain(attribute)?,
            "device_time" => function.device_time = self.plain(attribute)?,
            "retains" => {
                function.retains = Some(self.handle_param(&self.reader.argument(attribute)?)?);
            }
            "releases" => {
                function.releases = Some(self.handle_param(&self.reader.argument(attribute)?)?);
            }
            "new" => {
                let Type::Handle(kind) = function.return_type else {
                    return Err(self.error(attribute.span, "the function returns no handle"));
                };
                function.new = Some(self.new_object(attribute, kind)?);
            }
            _ => return Err(self.reader.unknown_attribute(attribute)),
        }
        Ok(())
    }

    fn new_object(&self, attribute: &Attribute, kind: usize) -> Result<New, Error> {
        let mut parent = None;
        if attribute.has_arguments() {
            let setting: Setting = self.reader.argument(attribute)?;
            match path_of(&setting.value) {
                Some(path) if setting.key == "parent" => parent = Some(self.handle_param(path)?),
                _ => return Err(self.error(setting.key.span(), "say #[new(parent = …)]")),
            }
        }
        Ok(New {
            kind,
            parent,
            word: 0,
        })
    }

    fn role(&self, declared: &Declared, is_command: bool) -> Result<Param, Error> {
        let mut said = Said::default();
        for attribute in self.reader.attributes(&declared.attributes)? {
            // Of what is not sent, only where the error goes is of interest.
            if is_command || attribute.name == "error" {
                self.param_attribute(&attribute, declared, &mut said)?;
            }
        }
        let role = match is_command {
            true => said
                .role
                .take()
                .or_else(|| said.by_type(&declared.resolved)),
            false => said.role.take().or(Some(Role::GuestOnly { len: None })),
        };
        let role = role.ok_or_else(|| {
            let what = crate::check::lacks(&self.reader.spec, &declared.resolved);
            let message = format!("parameter `{}` {what}", declared.name);
            self.error(declared.span, message)
        })?;
        Ok(Param {
            name: declared.name.clone(),
            ty: declared.ty.clone(),
            resolved: declared.resolved.clone(),
            role,
            optional: said.optional,
            extra: said.extra,
            word: 0,
        })
    }

    fn param_attribute(
        &self,
        attribute: &Attribute,
        declared: &Declared,
        said: &mut Said,
    ) -> Result<(), Error> {
        match attribute.name.as_str() {
            "len" => said.len = Some(self.expression(attribute)?),
            "optional" => said.optional = self.plain(attribute)?,
            "input" => said.input = self.plain(attribute)?,
            "extra" => said.extra = self.plain(attribute)?,
            "bulk" => said.bulk = self.plain(attribute)?,
            "string" => said.string = self.plain(attribute)?,
            "written" => said.written = Some(self.expression(attribute)?),
            "answers" => said.answers = Some(self.answers(self.reader.argument(attribute)?)?),
            "error" if self.plain(attribute)? => said.role = Some(Role::Error),
            "user_data" if self.plain(attribute)? => said.role = Some(Role::UserData),
            "guest_only" => {
                let len = match attribute.has_arguments() {
                    true => Some(self.expression(attribute)?),
                    false => None,
                };
                said.role = Some(Role::GuestOnly { len });
            }
            "new" => {
                let kind = self.pointed_kind(attribute, declared)?;
                said.role = Some(Role::New(self.new_object(attribute, kind)?));
            }
            "found" => {
                let kind = self.pointed_kind(attribute, declared)?;
                let len = self.expression(attribute)?;
                said.role = Some(Role::Found { kind, len });
            }
            "handle_or_bytes" => {
                let len = self.expression(attribute)?;
                said.role = Some(Role::HandleOrBytes { len });
            }
            "properties" => {
                let cases = match attribute.has_arguments() {
                    true => attribute.arguments::<Case>(),
                    false => Ok(Vec::new()),
                };
                let keys = self.reader.keys(&cases.map_err(|e| self.reader.syn(e))?)?;
                said.contents = Some(Contents::Properties(keys));
            }
            "strings" => {
                let arguments = attribute.arguments::<syn::Expr>();
                let arguments = arguments.map_err(|e| self.reader.syn(e))?;
                let lengths = match arguments.get(1) {
                    None => None,
                    Some(expr) => {
                        let path = path_of(expr)
                            .ok_or_else(|| self.error(expr.span(), "this is not a parameter"))?;
                        Some(self.input_array(path)?)
                    }
                };
                said.contents = Some(Contents::Strings {
                    count: Expression::new(&arguments[0], self)?,
                    lengths,
                });
            }
            "lengths" if self.plain(attribute)? => said.role = Some(Role::Lengths),
            "callback" => {
                let what: syn::Ident = self.reader.argument(attribute)?;
                said.role = Some(Role::Callback(match what.to_string().as_str() {
                    "after" => Callback::After,
                    "never" => Callback::Never,
                    "unsupported" => Callback::Unsupported,
                    _ => {
                        let message = "say `after`, `never` or `unsupported`";
                        return Err(self.error(what.span(), message));
                    }
                }));
            }
            _ => return Err(self.reader.unknown_attribute(attribute)),
        }
        Ok(())
    }

    fn pointed_kind(&self, attribute: &Attribute, declared: &Declared) -> Result<usize, Error> {
        match &declared.resolved {
            Type::Pointer { mutable: true, to } => match **to {
                Type::Handle(kind) => Ok(kind),
                _ => Err(self.error(attribute.span, "this is not a pointer to handles")),
            },
            _ => Err(self.error(attribute.span, "this is not a pointer to handles")),
        }
    }

    fn answers(&self, query: Query) -> Result<Answers, Error> {
        let index = self.known_param(&query.query.clone().into())?;
        let mut cases = Vec::new();
        for case in &query.cases {
            let answer = match &case.properties {
                Some(inner) => Answer::Properties(self.reader.keys(inner)?),
                None => Answer::Handles(self.reader.kind(&case.kind)?),
            };
            cases.push((self.reader.key(&case.key)?, answer));
        }
        Ok(Answers {
            query: index,
            cases,
        })
    }
}

impl Said {
    /// The role that type and attributes add up to; `None` if something is missing.
    fn by_type(&mut self, ty: &Type) -> Option<Role> {
        let (mutable, to) = match ty {
            Type::Int { .. } | Type::Float(_) => return Some(Role::Scalar),
            Type::Handle(kind) => return Some(Role::Handle(*kind)),
            Type::Pointer { mutable, to } => (*mutable, &**to),
            Type::Struct(_) | Type::Void | Type::Function | Type::Nothing => return None,
        };
        if let Some(contents @ Contents::Strings { .. }) = self
            .contents
            .take_if(|c| matches!((c, to), (Contents::Strings { .. }, Type::Pointer { .. })))
        {
            return Some(Role::Input {
                len: None,
                contents,
            });
        }
        if matches!(to, Type::Pointer { .. }) {
            return None;
        }
        if mutable && !self.input {
            return match to {
                Type::Handle(_) => None,
                _ => Some(Role::Output {
                    len: self.len.take()?,
                    written: self.written.take(),
                    bulk: self.bulk,
                    answers: self.answers.take(),
                }),
            };
        }
        let (len, contents) = match (self.contents.take(), to) {
            (Some(contents), _) => (None, contents),
            (None, Type::Int { bytes: 1, .. }) if self.string => (None, Contents::String),
            (None, Type::Handle(kind)) => (Some(self.len.take()?), Contents::Handles(*kind)),
            (None, _) if self.bulk => (Some(self.len.take()?), Contents::Bulk),
            (None, _) => (Some(self.len.take()?), Contents::Plain),
        };
        Some(Role::Input { len, contents })
    }
}
