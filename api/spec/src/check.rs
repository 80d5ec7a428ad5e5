//! Whether a function is fully described.

use crate::expression::{Expression, Field, Leaf};
use crate::model::{
    Answer, Answers, Carried, Condition, Contents, Failure, Function, Role, Spec, Type,
};

/// What a parameter of this type lacks if its attributes don't say how it travels.
pub(crate) fn lacks(spec: &Spec, ty: &Type) -> String {
    let Type::Pointer { mutable, to } = ty else {
        return match ty {
            Type::Function => {
                "is a function: say #[callback(after)], #[callback(never)] or \
                 #[callback(unsupported)]"
            }
            _ => "is a structure, which cannot be passed by value",
        }
        .to_owned();
    };
    match (mutable, &**to) {
        (_, Type::Pointer { .. }) => {
            "is a pointer to pointers: say #[strings(count)] or #[strings(count, lengths)]".into()
        }
        (true, Type::Handle(kind)) => format!(
            "is written with a {name}: say #[new(parent = …)] if the call makes it (and \
             #[len(…)] if it makes several), or #[found(count)] if it may be known already",
            name = spec.kinds[*kind].name
        ),
        (false, Type::Handle(_)) => "is an array of handles without a length: say #[len(…)]".into(),
        (true, _) => "is written and nothing says how much: say #[len(…)]".into(),
        (false, Type::Int { bytes: 1, .. }) => {
            "is read and nothing says how much: say #[string] or #[len(…)]".into()
        }
        (false, _) => "is read and nothing says how much: say #[len(…)]".into(),
    }
}

/// Checks that nothing is missing from `function` and that what is there fits together. The error
/// names the parameter, if it is about one.
pub(crate) fn check(spec: &Spec, function: &Function) -> Result<(), (Option<usize>, String)> {
    let by_hand = match function.carried {
        Carried::Local => true,
        Carried::Command { by_hand_guest, .. } => by_hand_guest,
        Carried::Unsupported(_) | Carried::AtEnd { .. } | Carried::Ignored | Carried::Finds(_) => {
            false
        }
    };
    if by_hand && spec.interposed {
        let what = "is written by hand, but the library of an interposed API is all generated";
        return Err((None, what.to_owned()));
    }
    if function.extension.is_some() && spec.interposed {
        let what = "is an extension's, but nothing looks those up for an interposed API";
        return Err((None, what.to_owned()));
    }
    if !matches!(function.carried, Carried::Command { .. }) {
        return Ok(());
    }
    let whole = |what: &str| Err((None, what.to_owned()));
    let goes_on = function.releases.is_some() || matches!(function.queued, Condition::Always);
    if function.failure == Failure::Nowhere && !(function.return_type == Type::Nothing && goes_on) {
        return whole(
            "has nowhere to put its error: it needs a parameter with #[error], or #[fails(…)] with \
             the value that it returns then, or #[fails(abort)]",
        );
    }
    if let (Type::Handle(kind), None) = (&function.return_type, function.new) {
        let kind = &spec.kinds[*kind].name;
        return whole(&format!("returns a {kind}: say #[new(parent = …)]"));
    }
    let makes = |function: &Function| {
        function.new.is_some()
            || function
                .params
                .iter()
                .any(|p| matches!(p.role, Role::New(_)))
    };
    if function.holds.is_some() && !makes(function) {
        return whole("says what its new object holds, but makes none");
    }
    if function.keeps.is_some() && !makes(function) {
        return whole("says what is kept with its new object, but makes none");
    }
    if let Some(keeps) = &function.keeps {
        check_leaves(function, keeps).map_err(|what| (None, what))?;
    }
    if let Some(holds) = &function.holds {
        check_holds(function, holds).map_err(|what| (None, what))?;
    }
    if let Condition::If(blocks) = &function.blocks {
        check_leaves(function, blocks).map_err(|what| (None, what))?;
    }
    if let Some(split) = function.split {
        let is_its_length = |len: &Expression| *len == Expression::Leaf(Leaf::Param(split.len));
        let bulk = function.params.iter().any(|param| match &param.role {
            Role::Input { len: Some(len), .. } if is_bulk_input(&param.role) => is_its_length(len),
            Role::Output { len, bulk, .. } => *bulk && is_its_length(len),
            _ => false,
        });
        if !bulk {
            return whole("is split by a length that no bulk data has");
        }
    }
    if function.device_time && spec.event.is_some() && !has_event(spec, function) {
        return whole("takes device time, but has no parameter #[new] for its event");
    }
    if !matches!(function.repeats, Condition::Never) {
        check_repeats(function)?;
    }
    if function.sets.is_some() && !matches!(function.repeats, Condition::Always) {
        return whole("sets a part of an object, which needs #[repeats]");
    }
    for (index, param) in function.params.iter().enumerate() {
        check_param(function, index).map_err(|what| (Some(index), what))?;
        let what = match &param.role {
            _ if param.passed_as.is_some() && !matches!(param.role, Role::Scalar) => {
                "is #[passed_as], which only an integer can be"
            }
            role if param.lent.is_some() && !(is_bulk_input(role) && makes(function)) => {
                "is #[lent], which only bulk input of a new object can be"
            }
            _ => "",
        };
        if !what.is_empty() {
            return Err((Some(index), what.to_owned()));
        }
        if let Some(passed) = &param.passed_as {
            check_leaves(function, passed).map_err(|what| (Some(index), what))?;
        }
        if param.extra
            && !matches!(
                function.carried,
                Carried::Command {
                    by_hand_guest: true,
                    ..
                }
            )
        {
            let what = "is #[extra], which needs #[by_hand(guest)]".to_owned();
            return Err((Some(index), what));
        }
    }
    Ok(())
}

