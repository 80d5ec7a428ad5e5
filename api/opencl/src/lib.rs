//! OpenCL, described for Weir.
