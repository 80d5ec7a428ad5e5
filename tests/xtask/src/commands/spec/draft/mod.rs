//! `cargo xtask spec draft`: a first spec from a C header.
//!
//! Types and directions are the header's; lengths, handles and what makes and frees them are guessed from
//! names and neighbours. What nothing tells is left open, with a comment that begins with `not guessed`:
//! `cargo xtask spec check` refuses it there, so a draft cannot be mistaken for a spec.

mod guess;
mod header;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use self::guess::{Guesser, Said, identifier};
use self::header::{Function, Header, Type};

/// Arguments of `cargo xtask spec draft`.
#[derive(clap::Args)]
pub struct Args {
    /// The header, as a program would include it: with what it includes in its place.
    header: PathBuf,
    /// Where the draft goes [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The API's name [default: the header's]
    #[arg(long)]
    name: Option<String>,
    /// The library's file name, as `objdump -p` shows it [default: lib and the name, without a version]
    #[arg(long, value_name = "SONAME")]
    library: Option<String>,
    /// Options of the C preprocessor, such as -DNAME=1
    #[arg(last = true, value_name = "OPTION")]
    options: Vec<String>,
}

/// A draft, and how much of it was guessed.
struct Draft {
    text: String,
    functions: usize,
    /// Functions of which a spec cannot say what they take.
    beyond: usize,
    /// Parameters about which something has to be said, and those about which something is.
    to_say: usize,
    said: usize,
}

/// Writes the draft, and how far it goes to standard error.
///
/// # Errors
/// When the header cannot be read, or there is nothing in it.
pub fn main(args: &Args, id: u32) -> Result<()> {
    let header = Header::read(&args.header, &args.options)?;
    if header.functions.is_empty() {
        let file = args.header.display();
        bail!("{file} declares no function (those of the files that it includes are not its own)");
    }
    let name = match &args.name {
        Some(name) => name.clone(),
        None => {
            let stem = args.header.file_stem().context("a header has a name")?;
            stem.to_string_lossy().into_owned()
        }
    };
    let library = args.library.clone();
    let library = library.unwrap_or_else(|| format!("lib{}.so", name.trim_start_matches("lib")));
    let draft = draft(&header, &name, &library, id)?;
    match &args.output {
        Some(file) => {
            let mut to = std::fs::File::create_new(file)
                .with_context(|| format!("creating {}, which must be new", file.display()))?;
            to.write_all(draft.text.as_bytes())?;
        }
        None => print!("{}", draft.text),
    }
    eprintln!(
        "{}: {} functions, {} of them beyond a spec; {} of the {} parameters that need words have guessed \
         ones. Next: cargo xtask spec check",
        args.header.display(),
        draft.functions,
        draft.beyond,
        draft.said,
        draft.to_say,
    );
    Ok(())
}

fn draft(header: &Header, name: &str, library: &str, id: u32) -> Result<Draft> {
    let guesser = Guesser { header };
    let mut draft = Draft {
        text: String::new(),
        functions: header.functions.len(),
        beyond: 0,
        to_say: 0,
        said: 0,
    };
    let mut writer = Writer {
        guesser: &guesser,
        declared: BTreeSet::new(),
        declarations: String::new(),
    };
    let mut functions = String::new();
    for function in &header.functions {
        writer.function(function, &mut functions, &mut draft);
    }
    let constants = constants(header);
    let _ = write!(
        draft.text,
        "//! {name}, drafted from its header. Not yet a spec: what is marked `not guessed` has to be said,\n\
         //! and what is guessed, checked against the library's documentation.\n\n\
         #![api(name = \"{name}\", id = {id}, library = \"{library}\")]\n{}\n\
         use core::ffi::{{c_char, c_int, c_uchar, c_uint, c_void}};\n\n{constants}\n{}\n\
         unsafe extern \"C\" {{\n{functions}}}\n",
        errors(header),
        writer.declarations,
    );
    draft.text = laid_out(&draft.text)?;
    Ok(draft)
}

/// The API's errors for what only Weir can find wrong, by the names of constants.
fn errors(header: &Header) -> String {
    let find = |parts: &[&[&str]]| {
        parts.iter().find_map(|part| {
            let all = |(name, _): &&(String, String)| {
                let words = guess::words(name);
                part.iter()
                    .all(|word| words.iter().any(|other| other.starts_with(word)))
            };
            header
                .constants
                .iter()
                .find(all)
                .map(|(name, _)| name.clone())
        })
    };
    let malformed = find(&[
        &["invalid", "value"],
        &["invalid", "arg"],
        &["bad", "data"],
        &["stream", "error"],
        &["invalid"],
        &["bad"],
    ]);
    let lost = find(&[
        &["not", "available"],
        &["lost"],
        &["unavailable"],
        &["no", "device"],
    ]);
    let quota = find(&[
        &["mem", "alloc"],
        &["out", "mem"],
        &["no", "mem"],
        &["mem", "error"],
    ]);
    let unsupported = find(&[
        &["unsupported"],
        &["not", "supported"],
        &["invalid", "operation"],
    ]);
    let Some(malformed) = malformed else {
        return "// not guessed: #![errors(lost = …, malformed = …, quota = …, unsupported = …)]\n"
            .into();
    };
    let or = |found: Option<String>| found.unwrap_or_else(|| malformed.clone());
    format!(
        "#![errors(\n    lost = {},\n    malformed = {malformed},\n    quota = {},\n    unsupported = {}\n)]\n",
        or(lost),
        or(quota),
        or(unsupported)
    )
}

