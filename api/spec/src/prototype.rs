//! One prototype: its attributes and parameters, put together.

use std::sync::Arc;

use proc_macro2::Span;
use syn::spanned::Spanned;

use crate::attribute::{Attribute, Case, Named, Query, Setting};
use crate::expression::{Definition, Expression, Field, Leaf, Operator};
use crate::model::*;
use crate::parse::{Error, Reader, path_of, path_text};

/// A parameter as it is declared.
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) span: Span,
    pub(crate) ty: syn::Type,
    pub(crate) resolved: Type,
    pub(crate) attributes: Vec<syn::Attribute>,
}

/// What names mean inside of one prototype.
pub(crate) struct Names<'a> {
    pub(crate) reader: &'a Reader<'a>,
    pub(crate) params: &'a [Declared],
    /// Whether it is a `const fn`'s.
    pub(crate) defines: bool,
}

/// What the attributes of a parameter say, before they are put together.
#[derive(Default)]
struct Said {
    len: Option<Expression>,
    optional: bool,
    invalid: Option<i64>,
    extra: bool,
    bulk: bool,
    input: bool,
    written: Option<Expression>,
    answers: Option<Answers>,
    role: Option<Role>,
    string: bool,
    folders: bool,
    includes: bool,
    shape: Option<Shaped>,
    passed_as: Option<Expression>,
    lent: Option<Expression>,
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
            Some(index) if self.defines => Ok(Expression::Leaf(Leaf::Argument(index))),
            Some(index) => match self.params[index].resolved {
                Type::Int { .. } => Ok(Expression::Leaf(Leaf::Param(index))),
                _ => Err(self.error(path.span(), format!("`{name}` is not an integer"))),
            },
            None if name == "returned" => Ok(Expression::Leaf(Leaf::Returned)),
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

    /// The handle or list of handles that this names.
    pub(crate) fn handles(&self, expr: &syn::Expr) -> Result<usize, Error> {
        let unknown = || self.error(expr.span(), "this is not a parameter with handles");
        let index = self.known_param(path_of(expr).ok_or_else(unknown)?)?;
        match &self.params[index].resolved {
            Type::Handle(_) => Ok(index),
            Type::Pointer { mutable: false, to } if matches!(**to, Type::Handle(_)) => Ok(index),
            _ => Err(unknown()),
        }
    }

    /// The parameter that `expr` names, which is a pointer.
    pub(crate) fn pointed(&self, expr: &syn::Expr) -> Result<usize, Error> {
        let unknown = || self.error(expr.span(), "this is not a parameter that is a pointer");
        let index = self.known_param(path_of(expr).ok_or_else(unknown)?)?;
        match &self.params[index].resolved {
            Type::Pointer { .. } => Ok(index),
            _ => Err(unknown()),
        }
    }

    /// Whether this parameter is a handle.
    pub(crate) fn is_handle(&self, index: usize) -> bool {
        matches!(self.params[index].resolved, Type::Handle(_))
    }

    /// The `const fn` of this name.
    pub(crate) fn definition(&self, path: &syn::Path) -> Option<Arc<Definition>> {
        let definitions = &self.reader.spec.definitions;
        let found = definitions.iter().find(|d| path.is_ident(&d.name));
        found.cloned()
    }

