//! libdeflate 1.14: whole-buffer compression in the DEFLATE, zlib and gzip formats.
//!
//! The library has no error codes for most of what can go wrong: compressing returns 0, making an
//! object returns null. A checksum cannot fail at all, so a program that has lost its accelerator ends
//! there rather than go on with a wrong one; that large data is summed in pieces, nobody sees.

#![api(
    name = "libdeflate",
    id = 2,
    library = "libdeflate.so.0",
    interposed = true
)]
#![errors(
    lost = LIBDEFLATE_BAD_DATA,
    malformed = LIBDEFLATE_BAD_DATA,
    quota = LIBDEFLATE_BAD_DATA,
    unsupported = LIBDEFLATE_BAD_DATA
)]

use core::ffi::{c_int, c_void};

/// An enumeration; 0 is success.
type libdeflate_result = i32;
const LIBDEFLATE_BAD_DATA: libdeflate_result = 1;

#[handle(LIBDEFLATE_BAD_DATA)]
type libdeflate_compressor = *mut c_void;
#[handle(LIBDEFLATE_BAD_DATA)]
type libdeflate_decompressor = *mut c_void;

/// From so many bytes on, other threads' calls need not wait for one.
const LONG: usize = 16384;
/// Bytes that a compressor of levels 2 to 9, one of a higher level and a decompressor take.
const COMPRESSOR: usize = 668304;
const NEAR_OPTIMAL_COMPRESSOR: usize = 9009552;
const DECOMPRESSOR: usize = 11568;

unsafe extern "C" {
    #[common]
    fn parameters(
        #[optional] any: libdeflate_compressor,
        #[arg(len(in_nbytes), bulk, optional)] in_: *const c_void,
        #[arg(len(len), bulk, optional)] buffer: *const c_void,
        #[arg(
            len(out_nbytes_avail),
            written(if actual_out_nbytes_ret.is_null() { out_nbytes_avail } else { *actual_out_nbytes_ret }),
            optional
        )]
        out: *mut c_void,
        #[arg(len(1), optional)] actual_in_nbytes_ret: *mut usize,
        #[arg(len(1), optional)] actual_out_nbytes_ret: *mut usize,
    );

    #[call(new, holds(if compression_level < 10 { COMPRESSOR } else { NEAR_OPTIMAL_COMPRESSOR }))]
    fn libdeflate_alloc_compressor(compression_level: c_int) -> libdeflate_compressor;
    #[call(device_time, blocks(in_nbytes >= LONG), fails(0))]
    fn libdeflate_deflate_compress(
        compressor: libdeflate_compressor,
        in_: *const c_void,
        in_nbytes: usize,
        #[arg(len(out_nbytes_avail), written(returned))] out: *mut c_void,
        out_nbytes_avail: usize,
    ) -> usize;
    #[call(cached, fails(0))]
    fn libdeflate_deflate_compress_bound(any: libdeflate_compressor, in_nbytes: usize) -> usize;
    #[call(device_time, blocks(in_nbytes >= LONG), fails(0))]
    fn libdeflate_zlib_compress(
        compressor: libdeflate_compressor,
        in_: *const c_void,
        in_nbytes: usize,
        #[arg(len(out_nbytes_avail), written(returned))] out: *mut c_void,
        out_nbytes_avail: usize,
    ) -> usize;
    #[call(cached, fails(0))]
    fn libdeflate_zlib_compress_bound(any: libdeflate_compressor, in_nbytes: usize) -> usize;
    #[call(device_time, blocks(in_nbytes >= LONG), fails(0))]
    fn libdeflate_gzip_compress(
        compressor: libdeflate_compressor,
        in_: *const c_void,
        in_nbytes: usize,
        #[arg(len(out_nbytes_avail), written(returned))] out: *mut c_void,
        out_nbytes_avail: usize,
    ) -> usize;
    #[call(cached, fails(0))]
    fn libdeflate_gzip_compress_bound(any: libdeflate_compressor, in_nbytes: usize) -> usize;
    #[call(queued, releases(compressor))]
    fn libdeflate_free_compressor(compressor: libdeflate_compressor);
    #[call(new, holds(DECOMPRESSOR))]
    fn libdeflate_alloc_decompressor() -> libdeflate_decompressor;
    #[call(device_time, blocks(out_nbytes_avail >= LONG))]
    fn libdeflate_deflate_decompress(
        decompressor: libdeflate_decompressor,
        in_: *const c_void,
        in_nbytes: usize,
        out: *mut c_void,
        out_nbytes_avail: usize,
        actual_out_nbytes_ret: *mut usize,
    ) -> libdeflate_result;
    #[call(device_time, blocks(out_nbytes_avail >= LONG))]
    fn libdeflate_deflate_decompress_ex(
        decompressor: libdeflate_decompressor,
        in_: *const c_void,
        in_nbytes: usize,
        out: *mut c_void,
        out_nbytes_avail: usize,
        actual_in_nbytes_ret: *mut usize,
        actual_out_nbytes_ret: *mut usize,
    ) -> libdeflate_result;
    #[call(device_time, blocks(out_nbytes_avail >= LONG))]
    fn libdeflate_zlib_decompress(
        decompressor: libdeflate_decompressor,
        in_: *const c_void,
        in_nbytes: usize,
        out: *mut c_void,
        out_nbytes_avail: usize,
        actual_out_nbytes_ret: *mut usize,
    ) -> libdeflate_result;
    #[call(device_time, blocks(out_nbytes_avail >= LONG))]
    fn libdeflate_zlib_decompress_ex(
        decompressor: libdeflate_decompressor,
        in_: *const c_void,
        in_nbytes: usize,
        out: *mut c_void,
        out_nbytes_avail: usize,
        actual_in_nbytes_ret: *mut usize,
        actual_out_nbytes_ret: *mut usize,
    ) -> libdeflate_result;
    #[call(device_time, blocks(out_nbytes_avail >= LONG))]
    fn libdeflate_gzip_decompress(
        decompressor: libdeflate_decompressor,
        in_: *const c_void,
        in_nbytes: usize,
        out: *mut c_void,
        out_nbytes_avail: usize,
        actual_out_nbytes_ret: *mut usize,
    ) -> libdeflate_result;
    #[call(device_time, blocks(out_nbytes_avail >= LONG))]
    fn libdeflate_gzip_decompress_ex(
        decompressor: libdeflate_decompressor,
        in_: *const c_void,
        in_nbytes: usize,
        out: *mut c_void,
        out_nbytes_avail: usize,
        actual_in_nbytes_ret: *mut usize,
        actual_out_nbytes_ret: *mut usize,
    ) -> libdeflate_result;
    #[call(queued, releases(decompressor))]
    fn libdeflate_free_decompressor(decompressor: libdeflate_decompressor);
    #[call(device_time, blocks(len >= LONG), folds(adler), fails(abort))]
    fn libdeflate_adler32(adler: u32, buffer: *const c_void, len: usize) -> u32;
    #[call(device_time, blocks(len >= LONG), folds(crc), fails(abort))]
    fn libdeflate_crc32(crc: u32, buffer: *const c_void, len: usize) -> u32;
    #[unsupported]
    fn libdeflate_set_memory_allocator(
        malloc_func: Option<unsafe extern "C" fn(usize) -> *mut c_void>,
        free_func: Option<unsafe extern "C" fn(*mut c_void)>,
    );
}
