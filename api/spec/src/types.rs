//! C types by name, and what they are on x86-64.

use std::collections::HashMap;

use quote::ToTokens;

use crate::model::Type;

/// Types that a spec has declared so far.
#[derive(Debug, Default)]
pub(crate) struct Types {
    named: HashMap<String, Type>,
    /// Size and alignment of each structure.
    structs: Vec<(u64, u64)>,
    /// Offset and type of each of its fields, by name.
    fields: Vec<HashMap<String, (u64, Type)>>,
}

impl Types {
    /// Gives a type a name. Returns whether the name is new.
    pub(crate) fn declare(&mut self, name: &str, ty: Type) -> bool {
        builtin(name).is_none() && self.named.insert(name.to_owned(), ty).is_none()
    }

    /// Adds a structure of these fields, laid out as C does, and returns its index.
    pub(crate) fn add_struct(&mut self, fields: &[(String, Type)]) -> Option<usize> {
        let (mut size, mut align) = (0u64, 1u64);
        let mut by_name = HashMap::new();
        for (name, field) in fields {
            let (of_field, its_align) = self.size_align(field)?;
            let offset = size.next_multiple_of(its_align);
            by_name.insert(name.clone(), (offset, field.clone()));
            size = offset + of_field;
            align = align.max(its_align);
        }
        self.fields.push(by_name);
        self.structs.push((size.next_multiple_of(align), align));
        Some(self.structs.len() - 1)
    }

    /// Offset and type of a field of a structure.
    pub(crate) fn field(&self, structure: usize, name: &str) -> Option<&(u64, Type)> {
        self.fields.get(structure)?.get(name)
    }

    /// What the type with this name is.
    pub(crate) fn by_name(&self, name: &str) -> Option<Type> {
        builtin(name).or_else(|| self.named.get(name).cloned())
    }

    /// What `ty` is.
    pub(crate) fn resolve(&self, ty: &syn::Type) -> Option<Type> {
        match ty {
            syn::Type::Path(path) => {
                let last = path.path.segments.last()?;
                if last.ident == "Option" {
                    return Some(Type::Function);
                }
                self.by_name(&last.ident.to_string())
            }
            syn::Type::Ptr(pointer) => Some(Type::Pointer {
                mutable: pointer.mutability.is_some(),
                to: Box::new(self.resolve(&pointer.elem)?),
            }),
            syn::Type::BareFn(_) => Some(Type::Function),
            _ => None,
        }
    }

    /// Bytes and alignment of a value of this type.
    pub(crate) fn size_align(&self, ty: &Type) -> Option<(u64, u64)> {
        let same = |n: u64| Some((n, n));
        match ty {
            Type::Int { bytes, .. } => same(u64::from(*bytes)),
            Type::Float(bytes) => same(u64::from(*bytes)),
            Type::Handle(_) | Type::Pointer { .. } | Type::Function => same(8),
            Type::Struct(index) => self.structs.get(*index).copied(),
            Type::Void | Type::Nothing => None,
        }
    }
}

fn builtin(name: &str) -> Option<Type> {
    let int = |bytes, signed| Type::Int { bytes, signed };
    Some(match name {
        "i8" | "c_char" => int(1, true),
        "u8" | "c_uchar" | "bool" => int(1, false),
        "i16" => int(2, true),
        "u16" => int(2, false),
        "i32" | "c_int" => int(4, true),
        "u32" | "c_uint" => int(4, false),
        "i64" | "isize" => int(8, true),
        "u64" | "usize" => int(8, false),
        "f32" => Type::Float(4),
        "f64" => Type::Float(8),
        "c_void" => Type::Void,
        _ => return None,
    })
}

/// The text of a type, for comparing and for messages.
pub(crate) fn text(ty: &syn::Type) -> String {
    let spaced = ty.to_token_stream().to_string();
    spaced
        .replace("* const ", "*const ")
        .replace("* mut ", "*mut ")
}
