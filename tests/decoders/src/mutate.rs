//! x
pub(crate) fn touch(_: u16, _: &[u64]) -> Option<u64> {
    None
}
