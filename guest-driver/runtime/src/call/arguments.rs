//! What a call is given: objects, bytes, strings, lists.

use std::ffi::{CStr, c_char, c_void};

use weir_wire::command::{MAX_COMMAND, MAX_INLINE, Place};

use super::Call;
use crate::Code;
use crate::includes::Includes;
use crate::objects::Object;

/// Most pairs of a property list.
const MAX_PROPERTIES: usize = 256;

impl Call {
    /// Puts in the handle of an object of `kind` at an address that the program gave.
    pub fn object(
        &mut self,
        index: usize,
        address: *const c_void,
        kind: usize,
        optional: bool,
    ) -> Result<Option<&'static Object>, Code> {
        if address.is_null() && optional {
            return Ok(None);
        }
        let object = self.find(address, kind)?;
        if self.owner.is_null() {
            self.owner = object.handle();
        }
        self.word(index, object.handle().0);
        Ok(Some(object))
    }

    fn find(&self, address: *const c_void, kind: usize) -> Result<&'static Object, Code> {
        let invalid = self.weir.face.invalid.get(kind).copied();
        self.weir
            .objects
            .find(address, kind)
            .ok_or_else(|| invalid.map_or(self.malformed(), Code))
    }

    /// Puts in `len` bytes that the call reads.
    ///
    /// # Safety
    /// `address` must be null or valid for reading `len` bytes.
    pub unsafe fn input(
        &mut self,
        index: usize,
        address: *const c_void,
        len: u64,
        optional: bool,
    ) -> Result<(), Code> {
        if address.is_null() {
            return self.null(optional);
        }
        // SAFETY: the caller answers for it.
        let bytes = unsafe { bytes_at(address, len) };
        self.input_bytes(index, bytes)
    }

    pub(super) fn null(&self, optional: bool) -> Result<(), Code> {
        if optional {
            Ok(())
        } else {
            Err(self.malformed())
        }
    }

    fn input_bytes(&mut self, index: usize, bytes: &[u8]) -> Result<(), Code> {
        if bytes.len() <= MAX_INLINE {
            self.inline(index, bytes.len())?.copy_from_slice(bytes);
            return Ok(());
        }
        let region = self.weir.allocate(bytes.len() as u64)?;
        if self
            .weir
            .arena()
            .memory()
            .write(region.at(), bytes)
            .is_err()
        {
            return Err(self.malformed());
        }
        self.reference(index, Place::Arena(region.at()), bytes.len() as u64);
        self.work.inputs.push(region);
        Ok(())
    }

    /// Puts in `len` bytes that must travel inside of the command.
    ///
    /// # Safety
    /// As for [`input`](Self::input).
    pub unsafe fn input_inline(
        &mut self,
        index: usize,
        address: *const c_void,
        len: u64,
        optional: bool,
    ) -> Result<(), Code> {
        if address.is_null() {
            return self.null(optional);
        }
        if len > MAX_COMMAND as u64 {
            return Err(self.malformed());
        }
        // SAFETY: the caller answers for it.
        let bytes = unsafe { bytes_at(address, len) };
        self.inline(index, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    /// Puts in structures of `size` bytes, `len` bytes in all. At each of the offsets in `handles`, a
    /// structure has an object of that kind, or null.
    ///
    /// # Safety
    /// As for [`input`](Self::input).
    pub unsafe fn records(
        &mut self,
        index: usize,
        address: *const c_void,
        len: u64,
        size: usize,
        handles: &[(usize, usize)],
        optional: bool,
    ) -> Result<(), Code> {
        let at = self.work.command.len();
        // SAFETY: the caller answers for it.
        unsafe { self.input_inline(index, address, len, optional)? };
        let end = at + if address.is_null() { 0 } else { len as usize };
        for record in (at..end).step_by(size) {
            for (offset, kind) in handles {
                let place = record + offset..record + offset + 8;
                let Some(word) = self.work.command.get(place.clone()) else {
                    return Err(self.malformed());
                };
                let word = usize::from_ne_bytes(word.try_into().map_err(|_| self.malformed())?);
                if word != 0 {
                    let address = std::ptr::with_exposed_provenance(word);
                    let handle = self.find(address, *kind)?.handle();
                    self.work.command[place].copy_from_slice(&handle.0.to_le_bytes());
                }
            }
        }
        Ok(())
    }

    /// The object of `kind` at `offset` of the structure at `address`; none if either is null.
    ///
    /// # Safety
    /// `address` must be null or point to a structure that has an address there.
    pub unsafe fn object_in(
        &self,
        address: *const c_void,
        offset: usize,
        kind: usize,
    ) -> Result<Option<&'static Object>, Code> {
        if address.is_null() {
            return Ok(None);
        }
        // SAFETY: so the caller says.
        let object = unsafe {
            let place = address.cast::<u8>().add(offset);
            place.cast::<*const c_void>().read_unaligned()
        };
        match object.is_null() {
            true => Ok(None),
            false => self.find(object, kind).map(Some),
        }
    }

    /// Puts in a string and its zero.
    ///
    /// # Safety
    /// `text` must be null or point to a string that a zero ends.
    pub unsafe fn string(
        &mut self,
        index: usize,
        text: *const c_char,
        optional: bool,
    ) -> Result<(), Code> {
        if text.is_null() {
            return self.null(optional);
        }
        // SAFETY: the caller answers for it.
        self.input_bytes(index, unsafe { CStr::from_ptr(text) }.to_bytes_with_nul())
    }

    /// Puts in a string of options and its zero, and after it the files that are included and that
    /// the compiler will look for.
    ///
    /// # Safety
    /// As for [`string`](Self::string).
    pub unsafe fn options(
        &mut self,
        index: usize,
        text: *const c_char,
        includes: Includes<'_>,
        optional: bool,
    ) -> Result<(), Code> {
        let options = match text.is_null() {
            true => c"",
            // SAFETY: the caller answers for it.
            false => unsafe { CStr::from_ptr(text) },
        };
        let Some(bundle) = includes.bundle(options.to_bytes()) else {
            // SAFETY: as above.
            return unsafe { self.string(index, text, optional) };
        };
        let mut bytes = options.to_bytes_with_nul().to_vec();
        bytes.extend_from_slice(&bundle.to_bytes());
        self.input_bytes(index, &bytes)
    }

    /// Puts in an array of strings: their count, their lengths, their bytes, with their zeros if
    /// `ended`. Returns the bytes of all of them.
    ///
    /// # Safety
    /// `texts` must be null or point to `count` strings, each of which a zero ends unless `lengths`
    /// is not null and gives it another length than 0.
    pub unsafe fn strings(
        &mut self,
        index: usize,
        texts: *const *const c_char,
        count: u64,
        lengths: *const usize,
        ended: bool,
        optional: bool,
    ) -> Result<Vec<u8>, Code> {
        if texts.is_null() {
            return self.null(optional).map(|()| Vec::new());
        }
        let count = usize::try_from(count).map_err(|_| self.malformed())?;
        let mut table = (count as u64).to_le_bytes().to_vec();
        let mut joined = Vec::new();
        for i in 0..count {
            // SAFETY: there are `count` strings, and as many lengths if there are any.
            let (text, len) = unsafe {
                let len = if lengths.is_null() {
                    0
                } else {
                    *lengths.add(i)
                };
                (*texts.add(i), len)
            };
            if text.is_null() {
                return Err(self.malformed());
            }
            // SAFETY: so the caller says of each string.
            let bytes = unsafe {
                match len {
                    0 if ended => CStr::from_ptr(text).to_bytes_with_nul(),
                    0 => CStr::from_ptr(text).to_bytes(),
                    _ => bytes_at(text.cast(), len as u64),
                }
            };
            table.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            joined.extend_from_slice(bytes);
        }
        table.extend_from_slice(&joined);
        self.input_bytes(index, &table)?;
        Ok(joined)
    }

    /// Puts in an array of `count` objects of `kind`.
    ///
    /// # Safety
    /// `list` must be null or valid for reading `count` pointers.
    pub unsafe fn objects(
        &mut self,
        index: usize,
        list: *const *const c_void,
        count: u64,
        kind: usize,
        optional: bool,
    ) -> Result<(), Code> {
        if list.is_null() {
            return self.null(optional);
        }
        let size = count
            .checked_mul(8)
            .filter(|size| *size <= MAX_COMMAND as u64);
        let size = size.ok_or(self.malformed())? as usize;
        let at = self.work.command.len();
        self.inline(index, size)?;
        for i in 0..count as usize {
            // SAFETY: the caller answers for `count` pointers.
            let object = self.find(unsafe { *list.add(i) }, kind)?;
            let handle = object.handle();
            self.work.command[at + 8 * i..][..8].copy_from_slice(&handle.0.to_le_bytes());
            let parent = self.weir.objects.parent(object);
            self.work.lines.extend(parent.map(Object::handle));
        }
        Ok(())
    }

    /// Puts in a property list. The value of each key in `handles` is an object of that kind.
    ///
    /// # Safety
    /// `list` must be null or point to pairs of words that a zero key ends.
    pub unsafe fn properties(
        &mut self,
        index: usize,
        list: *const u64,
        handles: &[(u64, usize)],
        optional: bool,
    ) -> Result<(), Code> {
        if list.is_null() {
            return self.null(optional);
        }
        let mut words = Vec::new();
        for pair in 0..=MAX_PROPERTIES {
            // SAFETY: the list goes on as long as no key was zero.
            let key = unsafe { *list.add(2 * pair) };
            words.push(key);
            if key == 0 {
                let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
                self.inline(index, bytes.len())?.copy_from_slice(&bytes);
                return Ok(());
            }
            // SAFETY: a key that is not zero has a value.
            let value = unsafe { *list.add(2 * pair + 1) };
            let kind = handles.iter().find(|(with_handle, _)| *with_handle == key);
            words.push(match kind {
                Some((_, kind)) if value != 0 => {
                    let address = std::ptr::with_exposed_provenance(value as usize);
                    self.find(address, *kind)?.handle().0
                }
                _ => value,
            });
        }
        Err(self.malformed())
    }

    /// Puts in `len` bytes, and if they are the address of a living object of one of these `kinds`,
    /// its handle beside them.
    ///
    /// # Safety
    /// As for [`input`](Self::input).
    pub unsafe fn handle_or_bytes(
        &mut self,
        index: usize,
        bytes: *const c_void,
        len: u64,
        kinds: &[usize],
    ) -> Result<Option<&'static Object>, Code> {
        let mut object = None;
        if len == 8 && !bytes.is_null() {
            // SAFETY: there are as many bytes.
            let address = unsafe { bytes.cast::<*const c_void>().read_unaligned() };
            object = self.weir.objects.find_any(address);
        }
        let object = object.filter(|found| found.kind().is_some_and(|kind| kinds.contains(&kind)));
        if let Some(object) = object {
            self.word(index, object.handle().0);
        }
        // SAFETY: the caller answers for it.
        unsafe { self.input(index + 1, bytes, len, true)? };
        Ok(object)
    }
}

/// # Safety
/// `address` must be valid for reading `len` bytes, unless `len` is 0, for as long as the result is
/// used.
unsafe fn bytes_at<'a>(address: *const c_void, len: u64) -> &'a [u8] {
    match len {
        0 => &[],
        // SAFETY: the caller answers for it.
        _ => unsafe { std::slice::from_raw_parts(address.cast(), len as usize) },
    }
}