fn constants(header: &Header) -> String {
    let mut text = String::new();
    for (name, value) in &header.constants {
        let is_wide = value.parse::<i32>().is_err() && !value.contains("<<");
        let ty = if is_wide { "i64" } else { "i32" };
        let _ = writeln!(text, "const {name}: {ty} = {value};");
    }
    text
}

/// Writes functions, and the types that they need.
struct Writer<'a> {
    guesser: &'a Guesser<'a>,
    declared: BTreeSet<String>,
    declarations: String,
}

impl Writer<'_> {
    fn function(&mut self, function: &Function, to: &mut String, draft: &mut Draft) {
        if let Some(why) = self.guesser.beyond(function) {
            draft.beyond += 1;
            let _ = writeln!(
                to,
                "// not guessed: {}, as something of it {why}\n",
                function.name
            );
            return;
        }
        let attributes = self.guesser.function(function);
        match attributes.as_slice() {
            [] => {}
            [one] => _ = writeln!(to, "#[{one}]"),
            all => _ = writeln!(to, "#[call({})]", all.join(", ")),
        }
        let _ = writeln!(to, "fn {}(", function.name);
        let said = self.guesser.params(function);
        for (param, said) in function.params.iter().zip(said) {
            let name = identifier(&param.name);
            let ty = self.ty(&param.ty);
            match said {
                Said::Nothing => {}
                Said::Attributes(attributes) => {
                    draft.to_say += 1;
                    draft.said += 1;
                    match attributes.as_slice() {
                        [one] => _ = writeln!(to, "#[{one}]"),
                        all => _ = writeln!(to, "#[arg({})]", all.join(", ")),
                    }
                }
                Said::Unknown(what) => {
                    draft.to_say += 1;
                    let _ = writeln!(to, "// not guessed: {what}");
                }
            }
            let _ = writeln!(to, "{name}: {ty},");
        }
        match self.ty(&function.returns).as_str() {
            "c_void" => to.push_str(");\n\n"),
            ty => _ = writeln!(to, ") -> {ty};\n"),
        }
    }

    /// `ty` in Rust's words; what it needs is declared.
    fn ty(&mut self, ty: &Type) -> String {
        if let Some(handle) = self.guesser.handle(ty) {
            self.handle(&handle);
            return handle;
        }
        match ty {
            Type::Void | Type::Other(_) => "c_void".into(),
            Type::Number(name) => (*name).into(),
            Type::Function => "Option<unsafe extern \"C\" fn()>".into(),
            Type::Pointer { to, constant } => {
                let to = self.ty(to);
                match constant {
                    true => format!("*const {to}"),
                    false => format!("*mut {to}"),
                }
            }
            Type::Named(name) => match self.guesser.header.types.get(name) {
                Some(Type::Void) | None => "c_void".into(),
                Some(Type::Function) => self.ty(&Type::Function),
                Some(Type::Struct(tag)) => self.structure(tag, name),
                Some(target) => {
                    let target = target.clone();
                    if self.declared.insert(name.clone()) {
                        let text = self.ty(&target);
                        let _ = writeln!(self.declarations, "type {name} = {text};");
                    }
                    name.clone()
                }
            },
            Type::Struct(tag) => self.structure(tag, tag),
        }
    }

    fn handle(&mut self, name: &str) {
        if !self.declared.insert(name.into()) {
            return;
        }
        let text = match invalid(self.guesser.header, name) {
            Some(error) => format!("#[handle({error})]"),
            None => format!("// not guessed: the error for what is no {name}\n#[handle]"),
        };
        let _ = writeln!(self.declarations, "{text}\ntype {name} = *mut c_void;");
    }

    fn structure(&mut self, tag: &str, name: &str) -> String {
        let Some(fields) = self.guesser.header.structs.get(tag) else {
            return "c_void".into();
        };
        if self.declared.insert(name.into()) {
            let mut text = format!("#[repr(C)]\nstruct {name} {{\n");
            for field in fields {
                let ty = match &field.ty {
                    Type::Pointer { .. } if self.guesser.handle(&field.ty).is_none() => {
                        "*mut c_void".into()
                    }
                    ty => self.ty(ty),
                };
                let _ = writeln!(text, "{}: {ty},", identifier(&field.name));
            }
            self.declarations += &(text + "}\n");
        }
        name.into()
    }
}

/// The API's error for what is no handle of the kind `name`, by the names of constants.
fn invalid(header: &Header, name: &str) -> Option<String> {
    let kind = guess::words(name);
    let score = |constant: &str| {
        let words = guess::words(constant);
        let wrong = words
            .iter()
            .any(|word| ["invalid", "bad", "err", "error"].contains(&word.as_str()));
        let common = kind.iter().filter(|word| words.contains(word)).count();
        // The shorter of two with the same words in common says less else.
        wrong.then_some((common, std::cmp::Reverse(words.len())))
    };
    let scored = header
        .constants
        .iter()
        .filter_map(|(name, _)| Some((score(name)?, name)));
    scored
        .rev()
        .max_by_key(|(score, _)| *score)
        .map(|(_, name)| name.clone())
}

/// `text` as rustfmt lays it out.
fn laid_out(text: &str) -> Result<String> {
    let mut rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024", "--emit", "stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting rustfmt (`rustup component add rustfmt`)")?;
    let mut input = rustfmt.stdin.take().context("rustfmt has an input")?;
    // It reads all before it writes.
    input.write_all(text.as_bytes())?;
    drop(input);
    let output = rustfmt.wait_with_output()?;
    if !output.status.success() {
        bail!("rustfmt does not take the draft:\n{text}");
    }
    Ok(String::from_utf8(output.stdout)?)
}
