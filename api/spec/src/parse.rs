//! A spec file, read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proc_macro2::Span;
use syn::parse::Parse;
use syn::spanned::Spanned;

use crate::attribute::{Attribute, Case, Setting};
use crate::expression::{Definition, Expression};
use crate::model::*;
use crate::prototype::{Declared, Names};
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
        reader.finish_extensions()?;
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

/// A spec that is being read.
pub(crate) struct Reader<'a> {
    file: &'a Path,
    pub(crate) spec: Spec,
    pub(crate) types: Types,
    pub(crate) constants: HashMap<String, i128>,
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
            interposed: false,
            event: None,
            errors,
            kinds: Vec::new(),
            aliases: Vec::new(),
            structs: Vec::new(),
            constants: Vec::new(),
            definitions: Vec::new(),
            extensions: Vec::new(),
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

    pub(crate) fn error(&self, span: Span, message: impl AsRef<str>) -> Error {
        at(self.file, span, message.as_ref())
    }

    pub(crate) fn syn(&self, error: syn::Error) -> Error {
        at(self.file, error.span(), &error.to_string())
    }

    pub(crate) fn attributes(
        &self,
        attributes: &[syn::Attribute],
    ) -> Result<Vec<Attribute>, Error> {
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
                ("interposed", syn::Lit::Bool(is)) => self.spec.interposed = is.value,
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
            if attribute.name == "extensions" {
                let names = attribute.arguments::<syn::LitStr>();
                let names = names.map_err(|e| self.syn(e))?;
                self.spec.extensions = names.iter().map(syn::LitStr::value).collect();
                continue;
            }
            let settings = attribute.arguments::<Setting>().map_err(|e| self.syn(e))?;
            for setting in settings {
                let key = setting.key.to_string();
                let unknown = self.error(setting.key.span(), "there is no such setting");
                match attribute.name.as_str() {
                    "api" if key == "event" => {
                        let path = path_of(&setting.value).ok_or(unknown)?;
                        self.spec.event = Some(self.kind(path)?);
                    }
                    "api" if ["name", "id", "library", "interposed"].contains(&key.as_str()) => {}
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

    /// Adds the extensions that have functions to those that are said to have none.
    fn finish_extensions(&mut self) -> Result<(), Error> {
        let is_carried = |f: &Function| !matches!(f.carried, Carried::Unsupported(_));
        let mut with_functions = BTreeMap::new();
        for function in &self.spec.functions {
            if let Some(extension) = &function.extension {
                *with_functions.entry(extension.name.clone()).or_insert(true) &=
                    is_carried(function);
            }
        }
        let mut all = BTreeSet::new();
        for name in &self.spec.extensions {
            let message = match (with_functions.contains_key(name), all.insert(name.clone())) {
                (true, _) => format!("`{name}` has functions, which say so: leave it out"),
                (_, false) => format!("`{name}` is named twice"),
                _ => continue,
            };
            return Err(self.error(Span::call_site(), message));
        }
        all.extend(
            with_functions
                .into_iter()
                .filter_map(|(name, all)| all.then_some(name)),
        );
        self.spec.extensions = all.into_iter().collect();
        Ok(())
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
            syn::Item::Fn(function) => self.definition(function),
            syn::Item::ForeignMod(_) | syn::Item::Use(_) => Ok(()),
            other => Err(self.error(
                other.span(),
                "a spec holds types, structures, constants, `const fn`s and `unsafe extern \"C\"` functions",
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
        let mut fields = Vec::new();
        for field in &item.fields {
            let Some(name) = &field.ident else {
                return Err(self.error(field.span(), "a field needs a name"));
            };
            fields.push((name.to_string(), self.resolve(&field.ty)?));
        }
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
            fields: fields
                .into_iter()
                .map(|(name, ty)| StructField {
                    offset: self.types.field(index, &name).map_or(0, |(at, _)| *at),
                    name,
                    ty,
                })
                .collect(),
        });
        Ok(())
    }

    /// `const fn name(a: T) -> T { … }`.
    fn definition(&mut self, function: &syn::ItemFn) -> Result<(), Error> {
        let signature = &function.sig;
        if signature.constness.is_none() {
            return Err(self.error(signature.span(), "a function that lengths use is `const`"));
        }
        let params = self.declared(signature)?;
        let names = Names {
            reader: self,
            params: &params,
            defines: true,
        };
        for param in &params {
            names.integer(&param.ty)?;
        }
        match &signature.output {
            syn::ReturnType::Type(_, ty) => names.integer(ty)?,
            syn::ReturnType::Default => {
                return Err(self.error(signature.span(), "it gives no value"));
            }
        };
        let body = crate::expression::block(&function.block, &names)?;
        let name = signature.ident.to_string();
        if self.spec.definitions.iter().any(|d| d.name == name) {
            let message = format!("`{name}` is declared twice");
            return Err(self.error(signature.ident.span(), message));
        }
        self.spec.definitions.push(Arc::new(Definition {
            name,
            arguments: params.len(),
            body,
        }));
        Ok(())
    }

    pub(crate) fn resolve(&self, ty: &syn::Type) -> Result<Type, Error> {
        let message = || format!("the type `{}` is not declared", text(ty));
        self.types
            .resolve(ty)
            .ok_or_else(|| self.error(ty.span(), message()))
    }

    pub(crate) fn argument<T: Parse>(&self, attribute: &Attribute) -> Result<T, Error> {
        attribute.argument().map_err(|e| self.syn(e))
    }

    pub(crate) fn unknown_attribute(&self, attribute: &Attribute) -> Error {
        let message = format!("there is no attribute #[{}] here", attribute.name);
        self.error(attribute.span, message)
    }

    pub(crate) fn kind(&self, path: &syn::Path) -> Result<usize, Error> {
        let name = path_text(path);
        match self.types.by_name(&name) {
            Some(Type::Handle(kind)) => Ok(kind),
            _ => Err(self.error(path.span(), format!("`{name}` is not a type of handles"))),
        }
    }

    /// The value of a constant expression.
    pub(crate) fn number(&self, expr: &syn::Expr) -> Result<i128, Error> {
        let names = Names {
            reader: self,
            params: &[],
            defines: false,
        };
        Expression::new(expr, &names)?
            .evaluate(&mut |_| None)
            .ok_or_else(|| self.error(expr.span(), "this has no value"))
    }

    /// Constant keys and the kinds of handle that go with them.
    pub(crate) fn keys<'c>(
        &self,
        cases: impl IntoIterator<Item = &'c Case>,
    ) -> Result<Vec<(u64, usize)>, Error> {
        cases
            .into_iter()
            .map(|case| Ok((self.key(&case.key)?, self.kind(&case.kind)?)))
            .collect()
    }

    pub(crate) fn key(&self, path: &syn::Path) -> Result<u64, Error> {
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
            defines: false,
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

pub(crate) fn path_of(expr: &syn::Expr) -> Option<&syn::Path> {
    match expr {
        syn::Expr::Path(path) => Some(&path.path),
        _ => None,
    }
}

pub(crate) fn path_text(path: &syn::Path) -> String {
    let segments = path.segments.iter().map(|s| s.ident.to_string());
    segments.collect::<Vec<_>>().join("::")
}
