//! One call there and back.

use std::ffi::c_void;
use std::time::Duration;

use weir_guest::Code;
use weir_spec::Spec;
use weir_spec::model::{Carried, Failure, Function, Type};

use crate::mediator::{self, Expected, Failed};
use crate::source::Source;
use crate::values::{self, After, Call, Maker};
use crate::{Encode, Sides};

/// Functions that are carried as commands.
pub fn commands(spec: &'static Spec) -> Vec<&'static Function> {
    let is_command = |f: &&Function| matches!(f.carried, Carried::Command { .. });
    spec.functions.iter().filter(is_command).collect()
}

/// The command that the last round sent.
pub fn last_command() -> Vec<u8> {
    mediator::last_command()
}

/// Makes one call of `function`; false if these choices ask for more than can be sent.
///
/// # Errors
/// What has not come through as it went in.
pub fn round(
    sides: &Sides,
    spec: &'static Spec,
    function: &'static Function,
    source: &mut Source<'_>,
) -> Result<bool, String> {
    mediator::connect();
    let weir = sides.guest.current().map_err(|_| "the client is lost")?;
    let session = mediator::session(sides.api.id).ok_or("there is no client")?;
    let Some(mut call) = Maker::new(spec, function, weir, &session, source).make() else {
        return Ok(false);
    };
    mediator::expect(Expected {
        number: function.number,
        arguments: call.seen.clone(),
        returns: call.returns,
    });
    let result = send(sides.call, function, &call);
    weir.flush().map_err(|_| "the client is lost")?;
    // An answer comes before the worker is all done with its call; an error may be the guest
    // library's own, and then nothing was sent.
    let patience = match result {
        Ok(_) => Duration::from_secs(10),
        Err(_) => Duration::from_millis(50),
    };
    let seen = match mediator::outcome(!values::is_cached(function), patience) {
        Err(Failed::NotSent) if result.is_err() => return Ok(false),
        Err(failed) => return Err(format!("{failed:?}; the guest has {result:?}")),
        Ok(seen) => seen,
    };
    let checked = check(sides, function, &call, &result, seen);
    if function.done.is_some() {
        call.leak();
    }
    for object in &call.used {
        weir.release(object);
    }
    checked.map(|()| true)
}

fn send(encode: Encode, function: &Function, call: &Call) -> Result<u64, Code> {
    // SAFETY: the arguments were made for this function.
    unsafe { encode(function.number, &call.arguments) }
}

fn check(
    sides: &Sides,
    function: &Function,
    call: &Call,
    result: &Result<u64, Code>,
    seen: bool,
) -> Result<(), String> {
    let is_generated = matches!(
        function.carried,
        Carried::Command {
            by_hand_worker: false,
            ..
        }
    );
    if !is_generated {
        // It has come as far as the hand-written part, which is not here.
        let wanted = Code(sides.api.errors.unsupported);
        return match result {
            Err(code) if *code == wanted => Ok(()),
            Ok(_) if !values::waits(function) => Ok(()),
            other => Err(format!("{other:?} instead of {wanted:?}")),
        };
    }
    if !seen && !values::is_cached(function) {
        return Err("the vendor was not called".to_owned());
    }
    let value = result.map_err(|Code(code)| format!("it fails with {code}"))?;
    let weir = sides.guest.current().map_err(|_| "the client is lost")?;
    let session = mediator::session(sides.api.id).ok_or("there is no client")?;
    let stands_for = |address: u64, kind: usize| {
        let at = std::ptr::with_exposed_provenance::<c_void>(address as usize);
        let object = weir.objects.find(at, kind)?;
        let found = session.objects.find(object.handle(), kind);
        weir.release(object);
        found.map(|(pointer, _)| pointer.addr() as u64)
    };
    match (function.new, function.failure) {
        (Some(new), _) => {
            let found = stands_for(value, new.kind);
            if found != Some(call.returns) {
                return Err(format!("the new object stands for {found:x?}"));
            }
        }
        (None, Failure::Beside { .. })
            if function.return_type != Type::Nothing && value != call.returns =>
        {
            let wanted = call.returns;
            return Err(format!("it returns {value:#x} instead of {wanted:#x}"));
        }
        _ => {}
    }
    for after in &call.after {
        match after {
            After::Bytes(at, wanted) => {
                let at = std::ptr::with_exposed_provenance::<u8>(*at as usize);
                // SAFETY: the call's own memory, which is that long.
                let got = unsafe { std::slice::from_raw_parts(at, wanted.len()) };
                if got != wanted {
                    return Err(format!("an output is {got:?} instead of {wanted:?}"));
                }
            }
            After::Object(at, kind, pointer) => {
                let at = std::ptr::with_exposed_provenance::<u64>(*at as usize);
                // SAFETY: as above.
                let found = stands_for(unsafe { at.read() }, *kind);
                if found != Some(*pointer) {
                    return Err(format!("an object stands for {found:x?}, not {pointer:#x}"));
                }
            }
        }
    }
    Ok(())
}
