//! Lines of code, for measuring: those that hold anything but comments and blanks.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Counts the lines of Rust `text` that hold code. Documentation is a comment; what is there for tests
/// only (`#[cfg(test)]`) does not count.
///
/// # Errors
///
/// If it is not Rust.
pub fn of_code(text: &str) -> Result<usize, syn::Error> {
    let mut lines = BTreeSet::new();
    collect(text.parse::<TokenStream>()?, &mut lines);
    Ok(lines.len())
}

fn collect(tokens: TokenStream, lines: &mut BTreeSet<usize>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        if let Some((attribute, len)) = attribute(&tokens[index..]) {
            index += match attribute.as_str() {
                "doc" => len,
                "cfg(test)" => len + item(&tokens[index + len..]),
                _ => {
                    for token in &tokens[index..index + len] {
                        add(token, lines);
                    }
                    len
                }
            };
            continue;
        }
        add(token, lines);
        index += 1;
    }
}

/// The attribute that `tokens` begin with, as text (`doc` for any documentation), and how many tokens
/// it has.
fn attribute(tokens: &[TokenTree]) -> Option<(String, usize)> {
    let is = |token: Option<&TokenTree>, wanted| matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == wanted);
    if !is(tokens.first(), '#') {
        return None;
    }
    let len = if is(tokens.get(1), '!') { 3 } else { 2 };
    let Some(TokenTree::Group(group)) = tokens.get(len - 1) else {
        return None;
    };
    if group.delimiter() != Delimiter::Bracket {
        return None;
    }
    let text = group.stream().to_string().replace(' ', "");
    let name = match text.starts_with("doc=") {
        true => "doc".to_owned(),
        false => text,
    };
    Some((name, len))
}

/// How many tokens the item has that `tokens` begin with: up to its braces or semicolon.
fn item(tokens: &[TokenTree]) -> usize {
    let ends = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    };
    tokens
        .iter()
        .position(ends)
        .map_or(tokens.len(), |end| end + 1)
}

fn add(token: &TokenTree, lines: &mut BTreeSet<usize>) {
    match token {
        TokenTree::Group(group) => {
            lines.insert(group.span_open().start().line);
            lines.insert(group.span_close().end().line);
            collect(group.stream(), lines);
        }
        other => lines.extend(other.span().start().line..=other.span().end().line),
    }
}

#[cfg(test)]
mod tests {
    use super::of_code;

    #[test]
    fn comments_blanks_and_tests_do_not_count() {
        let text = "//! Doc.\n\n/// Doc.\n// comment\n#[arg(\n    a,\n)]\nfn f(\n    a: u32, // why\n) {\n    /* x\n     */\n    \"two\n    lines\";\n}\n\n#[cfg(test)]\nmod tests {\n    fn g() {}\n}\n#[cfg(test)]\nmod more;\nconst A: u32 = 1;\n";
        // #[arg( … )]: 3, fn … {: 3, the string: 2, }: 1, const: 1.
        assert_eq!(of_code(text).unwrap(), 10);
        assert!(of_code("fn (").is_err());
    }
}