    /// A field of an input structure, and whether it is a handle or pointer rather than a number:
    /// `param.field` or `(param as *const structure).field`.
    pub(crate) fn field(&self, expr: &syn::ExprField) -> Result<(Field, bool), Error> {
        let unknown = || self.error(expr.base.span(), "this is not an input structure");
        let (path, ty) = match &*expr.base {
            syn::Expr::Path(path) => (&path.path, None),
            syn::Expr::Paren(inner) => match &*inner.expr {
                syn::Expr::Cast(cast) => (
                    path_of(&cast.expr).ok_or_else(unknown)?,
                    Some(self.reader.resolve(&cast.ty)?),
                ),
                _ => return Err(unknown()),
            },
            _ => return Err(unknown()),
        };
        let param = self.known_param(path)?;
        let own = &self.params[param].resolved;
        let read = |ty: &Type| match ty {
            Type::Pointer { mutable: false, to } => Some((**to).clone()),
            _ => None,
        };
        let structure = match (read(own), ty.as_ref().and_then(read)) {
            (Some(Type::Struct(index)), None) => index,
            (Some(Type::Void), Some(Type::Struct(index))) => index,
            _ => return Err(unknown()),
        };
        let syn::Member::Named(name) = &expr.member else {
            return Err(unknown());
        };
        let found = self.reader.types.field(structure, &name.to_string());
        let message = || format!("there is no field `{name}`");
        let (offset, ty) = found.ok_or_else(|| self.error(name.span(), message()))?;
        let (bytes, signed, is_pointer) = match ty {
            Type::Int { bytes, signed } => (*bytes, *signed, false),
            Type::Handle(_) | Type::Pointer { .. } => (8, false, true),
            _ => return Err(self.error(name.span(), "this field is not an integer")),
        };
        let field = Field {
            param,
            offset: *offset,
            bytes,
            signed,
        };
        Ok((field, is_pointer))
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
        let unknown = || {
            let what = "the only functions are size_of::<T>() and the spec's own `const fn`s";
            self.error(path.span(), what)
        };
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

    /// What its attributes and parameters add up to.
    pub(crate) fn function(
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
            extension: None,
            exported: false,
            new: None,
            failure: Failure::Nowhere,
            queued: Condition::Never,
            repeats: Condition::Never,
            sets: None,
            submits: false,
            blocks: Condition::Never,
            holds: None,
            too_large: None,
            keeps: None,
            cached: Condition::Never,
            split: None,
            device_time: false,
            folds: None,
            retains: None,
            releases: None,
            done: None,
            words: 0,
        };
        let mut fallback = None;
        for attribute in attributes {
            match attribute.name.as_str() {
                "fails" => fallback = Some(self.fallback(attribute)?),
                _ => self.function_attribute(attribute, &mut function)?,
            }
        }
        let is_command = matches!(function.carried, Carried::Command { .. });
        for declared in self.params {
            function.params.push(self.role(declared, is_command)?);
        }
        let error = function
            .params
            .iter()
            .position(|p| matches!(p.role, Role::Error));
        let beside = |fallback| Failure::Beside { word: 0, fallback };
        function.failure = match (error, fallback, &function.return_type) {
            (Some(index), _, _) => Failure::Out(index),
            (None, Some(fallback), _) => beside(fallback),
            (
                None,
                None,
                Type::Int {
                    bytes: 4,
                    signed: true,
                },
            ) => Failure::Return,
            // What makes an object and fails returns null.
            (None, None, Type::Handle(_)) => beside(Fallback::Value(0)),
            _ => Failure::Nowhere,
        };
        Ok(function)
    }

    /// `#[fails(VALUE)]` or `#[fails(abort)]`.
    fn fallback(&self, attribute: &Attribute) -> Result<Fallback, Error> {
        let value: syn::Expr = self.reader.argument(attribute)?;
        match path_of(&value).is_some_and(|path| path.is_ident("abort")) {
            true => Ok(Fallback::Abort),
            false => Ok(Fallback::Value(self.reader.number(&value)?)),
        }
    }

