//! Weir's OpenCL driver (ICD) for guests.
