//! The attributes of a spec, as they are written.

use proc_macro2::Span;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Ident, Token};

/// One attribute: its name, where it stands and what is in its parentheses.
pub(crate) struct Attribute {
    pub(crate) name: String,
    pub(crate) span: Span,
    arguments: Option<proc_macro2::TokenStream>,
}

/// `KEY = kind` or `KEY = properties(KEY = kind, …)`.
pub(crate) struct Case {
    pub(crate) key: syn::Path,
    pub(crate) kind: syn::Path,
    pub(crate) properties: Option<Punctuated<Case, Token![,]>>,
}

impl Parse for Case {
    fn parse(input: ParseStream<'_>) -> syn::Result<Case> {
        let key = input.parse()?;
        input.parse::<Token![=]>()?;
        let kind: syn::Path = input.parse()?;
        let properties = if kind.is_ident("properties") {
            let inner;
            syn::parenthesized!(inner in input);
            Some(Punctuated::parse_terminated(&inner)?)
        } else {
            None
        };
        Ok(Case {
            key,
            kind,
            properties,
        })
    }
}

/// `query: KEY = kind, …`.
pub(crate) struct Query {
    pub(crate) query: Ident,
    pub(crate) cases: Punctuated<Case, Token![,]>,
}

impl Parse for Query {
    fn parse(input: ParseStream<'_>) -> syn::Result<Query> {
        let query = input.parse()?;
        input.parse::<Token![:]>()?;
        Ok(Query {
            query,
            cases: Punctuated::parse_terminated(input)?,
        })
    }
}

/// `key = value`, where the value is an expression.
pub(crate) struct Setting {
    pub(crate) key: Ident,
    pub(crate) value: syn::Expr,
}

impl Parse for Setting {
    fn parse(input: ParseStream<'_>) -> syn::Result<Setting> {
        let key = input.parse()?;
        input.parse::<Token![=]>()?;
        Ok(Setting {
            key,
            value: input.parse()?,
        })
    }
}

/// `"extension"` or `"extension", name`.
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) alias: Option<String>,
}

impl Parse for Named {
    fn parse(input: ParseStream<'_>) -> syn::Result<Named> {
        let name = input.parse::<syn::LitStr>()?.value();
        let alias = match input.parse::<Option<Token![,]>>()? {
            Some(_) => Some(input.parse::<Ident>()?.to_string()),
            None => None,
        };
        Ok(Named { name, alias })
    }
}

impl Attribute {
    /// All but documentation and the attributes of Rust itself. Several may share a bracket:
    /// `#[call(a, b(…))]` before a function and `#[arg(a, b(…))]` before a parameter.
    pub(crate) fn all(attributes: &[syn::Attribute]) -> syn::Result<Vec<Attribute>> {
        let ours = |a: &&syn::Attribute| {
            ["doc", "allow", "expect", "repr", "rustfmt"]
                .iter()
                .all(|rust| a.path().segments.first().is_none_or(|s| s.ident != rust))
        };
        let mut all = Vec::new();
        for attribute in attributes.iter().filter(ours) {
            if attribute.path().is_ident("call") || attribute.path().is_ident("arg") {
                let list = Punctuated::<syn::Meta, Token![,]>::parse_terminated;
                for meta in attribute.parse_args_with(list)? {
                    all.push(Attribute::new(&meta)?);
                }
            } else {
                all.push(Attribute::new(&attribute.meta)?);
            }
        }
        Ok(all)
    }

    fn new(meta: &syn::Meta) -> syn::Result<Attribute> {
        let span = meta.span();
        let name = meta.path().require_ident()?.to_string();
        let arguments = match meta {
            syn::Meta::Path(_) => None,
            syn::Meta::List(list) => Some(list.tokens.clone()),
            syn::Meta::NameValue(_) => {
                let message = format!("write #[{name}(…)]");
                return Err(syn::Error::new(span, message));
            }
        };
        Ok(Attribute {
            name,
            span,
            arguments,
        })
    }

    /// Whether it has parentheses.
    pub(crate) fn has_arguments(&self) -> bool {
        self.arguments.is_some()
    }

    /// It has no parentheses.
    pub(crate) fn plain(&self) -> syn::Result<()> {
        match self.arguments {
            None => Ok(()),
            Some(_) => Err(self.error("takes nothing in parentheses")),
        }
    }

    /// What is in its parentheses, as a `T`.
    pub(crate) fn argument<T: Parse>(&self) -> syn::Result<T> {
        match &self.arguments {
            Some(tokens) if !tokens.is_empty() => syn::parse2(tokens.clone()),
            _ => Err(self.error("needs something in parentheses")),
        }
    }

    /// What is in its parentheses, as a list.
    pub(crate) fn arguments<T: Parse>(&self) -> syn::Result<Vec<T>> {
        match &self.arguments {
            Some(tokens) if !tokens.is_empty() => {
                let list = syn::parse::Parser::parse2(
                    Punctuated::<T, Token![,]>::parse_terminated,
                    tokens.clone(),
                )?;
                Ok(list.into_iter().collect())
            }
            _ => Err(self.error("needs something in parentheses")),
        }
    }

    fn error(&self, what: &str) -> syn::Error {
        syn::Error::new(self.span, format!("#[{}] {what}", self.name))
    }
}