    /// `#[folds(value)]`: the bytes are those of the input whose length is one parameter.
    fn fold(&self, attribute: &Attribute) -> Result<Fold, Error> {
        let value = self.known_param(&self.reader.argument(attribute)?)?;
        for (bytes, declared) in self.params.iter().enumerate() {
            if !matches!(declared.resolved, Type::Pointer { mutable: false, .. }) {
                continue;
            }
            for attribute in self.reader.attributes(&declared.attributes)? {
                if attribute.name != "len" {
                    continue;
                }
                if let Expression::Leaf(Leaf::Param(len)) = self.expression(&attribute)? {
                    return Ok(Fold { value, bytes, len });
                }
            }
        }
        let message = "there is no input whose length is a parameter";
        Err(self.error(attribute.span, message))
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
            "at_end" => function.carried = self.at_end(attribute)?,
            "ignored" if self.plain(attribute)? => function.carried = Carried::Ignored,
            "finds" => {
                let name = self.known_param(&self.reader.argument(attribute)?)?;
                function.carried = Carried::Finds(name);
            }
            "exported" => function.exported = self.plain(attribute)?,
            "extension" => {
                let Named { name, alias } = self.reader.argument(attribute)?;
                function.extension = Some(Extension { name, alias });
            }
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
            "repeats" => function.repeats = self.condition(attribute)?,
            "sets" => {
                let names = attribute.arguments::<syn::Path>();
                let names = names.map_err(|e| self.reader.syn(e))?;
                let [object, part] = &names[..] else {
                    return Err(self.error(attribute.span, "say #[sets(object, part)]"));
                };
                function.sets = Some((self.handle_param(object)?, self.known_param(part)?));
            }
            "blocks" => function.blocks = self.condition(attribute)?,
            "holds" => {
                let arguments = attribute.arguments::<syn::Expr>();
                let arguments = arguments.map_err(|e| self.reader.syn(e))?;
                function.holds = Some(Expression::new(&arguments[0], self)?);
                function.too_large = match arguments.get(1) {
                    None => None,
                    Some(syn::Expr::Assign(set))
                        if path_of(&set.left).is_some_and(|name| name.is_ident("too_large")) =>
                    {
                        Some(self.reader.number(&set.right)? as i64)
                    }
                    Some(other) => {
                        return Err(self.error(other.span(), "say `too_large = …`"));
                    }
                };
            }
            "keeps" => function.keeps = Some(self.expression(attribute)?),
            "folds" => function.folds = Some(self.fold(attribute)?),
            "split" => function.split = Some(self.split(attribute)?),
            "cached" => function.cached = self.condition(attribute)?,
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

    /// `#[at_end(object, function, data)]`.
    fn at_end(&self, attribute: &Attribute) -> Result<Carried, Error> {
        let names = attribute.arguments::<syn::Path>();
        let names = names.map_err(|e| self.reader.syn(e))?;
        let say = |span| self.error(span, "say #[at_end(object, function, data)]");
        let [object, function, data] = &names[..] else {
            return Err(say(attribute.span));
        };
        let of_type = |path: &syn::Path, fits: fn(&Type) -> bool| {
            let index = self.known_param(path)?;
            match fits(&self.params[index].resolved) {
                true => Ok(index),
                false => Err(say(path.span())),
            }
        };
        Ok(Carried::AtEnd {
            object: self.handle_param(object)?,
            function: of_type(function, |ty| *ty == Type::Function)?,
            data: of_type(data, |ty| matches!(ty, Type::Pointer { mutable: true, .. }))?,
        })
    }

    fn new_object(&self, attribute: &Attribute, kind: usize) -> Result<New, Error> {
        let (mut parent, mut first) = (None, None);
        if attribute.has_arguments() {
            let setting: Setting = self.reader.argument(attribute)?;
            let say = |span| {
                let message = "say #[new(parent = …)] or #[new(parent = structure.handle | …)]";
                Err(self.error(span, message))
            };
            let path = match &setting.value {
                _ if setting.key != "parent" => return say(setting.key.span()),
                syn::Expr::Binary(either) if matches!(either.op, syn::BinOp::BitOr(_)) => {
                    let syn::Expr::Field(field) = &*either.left else {
                        return say(either.left.span());
                    };
                    let (found, is_pointer) = self.field(field)?;
                    if !is_pointer {
                        return Err(self.error(field.span(), "this field is not a handle"));
                    }
                    first = Some((found.param, found.offset));
                    path_of(&either.right)
                }
                value => path_of(value),
            };
            match path {
                Some(path) => parent = Some(self.handle_param(path)?),
                None => return say(setting.value.span()),
            }
        }
        Ok(New {
            kind,
            parent,
            first,
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
        // Several objects, if there is a length.
        if let (Some(Role::New(new)), Some(_)) = (&said.role, &said.len)
            && let Some(len) = said.len.take()
        {
            said.role = Some(Role::NewList { new: *new, len });
        }
        let role = match is_command {
            true => said
                .role
                .take()
                .or_else(|| said.by_type(&declared.resolved, &self.reader.spec.structs)),
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
            invalid: said.invalid,
            extra: said.extra,
            shape: said.shape,
            passed_as: said.passed_as,
            lent: said.lent,
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
            "invalid" => {
                let error = self.reader.number(&self.reader.argument(attribute)?)?;
                said.invalid = Some(error as i64);
            }
            "input" => said.input = self.plain(attribute)?,
            "extra" => said.extra = self.plain(attribute)?,
            "bulk" => said.bulk = self.plain(attribute)?,
            "string" => said.string = self.plain(attribute)?,
            "folders" => said.folders = self.plain(attribute)?,
            "includes" => said.includes = self.plain(attribute)?,
            "shaped" => {
                let shape = self.shaped(attribute)?;
                let [row, rows, slices] = shape.extent.clone();
                let plane = Expression::Binary(Operator::Multiply, row.into(), rows.into());
                let all = Expression::Binary(Operator::Multiply, plane.into(), slices.into());
                said.len = Some(all);
                said.bulk = true;
                said.shape = Some(shape);
            }
            "passed_as" => said.passed_as = Some(self.expression(attribute)?),
            "lent" => said.lent = Some(self.expression(attribute)?),
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
                let arguments = attribute.arguments::<syn::Expr>();
                let arguments = arguments.map_err(|e| self.reader.syn(e))?;
                let kinds = arguments[1..].iter().map(|kind| {
                    let unknown = || self.error(kind.span(), "this is not a type of handles");
                    self.reader.kind(path_of(kind).ok_or_else(unknown)?)
                });
                said.role = Some(Role::HandleOrBytes {
                    kinds: kinds.collect::<Result<_, _>>()?,
                    len: Expression::new(&arguments[0], self)?,
                });
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
                    include: false,
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

    fn split(&self, attribute: &Attribute) -> Result<Split, Error> {
        let say = || self.error(attribute.span, "say #[split(offset, length, blocking)]");
        let paths = attribute.arguments::<syn::Path>();
        let paths = paths.map_err(|e| self.reader.syn(e))?;
        let [offset, len, blocking] = &paths[..] else {
            return Err(say());
        };
        let integer = |path: &syn::Path| {
            let index = self.known_param(path)?;
            match self.params[index].resolved {
                Type::Int { .. } => Ok(index),
                _ => Err(self.error(path.span(), "this is not an integer")),
            }
        };
        Ok(Split {
            offset: integer(offset)?,
            len: integer(len)?,
            blocking: integer(blocking)?,
        })
    }

    /// `row, rows, slices, row_pitch, slice_pitch`, then perhaps `origin` and `invalid = …`.
    fn shaped(&self, attribute: &Attribute) -> Result<Shaped, Error> {
        let arguments = attribute.arguments::<syn::Expr>();
        let mut arguments = arguments.map_err(|e| self.reader.syn(e))?;
        let mut invalid = self.reader.spec.errors.malformed;
        if let Some(syn::Expr::Assign(last)) = arguments.last() {
            match path_of(&last.left) {
                Some(name) if name.is_ident("invalid") => {
                    invalid = self.reader.number(&last.right)? as i64;
                }
                _ => return Err(self.error(last.span(), "say `invalid = …`")),
            }
            arguments.pop();
        }
        let origin = match arguments.len() {
            6 => arguments.pop(),
            _ => None,
        };
        let [row, rows, slices, row_pitch, slice_pitch] = &arguments[..] else {
            let message = "say #[shaped(row, rows, slices, row_pitch, slice_pitch)], and perhaps \
                           the origin";
            return Err(self.error(attribute.span, message));
        };
        let value = |expr: &syn::Expr| Expression::new(expr, self);
        let pitch = |expr: &syn::Expr| match value(expr)? {
            pitch @ (Expression::Number(0) | Expression::Leaf(Leaf::Param(_) | Leaf::Field(_))) => {
                Ok(pitch)
            }
            _ => Err(self.error(expr.span(), "a pitch is a parameter, a field or 0")),
        };
        let origin = match &origin {
            None => None,
            Some(expr) => {
                let path = path_of(expr);
                let path = path.ok_or_else(|| self.error(expr.span(), "this is not an array"))?;
                Some(self.input_array(path)?)
            }
        };
        Ok(Shaped {
            extent: [value(row)?, value(rows)?, value(slices)?],
            pitches: [pitch(row_pitch)?, pitch(slice_pitch)?],
            origin,
            invalid,
        })
    }

    fn answers(&self, query: Query) -> Result<Answers, Error> {
        let index = self.known_param(&query.query.clone().into())?;
        let mut cases = Vec::new();
        for case in &query.cases {
            let answer = match &case.properties {
                Some(inner) => Answer::Properties(self.reader.keys(inner)?),
                None if case.kind.is_ident("text") => Answer::Text,
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
    fn by_type(&mut self, ty: &Type, structs: &[Struct]) -> Option<Role> {
        let (mutable, to) = match ty {
            Type::Int { .. } | Type::Float(_) => return Some(Role::Scalar),
            Type::Handle(kind) => return Some(Role::Handle(*kind)),
            Type::Pointer { mutable, to } => (*mutable, &**to),
            Type::Struct(_) | Type::Void | Type::Function | Type::Nothing => return None,
        };
        if let Some(mut contents @ Contents::Strings { .. }) = self
            .contents
            .take_if(|c| matches!((c, to), (Contents::Strings { .. }, Type::Pointer { .. })))
        {
            if let Contents::Strings { include, .. } = &mut contents {
                *include = self.includes;
            }
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
            (None, Type::Int { bytes: 1, .. }) if self.string => match self.folders {
                true => (None, Contents::Options),
                false => (None, Contents::String),
            },
            (None, Type::Handle(kind)) => (Some(self.len.take()?), Contents::Handles(*kind)),
            (None, Type::Struct(index)) if !structs[*index].handles().is_empty() => {
                (Some(self.len.take()?), Contents::Records(*index))
            }
            (None, _) if self.bulk => (Some(self.len.take()?), Contents::Bulk),
            (None, _) => (Some(self.len.take()?), Contents::Plain),
        };
        Some(Role::Input { len, contents })
    }
}