fn is_bulk_input(role: &Role) -> bool {
    matches!(
        role,
        Role::Input {
            contents: Contents::Bulk,
            ..
        }
    )
}

/// Checks that it can be known whether calls of it are equal.
fn check_repeats(function: &Function) -> Result<(), (Option<usize>, String)> {
    for (index, param) in function.params.iter().enumerate() {
        if let Role::Input {
            contents: Contents::Strings { .. } | Contents::Properties(_),
            ..
        } = param.role
        {
            let what = "cannot be compared, and the function says #[repeats]".to_owned();
            return Err((Some(index), what));
        }
    }
    Ok(())
}

fn has_event(spec: &Spec, function: &Function) -> bool {
    function
        .params
        .iter()
        .any(|p| matches!(&p.role, Role::New(new) if Some(new.kind) == spec.event))
}

fn check_param(function: &Function, index: usize) -> Result<(), String> {
    let expressions: Vec<_> = match &function.params[index].role {
        Role::Input { len, contents } => {
            let count = match contents {
                Contents::Strings {
                    count,
                    lengths,
                    include,
                } => {
                    if *include && function.new.is_none() {
                        return Err("may include files, but no object is made of it".to_owned());
                    }
                    let described = |i: &usize| matches!(function.params[*i].role, Role::Lengths);
                    if !lengths.as_ref().is_none_or(described) {
                        return Err("has lengths that do not say #[lengths]".into());
                    }
                    Some(count)
                }
                _ => None,
            };
            len.iter().chain(count).collect()
        }
        Role::Output {
            len,
            written,
            bulk,
            answers,
        } => {
            let is_text = |answers: &Answers| {
                let mut answers = answers.cases.iter();
                answers.any(|(_, answer)| matches!(answer, Answer::Text))
            };
            let of_any_length = matches!(
                (len, written),
                (
                    Expression::Leaf(Leaf::Param(_)),
                    Some(Expression::Leaf(Leaf::Deref(_)))
                )
            );
            if answers.as_ref().is_some_and(is_text) && !of_any_length {
                let what = "answers text, which needs #[len(parameter)] and #[written(*parameter)]";
                return Err(what.into());
            }
            if !bulk && matches!(function.queued, Condition::Always) {
                return Err("is written by a call that nobody waits for".into());
            }
            if let Some(written) = written {
                for leaf in written.leaves() {
                    if let Leaf::Deref(i) = leaf
                        && !matches!(function.params[*i].role, Role::Output { .. })
                    {
                        return Err("is as long as something that is not written".into());
                    }
                }
            }
            vec![len]
        }
        Role::Found { len, .. } | Role::NewList { len, .. } | Role::HandleOrBytes { len, .. } => {
            vec![len]
        }
        _ => Vec::new(),
    };
    let mut expressions = expressions.into_iter();
    expressions.try_for_each(|expression| check_leaves(function, expression))
}

/// Checks that mediator and worker can compute it from what is sent.
fn check_leaves(function: &Function, expression: &Expression) -> Result<(), String> {
    check_each(function, expression.leaves())
}

/// The same of what an object holds, which may depend on how much travels.
fn check_holds(function: &Function, expression: &Expression) -> Result<(), String> {
    let (bytes, others): (Vec<_>, Vec<_>) = expression
        .leaves()
        .into_iter()
        .partition(|leaf| matches!(leaf, Leaf::Bytes(_)));
    let is_input = |leaf: &&Leaf| match leaf {
        Leaf::Bytes(index) => matches!(function.params[*index].role, Role::Input { .. }),
        _ => false,
    };
    if !bytes.iter().all(is_input) {
        return Err("holds the bytes of what is not read".into());
    }
    check_each(function, others)
}

fn check_each(function: &Function, leaves: Vec<&Leaf>) -> Result<(), String> {
    let not_sent = || Err("has a length that depends on what is not sent".into());
    for leaf in leaves {
        let role = |index: &usize| &function.params[*index].role;
        match leaf {
            Leaf::Deref(_) | Leaf::Returned => {
                return Err("has a length that is known only afterwards".into());
            }
            Leaf::Element(index, _) | Leaf::Field(Field { param: index, .. }) => {
                match role(index) {
                    Role::Input {
                        contents: Contents::Plain | Contents::Records(_),
                        ..
                    } => {}
                    _ => return not_sent(),
                }
            }
            Leaf::Param(index) if !matches!(role(index), Role::Scalar) => return not_sent(),
            Leaf::Kept(index) if !matches!(role(index), Role::Handle(_)) => return not_sent(),
            Leaf::Related(_) => {
                return Err("depends on `related`, which only #[queued] may".into());
            }
            Leaf::Bytes(_) => return Err("depends on `bytes`, which only #[holds] may".into()),
            Leaf::Param(_) | Leaf::Kept(_) | Leaf::IsNull(_) | Leaf::Argument(_) => {}
        }
    }
    Ok(())
}
