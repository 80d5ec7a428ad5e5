//! OpenCL 3.0, described for Weir: the functions of the ICD dispatch table, in the table's order
//! (which is also how commands number them). `docs/spec.md` explains the attributes.

#![api(name = "opencl", id = 1, library = "libOpenCL.so.1", event = cl_event)]
#![errors(
    lost = CL_DEVICE_NOT_AVAILABLE,
    malformed = CL_INVALID_VALUE,
    quota = CL_MEM_OBJECT_ALLOCATION_FAILURE,
    unsupported = CL_INVALID_OPERATION
)]
// They are about the language, or add queries and properties.
#![extensions(
    "cl_amd_device_attribute_query",
    "cl_amd_media_ops",
    "cl_amd_media_ops2",
    "cl_ext_float_atomics",
    "cl_intel_required_subgroup_size",
    "cl_intel_subgroups",
    "cl_intel_subgroups_char",
    "cl_intel_subgroups_long",
    "cl_intel_subgroups_short",
    "cl_khr_3d_image_writes",
    "cl_khr_byte_addressable_store",
    "cl_khr_depth_images",
    "cl_khr_device_uuid",
    "cl_khr_expect_assume",
    "cl_khr_extended_bit_ops",
    "cl_khr_extended_versioning",
    "cl_khr_fp16",
    "cl_khr_fp64",
    "cl_khr_global_int32_base_atomics",
    "cl_khr_global_int32_extended_atomics",
    "cl_khr_icd",
    "cl_khr_image2d_from_buffer",
    "cl_khr_int64_base_atomics",
    "cl_khr_int64_extended_atomics",
    "cl_khr_integer_dot_product",
    "cl_khr_local_int32_base_atomics",
    "cl_khr_local_int32_extended_atomics",
    "cl_khr_pci_bus_info",
    "cl_khr_priority_hints",
    "cl_khr_select_fprounding_mode",
    "cl_khr_subgroup_ballot",
    "cl_khr_subgroup_clustered_reduce",
    "cl_khr_subgroup_extended_types",
    "cl_khr_subgroup_named_barrier",
    "cl_khr_subgroup_non_uniform_arithmetic",
    "cl_khr_subgroup_non_uniform_vote",
    "cl_khr_subgroup_rotate",
    "cl_khr_subgroup_shuffle",
    "cl_khr_subgroup_shuffle_relative",
    "cl_khr_work_group_uniform_arithmetic",
    "cl_nv_compiler_options",
    "cl_nv_device_attribute_query",
    "cl_nv_pragma_unroll",
    "cles_khr_int64",
)]

use core::ffi::{c_char, c_int, c_uchar, c_uint, c_void};

type cl_int = i32;
type cl_uint = u32;
type cl_ulong = u64;
type cl_bool = cl_uint;
type cl_bitfield = cl_ulong;
type cl_properties = cl_ulong;
type cl_device_type = cl_bitfield;
type cl_platform_info = cl_uint;
type cl_device_info = cl_uint;
type cl_command_queue_properties = cl_bitfield;
type cl_device_partition_property = isize;
type cl_device_partition_property_ext = cl_ulong;
type cl_context_properties = isize;
type cl_context_info = cl_uint;
type cl_queue_properties = cl_properties;
type cl_command_queue_info = cl_uint;
type cl_mem_flags = cl_bitfield;
type cl_svm_mem_flags = cl_bitfield;
type cl_mem_object_type = cl_uint;
type cl_channel_order = cl_uint;
type cl_channel_type = cl_uint;
type cl_mem_info = cl_uint;
type cl_mem_migration_flags = cl_bitfield;
type cl_mem_properties = cl_properties;
type cl_image_info = cl_uint;
type cl_buffer_create_type = cl_uint;
type cl_addressing_mode = cl_uint;
type cl_filter_mode = cl_uint;
type cl_sampler_info = cl_uint;
type cl_sampler_properties = cl_properties;
type cl_map_flags = cl_bitfield;
type cl_pipe_properties = isize;
type cl_pipe_info = cl_uint;
type cl_program_info = cl_uint;
type cl_program_build_info = cl_uint;
type cl_kernel_info = cl_uint;
type cl_kernel_arg_info = cl_uint;
type cl_kernel_work_group_info = cl_uint;
type cl_kernel_sub_group_info = cl_uint;
type cl_kernel_exec_info = cl_uint;
type cl_event_info = cl_uint;
type cl_profiling_info = cl_uint;
type cl_gl_object_type = cl_uint;
type cl_gl_texture_info = cl_uint;
type cl_gl_context_info = cl_uint;
type cl_GLint = i32;
type cl_GLenum = u32;
type cl_GLuint = u32;
type cl_GLsync = *mut c_void;
type CLeglImageKHR = *mut c_void;
type CLeglDisplayKHR = *mut c_void;
type CLeglSyncKHR = *mut c_void;
type cl_egl_image_properties_khr = isize;

#[repr(C)]
struct cl_buffer_region {
    origin: usize,
    size: usize,
}

#[repr(C)]
struct cl_image_format {
    image_channel_order: cl_channel_order,
    image_channel_data_type: cl_channel_type,
}

// Errors
const CL_SUCCESS: cl_int = 0;
const CL_DEVICE_NOT_FOUND: cl_int = -1;
const CL_DEVICE_NOT_AVAILABLE: cl_int = -2;
const CL_COMPILER_NOT_AVAILABLE: cl_int = -3;
const CL_MEM_OBJECT_ALLOCATION_FAILURE: cl_int = -4;
const CL_OUT_OF_RESOURCES: cl_int = -5;
const CL_OUT_OF_HOST_MEMORY: cl_int = -6;
const CL_PROFILING_INFO_NOT_AVAILABLE: cl_int = -7;
const CL_MEM_COPY_OVERLAP: cl_int = -8;
const CL_IMAGE_FORMAT_MISMATCH: cl_int = -9;
const CL_IMAGE_FORMAT_NOT_SUPPORTED: cl_int = -10;
const CL_BUILD_PROGRAM_FAILURE: cl_int = -11;
const CL_MAP_FAILURE: cl_int = -12;
const CL_MISALIGNED_SUB_BUFFER_OFFSET: cl_int = -13;
const CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST: cl_int = -14;
const CL_COMPILE_PROGRAM_FAILURE: cl_int = -15;
const CL_LINKER_NOT_AVAILABLE: cl_int = -16;
const CL_LINK_PROGRAM_FAILURE: cl_int = -17;
const CL_DEVICE_PARTITION_FAILED: cl_int = -18;
const CL_KERNEL_ARG_INFO_NOT_AVAILABLE: cl_int = -19;
const CL_INVALID_VALUE: cl_int = -30;
const CL_INVALID_DEVICE_TYPE: cl_int = -31;
const CL_INVALID_PLATFORM: cl_int = -32;
const CL_INVALID_DEVICE: cl_int = -33;
const CL_INVALID_CONTEXT: cl_int = -34;
const CL_INVALID_QUEUE_PROPERTIES: cl_int = -35;
const CL_INVALID_COMMAND_QUEUE: cl_int = -36;
const CL_INVALID_HOST_PTR: cl_int = -37;
const CL_INVALID_MEM_OBJECT: cl_int = -38;
const CL_INVALID_IMAGE_FORMAT_DESCRIPTOR: cl_int = -39;
const CL_INVALID_IMAGE_SIZE: cl_int = -40;
const CL_INVALID_SAMPLER: cl_int = -41;
const CL_INVALID_BINARY: cl_int = -42;
const CL_INVALID_BUILD_OPTIONS: cl_int = -43;
const CL_INVALID_PROGRAM: cl_int = -44;
const CL_INVALID_PROGRAM_EXECUTABLE: cl_int = -45;
const CL_INVALID_KERNEL_NAME: cl_int = -46;
const CL_INVALID_KERNEL_DEFINITION: cl_int = -47;
const CL_INVALID_KERNEL: cl_int = -48;
const CL_INVALID_ARG_INDEX: cl_int = -49;
const CL_INVALID_ARG_VALUE: cl_int = -50;
const CL_INVALID_ARG_SIZE: cl_int = -51;
const CL_INVALID_KERNEL_ARGS: cl_int = -52;
const CL_INVALID_WORK_DIMENSION: cl_int = -53;
const CL_INVALID_WORK_GROUP_SIZE: cl_int = -54;
const CL_INVALID_WORK_ITEM_SIZE: cl_int = -55;
const CL_INVALID_GLOBAL_OFFSET: cl_int = -56;
const CL_INVALID_EVENT_WAIT_LIST: cl_int = -57;
const CL_INVALID_EVENT: cl_int = -58;
const CL_INVALID_OPERATION: cl_int = -59;
const CL_INVALID_GL_OBJECT: cl_int = -60;
const CL_INVALID_BUFFER_SIZE: cl_int = -61;
const CL_INVALID_MIP_LEVEL: cl_int = -62;
const CL_INVALID_GLOBAL_WORK_SIZE: cl_int = -63;
const CL_INVALID_PROPERTY: cl_int = -64;
const CL_INVALID_IMAGE_DESCRIPTOR: cl_int = -65;
const CL_INVALID_COMPILER_OPTIONS: cl_int = -66;
const CL_INVALID_LINKER_OPTIONS: cl_int = -67;
const CL_INVALID_DEVICE_PARTITION_COUNT: cl_int = -68;
const CL_INVALID_PIPE_SIZE: cl_int = -69;
const CL_INVALID_DEVICE_QUEUE: cl_int = -70;
const CL_INVALID_SPEC_ID: cl_int = -71;
const CL_MAX_SIZE_RESTRICTION_EXCEEDED: cl_int = -72;
const CL_BUILD_NONE: cl_int = -1;
const CL_BUILD_ERROR: cl_int = -2;
const CL_BUILD_IN_PROGRESS: cl_int = -3;

// Command states
const CL_COMPLETE: cl_int = 0x0;
const CL_RUNNING: cl_int = 0x1;
const CL_SUBMITTED: cl_int = 0x2;
const CL_QUEUED: cl_int = 0x3;

// Truth
const CL_FALSE: cl_bool = 0;
const CL_TRUE: cl_bool = 1;

// Kinds of devices
const CL_DEVICE_TYPE_DEFAULT: cl_device_type = 1 << 0;
const CL_DEVICE_TYPE_CPU: cl_device_type = 1 << 1;
const CL_DEVICE_TYPE_GPU: cl_device_type = 1 << 2;
const CL_DEVICE_TYPE_ACCELERATOR: cl_device_type = 1 << 3;
const CL_DEVICE_TYPE_CUSTOM: cl_device_type = 1 << 4;
const CL_DEVICE_TYPE_ALL: cl_device_type = 0xFFFFFFFF;

// What platforms tell
const CL_PLATFORM_PROFILE: cl_platform_info = 0x0900;
const CL_PLATFORM_VERSION: cl_platform_info = 0x0901;
const CL_PLATFORM_NAME: cl_platform_info = 0x0902;
const CL_PLATFORM_VENDOR: cl_platform_info = 0x0903;
const CL_PLATFORM_EXTENSIONS: cl_platform_info = 0x0904;
const CL_PLATFORM_HOST_TIMER_RESOLUTION: cl_platform_info = 0x0905;
const CL_PLATFORM_NUMERIC_VERSION: cl_platform_info = 0x0906;
const CL_PLATFORM_EXTENSIONS_WITH_VERSION: cl_platform_info = 0x0907;
const CL_PLATFORM_ICD_SUFFIX_KHR: cl_platform_info = 0x0920;

// What devices tell
const CL_DEVICE_TYPE: cl_device_info = 0x1000;
const CL_DEVICE_VENDOR_ID: cl_device_info = 0x1001;
const CL_DEVICE_MAX_COMPUTE_UNITS: cl_device_info = 0x1002;
const CL_DEVICE_MAX_WORK_ITEM_DIMENSIONS: cl_device_info = 0x1003;
const CL_DEVICE_MAX_WORK_GROUP_SIZE: cl_device_info = 0x1004;
const CL_DEVICE_MAX_WORK_ITEM_SIZES: cl_device_info = 0x1005;
const CL_DEVICE_PREFERRED_VECTOR_WIDTH_CHAR: cl_device_info = 0x1006;
const CL_DEVICE_PREFERRED_VECTOR_WIDTH_SHORT: cl_device_info = 0x1007;
const CL_DEVICE_PREFERRED_VECTOR_WIDTH_INT: cl_device_info = 0x1008;
const CL_DEVICE_PREFERRED_VECTOR_WIDTH_LONG: cl_device_info = 0x1009;
const CL_DEVICE_PREFERRED_VECTOR_WIDTH_FLOAT: cl_device_info = 0x100A;
const CL_DEVICE_PREFERRED_VECTOR_WIDTH_DOUBLE: cl_device_info = 0x100B;
const CL_DEVICE_MAX_CLOCK_FREQUENCY: cl_device_info = 0x100C;
const CL_DEVICE_ADDRESS_BITS: cl_device_info = 0x100D;
const CL_DEVICE_MAX_READ_IMAGE_ARGS: cl_device_info = 0x100E;
const CL_DEVICE_MAX_WRITE_IMAGE_ARGS: cl_device_info = 0x100F;
const CL_DEVICE_MAX_MEM_ALLOC_SIZE: cl_device_info = 0x1010;
const CL_DEVICE_IMAGE2D_MAX_WIDTH: cl_device_info = 0x1011;
const CL_DEVICE_IMAGE2D_MAX_HEIGHT: cl_device_info = 0x1012;
const CL_DEVICE_IMAGE3D_MAX_WIDTH: cl_device_info = 0x1013;
const CL_DEVICE_IMAGE3D_MAX_HEIGHT: cl_device_info = 0x1014;
const CL_DEVICE_IMAGE3D_MAX_DEPTH: cl_device_info = 0x1015;
const CL_DEVICE_IMAGE_SUPPORT: cl_device_info = 0x1016;
const CL_DEVICE_MAX_PARAMETER_SIZE: cl_device_info = 0x1017;
const CL_DEVICE_MAX_SAMPLERS: cl_device_info = 0x1018;
const CL_DEVICE_MEM_BASE_ADDR_ALIGN: cl_device_info = 0x1019;
const CL_DEVICE_MIN_DATA_TYPE_ALIGN_SIZE: cl_device_info = 0x101A;
const CL_DEVICE_SINGLE_FP_CONFIG: cl_device_info = 0x101B;
const CL_DEVICE_GLOBAL_MEM_CACHE_TYPE: cl_device_info = 0x101C;
const CL_DEVICE_GLOBAL_MEM_CACHELINE_SIZE: cl_device_info = 0x101D;
const CL_DEVICE_GLOBAL_MEM_CACHE_SIZE: cl_device_info = 0x101E;
const CL_DEVICE_GLOBAL_MEM_SIZE: cl_device_info = 0x101F;
const CL_DEVICE_MAX_CONSTANT_BUFFER_SIZE: cl_device_info = 0x1020;
const CL_DEVICE_MAX_CONSTANT_ARGS: cl_device_info = 0x1021;
const CL_DEVICE_LOCAL_MEM_TYPE: cl_device_info = 0x1022;
const CL_DEVICE_LOCAL_MEM_SIZE: cl_device_info = 0x1023;
const CL_DEVICE_ERROR_CORRECTION_SUPPORT: cl_device_info = 0x1024;
const CL_DEVICE_PROFILING_TIMER_RESOLUTION: cl_device_info = 0x1025;
const CL_DEVICE_ENDIAN_LITTLE: cl_device_info = 0x1026;
const CL_DEVICE_AVAILABLE: cl_device_info = 0x1027;
const CL_DEVICE_COMPILER_AVAILABLE: cl_device_info = 0x1028;
const CL_DEVICE_EXECUTION_CAPABILITIES: cl_device_info = 0x1029;
const CL_DEVICE_QUEUE_PROPERTIES: cl_device_info = 0x102A;
const CL_DEVICE_QUEUE_ON_HOST_PROPERTIES: cl_device_info = 0x102A;
const CL_DEVICE_NAME: cl_device_info = 0x102B;
const CL_DEVICE_VENDOR: cl_device_info = 0x102C;
const CL_DEVICE_PROFILE: cl_device_info = 0x102E;
const CL_DEVICE_VERSION: cl_device_info = 0x102F;
const CL_DEVICE_EXTENSIONS: cl_device_info = 0x1030;
const CL_DEVICE_PLATFORM: cl_device_info = 0x1031;
const CL_DEVICE_DOUBLE_FP_CONFIG: cl_device_info = 0x1032;
const CL_DEVICE_PREFERRED_VECTOR_WIDTH_HALF: cl_device_info = 0x1034;
const CL_DEVICE_HOST_UNIFIED_MEMORY: cl_device_info = 0x1035;
const CL_DEVICE_NATIVE_VECTOR_WIDTH_CHAR: cl_device_info = 0x1036;
const CL_DEVICE_NATIVE_VECTOR_WIDTH_SHORT: cl_device_info = 0x1037;
const CL_DEVICE_NATIVE_VECTOR_WIDTH_INT: cl_device_info = 0x1038;
const CL_DEVICE_NATIVE_VECTOR_WIDTH_LONG: cl_device_info = 0x1039;
const CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT: cl_device_info = 0x103A;
const CL_DEVICE_NATIVE_VECTOR_WIDTH_DOUBLE: cl_device_info = 0x103B;
const CL_DEVICE_NATIVE_VECTOR_WIDTH_HALF: cl_device_info = 0x103C;
const CL_DEVICE_OPENCL_C_VERSION: cl_device_info = 0x103D;
const CL_DEVICE_LINKER_AVAILABLE: cl_device_info = 0x103E;
const CL_DEVICE_BUILT_IN_KERNELS: cl_device_info = 0x103F;
const CL_DEVICE_IMAGE_MAX_BUFFER_SIZE: cl_device_info = 0x1040;
const CL_DEVICE_IMAGE_MAX_ARRAY_SIZE: cl_device_info = 0x1041;
const CL_DEVICE_PARENT_DEVICE: cl_device_info = 0x1042;
const CL_DEVICE_PARTITION_MAX_SUB_DEVICES: cl_device_info = 0x1043;
const CL_DEVICE_PARTITION_PROPERTIES: cl_device_info = 0x1044;
const CL_DEVICE_PARTITION_AFFINITY_DOMAIN: cl_device_info = 0x1045;
const CL_DEVICE_PARTITION_TYPE: cl_device_info = 0x1046;
const CL_DEVICE_REFERENCE_COUNT: cl_device_info = 0x1047;
const CL_DEVICE_PREFERRED_INTEROP_USER_SYNC: cl_device_info = 0x1048;
const CL_DEVICE_PRINTF_BUFFER_SIZE: cl_device_info = 0x1049;
const CL_DEVICE_IMAGE_PITCH_ALIGNMENT: cl_device_info = 0x104A;
const CL_DEVICE_IMAGE_BASE_ADDRESS_ALIGNMENT: cl_device_info = 0x104B;
const CL_DEVICE_MAX_READ_WRITE_IMAGE_ARGS: cl_device_info = 0x104C;
const CL_DEVICE_MAX_GLOBAL_VARIABLE_SIZE: cl_device_info = 0x104D;
const CL_DEVICE_QUEUE_ON_DEVICE_PROPERTIES: cl_device_info = 0x104E;
const CL_DEVICE_QUEUE_ON_DEVICE_PREFERRED_SIZE: cl_device_info = 0x104F;
const CL_DEVICE_QUEUE_ON_DEVICE_MAX_SIZE: cl_device_info = 0x1050;
const CL_DEVICE_MAX_ON_DEVICE_QUEUES: cl_device_info = 0x1051;
const CL_DEVICE_MAX_ON_DEVICE_EVENTS: cl_device_info = 0x1052;
const CL_DEVICE_SVM_CAPABILITIES: cl_device_info = 0x1053;
const CL_DEVICE_GLOBAL_VARIABLE_PREFERRED_TOTAL_SIZE: cl_device_info = 0x1054;
const CL_DEVICE_MAX_PIPE_ARGS: cl_device_info = 0x1055;
const CL_DEVICE_PIPE_MAX_ACTIVE_RESERVATIONS: cl_device_info = 0x1056;
const CL_DEVICE_PIPE_MAX_PACKET_SIZE: cl_device_info = 0x1057;
const CL_DEVICE_PREFERRED_PLATFORM_ATOMIC_ALIGNMENT: cl_device_info = 0x1058;
const CL_DEVICE_PREFERRED_GLOBAL_ATOMIC_ALIGNMENT: cl_device_info = 0x1059;
const CL_DEVICE_PREFERRED_LOCAL_ATOMIC_ALIGNMENT: cl_device_info = 0x105A;
const CL_DEVICE_IL_VERSION: cl_device_info = 0x105B;
const CL_DEVICE_MAX_NUM_SUB_GROUPS: cl_device_info = 0x105C;
const CL_DEVICE_SUB_GROUP_INDEPENDENT_FORWARD_PROGRESS: cl_device_info = 0x105D;
const CL_DEVICE_NUMERIC_VERSION: cl_device_info = 0x105E;
const CL_DEVICE_EXTENSIONS_WITH_VERSION: cl_device_info = 0x1060;
const CL_DEVICE_ILS_WITH_VERSION: cl_device_info = 0x1061;
const CL_DEVICE_BUILT_IN_KERNELS_WITH_VERSION: cl_device_info = 0x1062;
const CL_DEVICE_ATOMIC_MEMORY_CAPABILITIES: cl_device_info = 0x1063;
const CL_DEVICE_ATOMIC_FENCE_CAPABILITIES: cl_device_info = 0x1064;
const CL_DEVICE_NON_UNIFORM_WORK_GROUP_SUPPORT: cl_device_info = 0x1065;
const CL_DEVICE_OPENCL_C_ALL_VERSIONS: cl_device_info = 0x1066;
const CL_DEVICE_PREFERRED_WORK_GROUP_SIZE_MULTIPLE: cl_device_info = 0x1067;
const CL_DEVICE_WORK_GROUP_COLLECTIVE_FUNCTIONS_SUPPORT: cl_device_info = 0x1068;
const CL_DEVICE_GENERIC_ADDRESS_SPACE_SUPPORT: cl_device_info = 0x1069;
const CL_DEVICE_OPENCL_C_FEATURES: cl_device_info = 0x106F;
const CL_DEVICE_DEVICE_ENQUEUE_CAPABILITIES: cl_device_info = 0x1070;
const CL_DEVICE_PIPE_SUPPORT: cl_device_info = 0x1071;
const CL_DEVICE_LATEST_CONFORMANCE_VERSION_PASSED: cl_device_info = 0x1072;
const CL_DEVICE_PARTITION_EQUALLY: cl_device_info = 0x1086;
const CL_DEVICE_PARTITION_BY_COUNTS: cl_device_info = 0x1087;
const CL_DEVICE_PARTITION_BY_AFFINITY_DOMAIN: cl_device_info = 0x1088;

// What contexts tell and take
const CL_CONTEXT_REFERENCE_COUNT: cl_context_info = 0x1080;
const CL_CONTEXT_DEVICES: cl_context_info = 0x1081;
const CL_CONTEXT_PROPERTIES: cl_context_info = 0x1082;
const CL_CONTEXT_NUM_DEVICES: cl_context_info = 0x1083;
const CL_CONTEXT_PLATFORM: cl_context_info = 0x1084;

// What queues tell and take
const CL_QUEUE_CONTEXT: cl_command_queue_info = 0x1090;
const CL_QUEUE_DEVICE: cl_command_queue_info = 0x1091;
const CL_QUEUE_REFERENCE_COUNT: cl_command_queue_info = 0x1092;
const CL_QUEUE_PROPERTIES: cl_command_queue_info = 0x1093;
const CL_QUEUE_SIZE: cl_command_queue_info = 0x1094;
const CL_QUEUE_DEVICE_DEFAULT: cl_command_queue_info = 0x1095;
const CL_QUEUE_PROPERTIES_ARRAY: cl_command_queue_info = 0x1098;

// Properties of queues
const CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE: cl_command_queue_properties = 1 << 0;
const CL_QUEUE_PROFILING_ENABLE: cl_command_queue_properties = 1 << 1;
const CL_QUEUE_ON_DEVICE: cl_command_queue_properties = 1 << 2;
const CL_QUEUE_ON_DEVICE_DEFAULT: cl_command_queue_properties = 1 << 3;

// Properties of memory
const CL_MEM_READ_WRITE: cl_mem_flags = 1 << 0;
const CL_MEM_WRITE_ONLY: cl_mem_flags = 1 << 1;
const CL_MEM_READ_ONLY: cl_mem_flags = 1 << 2;
const CL_MEM_USE_HOST_PTR: cl_mem_flags = 1 << 3;
const CL_MEM_ALLOC_HOST_PTR: cl_mem_flags = 1 << 4;
const CL_MEM_COPY_HOST_PTR: cl_mem_flags = 1 << 5;
const CL_MEM_HOST_WRITE_ONLY: cl_mem_flags = 1 << 7;
const CL_MEM_HOST_READ_ONLY: cl_mem_flags = 1 << 8;
const CL_MEM_HOST_NO_ACCESS: cl_mem_flags = 1 << 9;

// What memory tells
const CL_MEM_TYPE: cl_mem_info = 0x1100;
const CL_MEM_FLAGS: cl_mem_info = 0x1101;
const CL_MEM_SIZE: cl_mem_info = 0x1102;
const CL_MEM_HOST_PTR: cl_mem_info = 0x1103;
const CL_MEM_MAP_COUNT: cl_mem_info = 0x1104;
const CL_MEM_REFERENCE_COUNT: cl_mem_info = 0x1105;
const CL_MEM_CONTEXT: cl_mem_info = 0x1106;
const CL_MEM_ASSOCIATED_MEMOBJECT: cl_mem_info = 0x1107;
const CL_MEM_OFFSET: cl_mem_info = 0x1108;
const CL_MEM_USES_SVM_POINTER: cl_mem_info = 0x1109;
const CL_MEM_PROPERTIES: cl_mem_info = 0x110A;
const CL_MEM_OBJECT_BUFFER: cl_mem_info = 0x10F0;
const CL_BUFFER_CREATE_TYPE_REGION: cl_mem_info = 0x1220;

// Ways to map
const CL_MAP_READ: cl_map_flags = 1 << 0;
const CL_MAP_WRITE: cl_map_flags = 1 << 1;
const CL_MAP_WRITE_INVALIDATE_REGION: cl_map_flags = 1 << 2;

// What programs tell
const CL_PROGRAM_REFERENCE_COUNT: cl_program_info = 0x1160;
const CL_PROGRAM_CONTEXT: cl_program_info = 0x1161;
const CL_PROGRAM_NUM_DEVICES: cl_program_info = 0x1162;
const CL_PROGRAM_DEVICES: cl_program_info = 0x1163;
const CL_PROGRAM_SOURCE: cl_program_info = 0x1164;
const CL_PROGRAM_BINARY_SIZES: cl_program_info = 0x1165;
const CL_PROGRAM_BINARIES: cl_program_info = 0x1166;
const CL_PROGRAM_NUM_KERNELS: cl_program_info = 0x1167;
const CL_PROGRAM_KERNEL_NAMES: cl_program_info = 0x1168;
const CL_PROGRAM_IL: cl_program_info = 0x1169;
const CL_PROGRAM_BUILD_STATUS: cl_program_info = 0x1181;
const CL_PROGRAM_BUILD_OPTIONS: cl_program_info = 0x1182;
const CL_PROGRAM_BUILD_LOG: cl_program_info = 0x1183;
const CL_PROGRAM_BINARY_TYPE: cl_program_info = 0x1184;

// What kernels tell
const CL_KERNEL_FUNCTION_NAME: cl_kernel_info = 0x1190;
const CL_KERNEL_NUM_ARGS: cl_kernel_info = 0x1191;
const CL_KERNEL_REFERENCE_COUNT: cl_kernel_info = 0x1192;
const CL_KERNEL_CONTEXT: cl_kernel_info = 0x1193;
const CL_KERNEL_PROGRAM: cl_kernel_info = 0x1194;
const CL_KERNEL_WORK_GROUP_SIZE: cl_kernel_info = 0x11B0;

const CL_KERNEL_ARG_ADDRESS_QUALIFIER: cl_kernel_arg_info = 0x1196;
const CL_KERNEL_ARG_ACCESS_QUALIFIER: cl_kernel_arg_info = 0x1197;
const CL_KERNEL_ARG_TYPE_NAME: cl_kernel_arg_info = 0x1198;
const CL_KERNEL_ARG_TYPE_QUALIFIER: cl_kernel_arg_info = 0x1199;
const CL_KERNEL_ARG_NAME: cl_kernel_arg_info = 0x119A;

// Where arguments of kernels lie
const CL_KERNEL_ARG_ADDRESS_GLOBAL: cl_uint = 0x119B;
const CL_KERNEL_ARG_ADDRESS_LOCAL: cl_uint = 0x119C;
const CL_KERNEL_ARG_ADDRESS_CONSTANT: cl_uint = 0x119D;
const CL_KERNEL_ARG_ADDRESS_PRIVATE: cl_uint = 0x119E;

// What events tell
const CL_EVENT_COMMAND_QUEUE: cl_event_info = 0x11D0;
const CL_EVENT_COMMAND_TYPE: cl_event_info = 0x11D1;
const CL_EVENT_REFERENCE_COUNT: cl_event_info = 0x11D2;
const CL_EVENT_COMMAND_EXECUTION_STATUS: cl_event_info = 0x11D3;
const CL_EVENT_CONTEXT: cl_event_info = 0x11D4;

// What commands are
const CL_COMMAND_MAP_IMAGE: cl_uint = 0x11FC;
const CL_COMMAND_READ_BUFFER: cl_uint = 0x11F3;
const CL_COMMAND_WRITE_BUFFER: cl_uint = 0x11F4;
const CL_COMMAND_MAP_BUFFER: cl_uint = 0x11FB;
const CL_COMMAND_UNMAP_MEM_OBJECT: cl_uint = 0x11FD;
const CL_COMMAND_MARKER: cl_uint = 0x11FE;
const CL_COMMAND_USER: cl_uint = 0x1204;

// Times of a command
const CL_PROFILING_COMMAND_QUEUED: cl_profiling_info = 0x1280;
const CL_PROFILING_COMMAND_SUBMIT: cl_profiling_info = 0x1281;
const CL_PROFILING_COMMAND_START: cl_profiling_info = 0x1282;
const CL_PROFILING_COMMAND_END: cl_profiling_info = 0x1283;
const CL_PROFILING_COMMAND_COMPLETE: cl_profiling_info = 0x1284;

// What an image's elements are made of
const CL_R: cl_channel_order = 0x10B0;
const CL_A: cl_channel_order = 0x10B1;
const CL_RG: cl_channel_order = 0x10B2;
const CL_RA: cl_channel_order = 0x10B3;
const CL_RGB: cl_channel_order = 0x10B4;
const CL_RGBA: cl_channel_order = 0x10B5;
const CL_BGRA: cl_channel_order = 0x10B6;
const CL_ARGB: cl_channel_order = 0x10B7;
const CL_INTENSITY: cl_channel_order = 0x10B8;
const CL_LUMINANCE: cl_channel_order = 0x10B9;
const CL_DEPTH: cl_channel_order = 0x10BD;
const CL_sRGBA: cl_channel_order = 0x10C1;
const CL_sBGRA: cl_channel_order = 0x10C2;
const CL_ABGR: cl_channel_order = 0x10C3;
const CL_SNORM_INT8: cl_channel_type = 0x10D0;
const CL_SNORM_INT16: cl_channel_type = 0x10D1;
const CL_UNORM_INT8: cl_channel_type = 0x10D2;
const CL_UNORM_INT16: cl_channel_type = 0x10D3;
const CL_UNORM_SHORT_565: cl_channel_type = 0x10D4;
const CL_UNORM_SHORT_555: cl_channel_type = 0x10D5;
const CL_UNORM_INT_101010: cl_channel_type = 0x10D6;
const CL_SIGNED_INT8: cl_channel_type = 0x10D7;
const CL_SIGNED_INT16: cl_channel_type = 0x10D8;
const CL_SIGNED_INT32: cl_channel_type = 0x10D9;
const CL_UNSIGNED_INT8: cl_channel_type = 0x10DA;
const CL_UNSIGNED_INT16: cl_channel_type = 0x10DB;
const CL_UNSIGNED_INT32: cl_channel_type = 0x10DC;
const CL_HALF_FLOAT: cl_channel_type = 0x10DD;
const CL_FLOAT: cl_channel_type = 0x10DE;
const CL_UNORM_INT_101010_2: cl_channel_type = 0x10E0;

// Kinds of memory objects
const CL_MEM_OBJECT_IMAGE2D: cl_mem_object_type = 0x10F1;
const CL_MEM_OBJECT_IMAGE3D: cl_mem_object_type = 0x10F2;
const CL_MEM_OBJECT_IMAGE2D_ARRAY: cl_mem_object_type = 0x10F3;
const CL_MEM_OBJECT_IMAGE1D: cl_mem_object_type = 0x10F4;
const CL_MEM_OBJECT_IMAGE1D_ARRAY: cl_mem_object_type = 0x10F5;
const CL_MEM_OBJECT_IMAGE1D_BUFFER: cl_mem_object_type = 0x10F6;
const CL_MEM_OBJECT_PIPE: cl_mem_object_type = 0x10F7;

// What images tell
const CL_IMAGE_FORMAT: cl_image_info = 0x1110;
const CL_IMAGE_ELEMENT_SIZE: cl_image_info = 0x1111;
const CL_IMAGE_ROW_PITCH: cl_image_info = 0x1112;
const CL_IMAGE_SLICE_PITCH: cl_image_info = 0x1113;
const CL_IMAGE_WIDTH: cl_image_info = 0x1114;
const CL_IMAGE_HEIGHT: cl_image_info = 0x1115;
const CL_IMAGE_DEPTH: cl_image_info = 0x1116;
const CL_IMAGE_ARRAY_SIZE: cl_image_info = 0x1117;
const CL_IMAGE_BUFFER: cl_image_info = 0x1118;

// What samplers tell
const CL_SAMPLER_CONTEXT: cl_sampler_info = 0x1151;

#[handle(CL_INVALID_PLATFORM)]
type cl_platform_id = *mut c_void;
#[handle(CL_INVALID_DEVICE)]
type cl_device_id = *mut c_void;
#[handle(CL_INVALID_CONTEXT)]
type cl_context = *mut c_void;
#[handle(CL_INVALID_COMMAND_QUEUE)]
type cl_command_queue = *mut c_void;
#[handle(CL_INVALID_MEM_OBJECT)]
type cl_mem = *mut c_void;
#[handle(CL_INVALID_SAMPLER)]
type cl_sampler = *mut c_void;
#[handle(CL_INVALID_PROGRAM)]
type cl_program = *mut c_void;
#[handle(CL_INVALID_KERNEL)]
type cl_kernel = *mut c_void;
#[handle(CL_INVALID_EVENT)]
type cl_event = *mut c_void;

#[repr(C)]
struct cl_image_desc {
    image_type: cl_mem_object_type,
    image_width: usize,
    image_height: usize,
    image_depth: usize,
    image_array_size: usize,
    image_row_pitch: usize,
    image_slice_pitch: usize,
    num_mip_levels: cl_uint,
    num_samples: cl_uint,
    mem_object: cl_mem,
}

// What is kept with memory objects. With a buffer: its size times 256, or 0 if the host may not use
// it freely. With an image: bytes of an element (31: not known), plus 32 for one that has depths, plus
// 128 for an array of lines.

const fn buffer(size: usize, flags: cl_mem_flags) -> usize {
    match flags & (CL_MEM_HOST_WRITE_ONLY | CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_NO_ACCESS) {
        0 => size << 8,
        _ => 0,
    }
}

const fn channels(order: cl_channel_order) -> usize {
    match order {
        CL_R | CL_A | CL_INTENSITY | CL_LUMINANCE | CL_DEPTH => 1,
        CL_RG | CL_RA => 2,
        CL_RGBA | CL_BGRA | CL_ARGB | CL_ABGR | CL_sRGBA | CL_sBGRA => 4,
        _ => 31,
    }
}

const fn element(order: cl_channel_order, data_type: cl_channel_type) -> usize {
    match data_type {
        CL_SNORM_INT8 | CL_UNORM_INT8 | CL_SIGNED_INT8 | CL_UNSIGNED_INT8 => channels(order),
        CL_SNORM_INT16 | CL_UNORM_INT16 | CL_SIGNED_INT16 | CL_UNSIGNED_INT16 | CL_HALF_FLOAT => {
            (2 * channels(order)).min(31)
        }
        CL_SIGNED_INT32 | CL_UNSIGNED_INT32 | CL_FLOAT => (4 * channels(order)).min(31),
        CL_UNORM_SHORT_565 | CL_UNORM_SHORT_555 => 2,
        CL_UNORM_INT_101010 | CL_UNORM_INT_101010_2 => 4,
        _ => 31,
    }
}

const fn image(
    kind: cl_mem_object_type,
    order: cl_channel_order,
    data_type: cl_channel_type,
) -> usize {
    element(order, data_type)
        + (if order == CL_DEPTH { 32 } else { 0 })
        + (if kind == CL_MEM_OBJECT_IMAGE1D_ARRAY {
            128
        } else {
            0
        })
}

/// Bytes of a row, rows and slices in the program's memory.
const fn row(kept: usize, width: usize) -> usize {
    if kept & 31 == 31 {
        panic!()
    } else {
        (kept & 31) * width
    }
}
const fn rows(kept: usize, height: usize) -> usize {
    if kept & 128 == 0 { height } else { 1 }
}
const fn slices(kept: usize, height: usize, depth: usize) -> usize {
    if kept & 128 == 0 { depth } else { height }
}

/// Rows and slices of a new image.
const fn image_rows(kind: cl_mem_object_type, height: usize) -> usize {
    match kind {
        CL_MEM_OBJECT_IMAGE2D | CL_MEM_OBJECT_IMAGE3D | CL_MEM_OBJECT_IMAGE2D_ARRAY => height,
        _ => 1,
    }
}
const fn image_slices(kind: cl_mem_object_type, depth: usize, array_size: usize) -> usize {
    match kind {
        CL_MEM_OBJECT_IMAGE3D => depth,
        CL_MEM_OBJECT_IMAGE1D_ARRAY | CL_MEM_OBJECT_IMAGE2D_ARRAY => array_size,
        _ => 1,
    }
}

/// The host cannot work in the program's memory: an object that is to use it begins as its copy.
const fn copied(flags: cl_mem_flags) -> cl_mem_flags {
    match flags & (CL_MEM_USE_HOST_PTR | CL_MEM_COPY_HOST_PTR | CL_MEM_ALLOC_HOST_PTR) {
        CL_MEM_USE_HOST_PTR => flags ^ CL_MEM_USE_HOST_PTR | CL_MEM_COPY_HOST_PTR,
        _ => flags,
    }
}
const fn used(flags: cl_mem_flags, size: usize) -> usize {
    if flags & (CL_MEM_USE_HOST_PTR | CL_MEM_COPY_HOST_PTR) == 0 {
        0
    } else {
        size
    }
}

/// Whether a transfer lies inside of a buffer that the host may use freely.
const fn inside(offset: usize, size: usize, kept: usize) -> bool {
    size > 0 && offset + size <= kept >> 8
}
/// Whether there is a list if there is something in it, and only then.
const fn listed(count: cl_uint, is_null: bool) -> bool {
    (count == 0) == is_null
}

unsafe extern "C" {
    /// What a parameter of one of these names and types is where it says nothing else.
    #[common]
    fn parameters(
        #[error] errcode_ret: *mut cl_int,
        #[arg(len(num_events_in_wait_list), optional, invalid(CL_INVALID_EVENT_WAIT_LIST))]
        event_wait_list: *const cl_event,
        #[arg(new(parent = command_queue), optional)] event: *mut cl_event,
        #[arg(len(param_value_size), written(*param_value_size_ret), optional)]
        param_value: *mut c_void,
        #[arg(len(1), optional)] param_value_size_ret: *mut usize,
        #[len(num_devices)] device_list: *const cl_device_id,
        #[user_data] user_data: *mut c_void,
        #[arg(len(3), optional)] src_origin: *const usize,
        #[arg(len(3), optional)] dst_origin: *const usize,
        #[arg(len(3), optional)] buffer_origin: *const usize,
        #[arg(len(3), optional)] region: *const usize,
        #[arg(len(3), optional)] host_origin: *const usize,
        #[arg(len(3), optional)] origin: *const usize,
        #[passed_as(copied(flags))] flags: cl_mem_flags,
        #[arg(len(1), optional)] image_format: *const cl_image_format,
        #[arg(len(1), optional)] image_desc: *const cl_image_desc,
        #[arg(input, optional, lent(flags & CL_MEM_USE_HOST_PTR != 0), shaped(
            used(flags, row(element(image_format.image_channel_order, image_format.image_channel_data_type), image_desc.image_width)),
            image_rows(image_desc.image_type, image_desc.image_height),
            image_slices(image_desc.image_type, image_desc.image_depth, image_desc.image_array_size),
            image_desc.image_row_pitch,
            image_desc.image_slice_pitch,
            invalid = CL_INVALID_IMAGE_DESCRIPTOR,
        ))]
        host_ptr: *mut c_void,
        #[arg(len(work_dim), optional)] global_work_offset: *const usize,
        #[arg(len(work_dim), optional)] global_work_size: *const usize,
        #[arg(len(work_dim), optional)] local_work_size: *const usize,
    );

    // OpenCL 1.0

    #[by_hand(worker)]
    fn clGetPlatformIDs(
        num_entries: cl_uint,
        #[arg(found(num_entries), optional)] platforms: *mut cl_platform_id,
        #[arg(len(1), optional)] num_platforms: *mut cl_uint,
    ) -> cl_int;

    #[call(cached, by_hand(worker))]
    fn clGetPlatformInfo(
        platform: cl_platform_id,
        param_name: cl_platform_info,
        param_value_size: usize,
        param_value: *mut c_void,
        param_value_size_ret: *mut usize,
    ) -> cl_int;

    #[by_hand(worker)]
    fn clGetDeviceIDs(
        platform: cl_platform_id,
        device_type: cl_device_type,
        num_entries: cl_uint,
        #[arg(found(num_entries), optional)] devices: *mut cl_device_id,
        #[arg(len(1), optional)] num_devices: *mut cl_uint,
    ) -> cl_int;

    #[call(cached(param_name != CL_DEVICE_REFERENCE_COUNT), by_hand(worker))]
    fn clGetDeviceInfo(
        device: cl_device_id,
        param_name: cl_device_info,
        param_value_size: usize,
        #[arg(len(param_value_size), written(*param_value_size_ret), optional, answers(param_name: CL_DEVICE_PLATFORM = cl_platform_id, CL_DEVICE_PARENT_DEVICE = cl_device_id))]
        param_value: *mut c_void,
        param_value_size_ret: *mut usize,
    ) -> cl_int;

    #[new]
    fn clCreateContext(
        #[arg(properties(CL_CONTEXT_PLATFORM = cl_platform_id), optional)]
        properties: *const cl_context_properties,
        num_devices: cl_uint,
        #[len(num_devices)] devices: *const cl_device_id,
        #[callback(never)] pfn_notify: Option<
            unsafe extern "C" fn(*const c_char, *const c_void, usize, *mut c_void),
        >,
        user_data: *mut c_void,
        errcode_ret: *mut cl_int,
    ) -> cl_context;

    #[local]
    fn clCreateContextFromType(
        properties: *const cl_context_properties,
        device_type: cl_device_type,
        pfn_notify: Option<unsafe extern "C" fn(*const c_char, *const c_void, usize, *mut c_void)>,
        user_data: *mut c_void,
        errcode_ret: *mut cl_int,
    ) -> cl_context;

    #[call(queued, retains(context))]
    fn clRetainContext(context: cl_context) -> cl_int;

    #[call(queued, releases(context))]
    fn clReleaseContext(context: cl_context) -> cl_int;

    fn clGetContextInfo(
        context: cl_context,
        param_name: cl_context_info,
        param_value_size: usize,
        #[arg(len(param_value_size), written(*param_value_size_ret), optional, answers(param_name: CL_CONTEXT_DEVICES = cl_device_id, CL_CONTEXT_PROPERTIES = properties(CL_CONTEXT_PLATFORM = cl_platform_id)))]
        param_value: *mut c_void,
        param_value_size_ret: *mut usize,
    ) -> cl_int;

    #[call(new(parent = context), by_hand(worker))]
    fn clCreateCommandQueue(
        context: cl_context,
        device: cl_device_id,
        properties: cl_command_queue_properties,
        errcode_ret: *mut cl_int,
    ) -> cl_command_queue;

    #[call(queued, retains(command_queue))]
    fn clRetainCommandQueue(command_queue: cl_command_queue) -> cl_int;

    #[call(queued, releases(command_queue))]
    fn clReleaseCommandQueue(command_queue: cl_command_queue) -> cl_int;

    #[by_hand(worker)]
    fn clGetCommandQueueInfo(
        command_queue: cl_command_queue,
        param_name: cl_command_queue_info,
        param_value_size: usize,
        #[arg(len(param_value_size), written(*param_value_size_ret), optional, answers(param_name: CL_QUEUE_CONTEXT = cl_context, CL_QUEUE_DEVICE = cl_device_id, CL_QUEUE_DEVICE_DEFAULT = cl_command_queue))]
        param_value: *mut c_void,
        param_value_size_ret: *mut usize,
    ) -> cl_int;

    #[unsupported]
    fn clSetCommandQueueProperty(
        command_queue: cl_command_queue,
        properties: cl_command_queue_properties,
        enable: cl_bool,
        old_properties: *mut cl_command_queue_properties,
    ) -> cl_int;

    #[call(new(parent = context), holds(size, too_large = CL_INVALID_BUFFER_SIZE), keeps(buffer(size, flags)))]
    fn clCreateBuffer(
        context: cl_context,
        flags: cl_mem_flags,
        size: usize,
        #[arg(input, len(used(flags, size)), bulk, optional, lent(flags & CL_MEM_USE_HOST_PTR != 0))]
        host_ptr: *mut c_void,
        errcode_ret: *mut cl_int,
    ) -> cl_mem;

    #[call(
        new(parent = context),
        keeps(image(CL_MEM_OBJECT_IMAGE2D, image_format.image_channel_order, image_format.image_channel_data_type)),
        holds(element(image_format.image_channel_order, image_format.image_channel_data_type) * image_width * image_height)
    )]
    fn clCreateImage2D(
        context: cl_context,
        flags: cl_mem_flags,
        image_format: *const cl_image_format,
        image_width: usize,
        image_height: usize,
        image_row_pitch: usize,
        #[arg(input, optional, lent(flags & CL_MEM_USE_HOST_PTR != 0), shaped(
            used(flags, row(element(image_format.image_channel_order, image_format.image_channel_data_type), image_width)), image_height, 1, image_row_pitch, 0, invalid = CL_INVALID_IMAGE_SIZE,
        ))]
        host_ptr: *mut c_void,
        errcode_ret: *mut cl_int,
    ) -> cl_mem;

    #[call(
        new(parent = context),
        keeps(image(CL_MEM_OBJECT_IMAGE3D, image_format.image_channel_order, image_format.image_channel_data_type)),
        holds(element(image_format.image_channel_order, image_format.image_channel_data_type) * image_width * image_height * image_depth)
    )]
    fn clCreateImage3D(
        context: cl_context,
        flags: cl_mem_flags,
        image_format: *const cl_image_format,
        image_width: usize,
        image_height: usize,
        image_depth: usize,
        image_row_pitch: usize,
        image_slice_pitch: usize,
        #[arg(input, optional, lent(flags & CL_MEM_USE_HOST_PTR != 0), shaped(
            used(flags, row(element(image_format.image_channel_order, image_format.image_channel_data_type), image_width)), image_height, image_depth, image_row_pitch, image_slice_pitch,
            invalid = CL_INVALID_IMAGE_SIZE,
        ))]
        host_ptr: *mut c_void,
        errcode_ret: *mut cl_int,
    ) -> cl_mem;

    #[call(queued, retains(memobj))]
    fn clRetainMemObject(memobj: cl_mem) -> cl_int;

    #[call(queued, releases(memobj))]
    fn clReleaseMemObject(memobj: cl_mem) -> cl_int;

    fn clGetSupportedImageFormats(
        context: cl_context,
        flags: cl_mem_flags,
        image_type: cl_mem_object_type,
        num_entries: cl_uint,
        #[arg(len(num_entries), written(*num_image_formats * size_of::<cl_image_format>()), optional)]
        image_formats: *mut cl_image_format,
        #[arg(len(1), optional)] num_image_formats: *mut cl_uint,
    ) -> cl_int;

    #[by_hand(guest, worker)]
    fn clGetMemObjectInfo(
        memobj: cl_mem,
        param_name: cl_mem_info,
        param_value_size: usize,
        #[arg(len(param_value_size), written(*param_value_size_ret), optional, answers(param_name: CL_MEM_CONTEXT = cl_context, CL_MEM_ASSOCIATED_MEMOBJECT = cl_mem))]
        param_value: *mut c_void,
        param_value_size_ret: *mut usize,
    ) -> cl_int;

    fn clGetImageInfo(
        image: cl_mem,
        param_name: cl_image_info,
        param_value_size: usize,
        #[arg(len(param_value_size), written(*param_value_size_ret), optional, answers(param_name: CL_IMAGE_BUFFER = cl_mem))]
        param_value: *mut c_void,
        param_value_size_ret: *mut usize,
    ) -> cl_int;

    #[new(parent = context)]
    fn clCreateSampler(
        context: cl_context,
        normalized_coords: cl_bool,
        addressing_mode: cl_addressing_mode,
        filter_mode: cl_filter_mode,
        errcode_ret: *mut cl_int,
    ) -> cl_sampler;

    #[call(queued, retains(sampler))]
    fn clRetainSampler(sampler: cl_sampler) -> cl_int;

    #[call(queued, releases(sampler))]
    fn clReleaseSampler(sampler: cl_sampler) -> cl_int;

    fn clGetSamplerInfo(
        sampler: cl_sampler,
        param_name: cl_sampler_info,
        param_value_size: usize,
        #[arg(len(param_value_size), written(*param_value_size_ret), optional, answers(param_name: CL_SAMPLER_CONTEXT = cl_context))]
        param_value: *mut c_void,
        param_value_size_ret: *mut usize,
    ) -> cl_int;

    // What becomes of it when it is built is estimated.
    #[call(new(parent = context), holds(8 * bytes(strings), too_large = CL_OUT_OF_RESOURCES))]
    fn clCreateProgramWithSource(
        context: cl_context,
        count: cl_uint,
        #[arg(strings(count, lengths), includes)] strings: *mut *const c_char,
        #[lengths] lengths: *const usize,
        errcode_ret: *mut cl_int,
    ) -> cl_program;

    #[call(new(parent = context), holds(2 * bytes(binaries), too_large = CL_OUT_OF_RESOURCES))]
    fn clCreateProgramWithBinary(
        context: cl_context,
        num_devices: cl_uint,
        device_list: *const cl_device_id,
        #[lengths] lengths: *const usize,
        #[strings(num_devices, lengths)] binaries: *mut *const c_uchar,
        #[arg(len(num_devices), optional)] binary_status: *mut cl_int,
        errcode_ret: *mut cl_int,
    ) -> cl_program;

    #[call(queued, retains(program))]
    fn clRetainProgram(program: cl_program) -> cl_int;

    #[call(queued, releases(program))]
    fn clReleaseProgram(program: cl_program) -> cl_int;

    #[blocks]
    fn clBuildProgram(
        program: cl_program,
        num_devices: cl_uint,
        #[arg(len(num_devices), optional)] device_list: *const cl_device_id,
        #[arg(string, folders, optional)] options: *const c_char,
        #[callback(after)] pfn_notify: Option<unsafe extern "C" fn(cl_program, *mut c_void)>,
        user_data: *mut c_void,
    ) -> cl_int;

    #[ignored]
    fn clUnloadCompiler() -> cl_int;

    #[by_hand(guest, worker)]
    fn clGetProgramInfo(
        program: cl_program,
        param_name: cl_program_info,
        param_value_size: usize,
        #[arg(len(param_value_size), written(*param_value_size_ret), optional, answers(param_name: CL_PROGRAM_CONTEXT = cl_context, CL_PROGRAM_DEVICES = cl_device_id))]
        param_value: *mut c_void,
        param_value_size_ret: *mut usize,
    ) -> cl_int;

    fn clGetProgramBuildInfo(
        program: cl_program,
        device: cl_device_id,
        param_name: cl_program_build_info,
        param_value_size: usize,
        #[arg(len(param_value_size), written(*param_value_size_ret), optional, answers(param_name: CL_PROGRAM_BUILD_OPTIONS = text, CL_PROGRAM_BUILD_LOG = text))]
        param_value: *mut c_void,
        param_value_size_ret: *mut usize,
    ) -> cl_int;

    #[new(parent = program)]
    fn clCreateKernel(
        program: cl_program,
        #[string] kernel_name: *const c_char,
        errcode_ret: *mut cl_int,
    ) -> cl_kernel;

    fn clCreateKernelsInProgram(
        program: cl_program,
        num_kernels: cl_uint,
        #[arg(new(parent = program), len(num_kernels), optional)] kernels: *mut cl_kernel,
        #[arg(len(1), optional)] num_kernels_ret: *mut cl_uint,
    ) -> cl_int;

    #[call(queued, retains(kernel))]
    fn clRetainKernel(kernel: cl_kernel) -> cl_int;

    #[call(queued, releases(kernel))]
    fn clReleaseKernel(kernel: cl_kernel) -> cl_int;

    #[call(repeats, sets(kernel, arg_index), by_hand(worker))]
    fn clSetKernelArg(
        kernel: cl_kernel,
        arg_index: cl_uint,
        arg_size: usize,
        #[arg(handle_or_bytes(arg_size, cl_mem, cl_sampler, cl_command_queue), optional)]
        arg_value: *const c_void,
    ) -> cl_int;

    fn clGetKernelInfo(
        kernel: cl_kernel,
        param_name: cl_kernel_info,
        param_value_size: usize,
        #[arg(len(param_value_size), written(*param_value_size_ret), optional, answers(param_name: CL_KERNEL_CONTEXT = cl_context, CL_KERNEL_PROGRAM = cl_program))]
        param_value: *mut c_void,
        param_value_size_ret: *mut usize,
    ) -> cl_int;

    #[cached]
    fn clGetKernelWorkGroupInfo(
        kernel: cl_kernel,
        #[optional] device: cl_device_id,
        param_name: cl_kernel_work_group_info,
        param_value_size: usize,
        param_value: *mut c_void,
        param_value_size_ret: *mut usize,
    ) -> cl_int;

    #[blocks]
    fn clWaitForEvents(
        num_events: cl_uint,
        #[len(num_events)] event_list: *const cl_event,
    ) -> cl_int;

    #[by_hand(worker)]
    fn clGetEventInfo(
        event: cl_event,
        param_name: cl_event_info,
        param_value_size: usize,
        #[arg(len(param_value_size), written(*param_value_size_ret), optional, answers(param_name: CL_EVENT_COMMAND_QUEUE = cl_command_queue, CL_EVENT_CONTEXT = cl_context))]
        param_value: *mut c_void,
        param_value_size_ret: *mut usize,
    ) -> cl_int;

    #[call(queued, retains(event))]
    fn clRetainEvent(event: cl_event) -> cl_int;

    #[call(queued, releases(event))]
    fn clReleaseEvent(event: cl_event) -> cl_int;

    #[by_hand(worker)]
    fn clGetEventProfilingInfo(
        event: cl_event,
        param_name: cl_profiling_info,
        param_value_size: usize,
        param_value: *mut c_void,
        param_value_size_ret: *mut usize,
    ) -> cl_int;

    #[call(queued, submits)]
    fn clFlush(command_queue: cl_command_queue) -> cl_int;

    #[blocks]
    fn clFinish(command_queue: cl_command_queue) -> cl_int;

    #[call(
        queued(blocking_read == 0 && !ptr.is_null() && inside(offset, cb, kept(buffer))
            && listed(num_events_in_wait_list, event_wait_list.is_null())
            && related(command_queue, buffer, event_wait_list)),
        blocks(blocking_read), device_time, split(offset, cb, blocking_read)
    )]
    fn clEnqueueReadBuffer(
        command_queue: cl_command_queue,
        buffer: cl_mem,
        blocking_read: cl_bool,
        offset: usize,
        cb: usize,
        #[arg(len(cb), bulk, optional)] ptr: *mut c_void,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[call(
        queued(blocking_write == 0 && !ptr.is_null() && inside(offset, cb, kept(buffer))
            && listed(num_events_in_wait_list, event_wait_list.is_null())
            && related(command_queue, buffer, event_wait_list)),
        blocks(blocking_write), device_time, split(offset, cb, blocking_write)
    )]
    fn clEnqueueWriteBuffer(
        command_queue: cl_command_queue,
        buffer: cl_mem,
        blocking_write: cl_bool,
        offset: usize,
        cb: usize,
        #[arg(len(cb), bulk, optional)] ptr: *const c_void,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[call(
        queued(inside(src_offset, cb, kept(src_buffer)) && inside(dst_offset, cb, kept(dst_buffer))
            && (src_offset + cb <= dst_offset || dst_offset + cb <= src_offset)
            && listed(num_events_in_wait_list, event_wait_list.is_null())
            && related(command_queue, src_buffer, dst_buffer, event_wait_list)),
        device_time
    )]
    fn clEnqueueCopyBuffer(
        command_queue: cl_command_queue,
        src_buffer: cl_mem,
        dst_buffer: cl_mem,
        src_offset: usize,
        dst_offset: usize,
        cb: usize,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[call(blocks(blocking_read), device_time)]
    fn clEnqueueReadImage(
        command_queue: cl_command_queue,
        image: cl_mem,
        blocking_read: cl_bool,
        origin: *const usize,
        region: *const usize,
        row_pitch: usize,
        slice_pitch: usize,
        #[arg(optional, shaped(row(kept(image), region[0]), rows(kept(image), region[1]), slices(kept(image), region[1], region[2]), row_pitch, slice_pitch))]
        ptr: *mut c_void,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[call(blocks(blocking_write), device_time)]
    fn clEnqueueWriteImage(
        command_queue: cl_command_queue,
        image: cl_mem,
        blocking_write: cl_bool,
        origin: *const usize,
        region: *const usize,
        input_row_pitch: usize,
        input_slice_pitch: usize,
        #[arg(optional, shaped(row(kept(image), region[0]), rows(kept(image), region[1]), slices(kept(image), region[1], region[2]), input_row_pitch, input_slice_pitch))]
        ptr: *const c_void,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[device_time]
    fn clEnqueueCopyImage(
        command_queue: cl_command_queue,
        src_image: cl_mem,
        dst_image: cl_mem,
        src_origin: *const usize,
        dst_origin: *const usize,
        region: *const usize,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[device_time]
    fn clEnqueueCopyImageToBuffer(
        command_queue: cl_command_queue,
        src_image: cl_mem,
        dst_buffer: cl_mem,
        src_origin: *const usize,
        region: *const usize,
        dst_offset: usize,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[device_time]
    fn clEnqueueCopyBufferToImage(
        command_queue: cl_command_queue,
        src_buffer: cl_mem,
        dst_image: cl_mem,
        src_offset: usize,
        dst_origin: *const usize,
        region: *const usize,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[call(blocks(blocking_map), device_time, by_hand(guest, worker))]
    fn clEnqueueMapBuffer(
        command_queue: cl_command_queue,
        buffer: cl_mem,
        blocking_map: cl_bool,
        map_flags: cl_map_flags,
        offset: usize,
        cb: usize,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
        errcode_ret: *mut cl_int,
        #[arg(extra, len(cb), bulk)] data: *mut c_void,
    ) -> *mut c_void;

    #[call(blocks(blocking_map), device_time, by_hand(guest, worker))]
    fn clEnqueueMapImage(
        command_queue: cl_command_queue,
        image: cl_mem,
        blocking_map: cl_bool,
        map_flags: cl_map_flags,
        origin: *const usize,
        region: *const usize,
        #[guest_only] image_row_pitch: *mut usize,
        #[guest_only] image_slice_pitch: *mut usize,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
        errcode_ret: *mut cl_int,
        #[arg(extra, len(row(kept(image), region[0]) * region[1] * region[2]), bulk)]
        data: *mut c_void,
    ) -> *mut c_void;

    #[call(queued, device_time, by_hand(guest, worker))]
    fn clEnqueueUnmapMemObject(
        command_queue: cl_command_queue,
        memobj: cl_mem,
        #[guest_only] mapped_ptr: *mut c_void,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
        #[arg(extra, len(3))] origin: *const usize,
        #[arg(extra, len(3))] region: *const usize,
        #[arg(extra, len((kept(memobj) & 31).max(1) * region[0] * region[1] * region[2]), bulk, optional)]
        data: *const c_void,
    ) -> cl_int;

    #[call(repeats, device_time)]
    fn clEnqueueNDRangeKernel(
        command_queue: cl_command_queue,
        kernel: cl_kernel,
        work_dim: cl_uint,
        global_work_offset: *const usize,
        global_work_size: *const usize,
        local_work_size: *const usize,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[call(repeats, device_time)]
    fn clEnqueueTask(
        command_queue: cl_command_queue,
        kernel: cl_kernel,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[unsupported]
    fn clEnqueueNativeKernel(
        command_queue: cl_command_queue,
        user_func: Option<unsafe extern "C" fn(*mut c_void)>,
        args: *mut c_void,
        cb_args: usize,
        num_mem_objects: cl_uint,
        mem_list: *const cl_mem,
        args_mem_loc: *mut *const c_void,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[repeats]
    fn clEnqueueMarker(
        command_queue: cl_command_queue,
        #[new(parent = command_queue)] event: *mut cl_event,
    ) -> cl_int;

    #[repeats]
    fn clEnqueueWaitForEvents(
        command_queue: cl_command_queue,
        num_events: cl_uint,
        #[len(num_events)] event_list: *const cl_event,
    ) -> cl_int;

    #[repeats]
    fn clEnqueueBarrier(command_queue: cl_command_queue) -> cl_int;

    #[call(finds(function_name), exported)]
    fn clGetExtensionFunctionAddress(function_name: *const c_char) -> *mut c_void;

    #[unsupported]
    fn clCreateFromGLBuffer(
        context: cl_context,
        flags: cl_mem_flags,
        bufobj: cl_GLuint,
        errcode_ret: *mut c_int,
    ) -> cl_mem;

    #[unsupported]
    fn clCreateFromGLTexture2D(
        context: cl_context,
        flags: cl_mem_flags,
        target: cl_GLenum,
        miplevel: cl_GLint,
        texture: cl_GLuint,
        errcode_ret: *mut cl_int,
    ) -> cl_mem;

    #[unsupported]
    fn clCreateFromGLTexture3D(
        context: cl_context,
        flags: cl_mem_flags,
        target: cl_GLenum,
        miplevel: cl_GLint,
        texture: cl_GLuint,
        errcode_ret: *mut cl_int,
    ) -> cl_mem;

    #[unsupported]
    fn clCreateFromGLRenderbuffer(
        context: cl_context,
        flags: cl_mem_flags,
        renderbuffer: cl_GLuint,
        errcode_ret: *mut cl_int,
    ) -> cl_mem;

    #[unsupported]
    fn clGetGLObjectInfo(
        memobj: cl_mem,
        gl_object_type: *mut cl_gl_object_type,
        gl_object_name: *mut cl_GLuint,
    ) -> cl_int;

    #[unsupported]
    fn clGetGLTextureInfo(
        memobj: cl_mem,
        param_name: cl_gl_texture_info,
        param_value_size: usize,
        param_value: *mut c_void,
        param_value_size_ret: *mut usize,
    ) -> cl_int;

    #[unsupported]
    fn clEnqueueAcquireGLObjects(
        command_queue: cl_command_queue,
        num_objects: cl_uint,
        mem_objects: *const cl_mem,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[unsupported]
    fn clEnqueueReleaseGLObjects(
        command_queue: cl_command_queue,
        num_objects: cl_uint,
        mem_objects: *const cl_mem,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[unsupported]
    fn clGetGLContextInfoKHR(
        properties: *const cl_context_properties,
        param_name: cl_gl_context_info,
        param_value_size: usize,
        param_value: *mut c_void,
        param_value_size_ret: *mut usize,
    ) -> cl_int;

    // cl_khr_d3d10_sharing

    #[unsupported]
    fn clGetDeviceIDsFromD3D10KHR() -> cl_int;

    #[unsupported]
    fn clCreateFromD3D10BufferKHR() -> cl_int;

    #[unsupported]
    fn clCreateFromD3D10Texture2DKHR() -> cl_int;

    #[unsupported]
    fn clCreateFromD3D10Texture3DKHR() -> cl_int;

    #[unsupported]
    fn clEnqueueAcquireD3D10ObjectsKHR() -> cl_int;

    #[unsupported]
    fn clEnqueueReleaseD3D10ObjectsKHR() -> cl_int;

    // OpenCL 1.1

    #[local]
    fn clSetEventCallback(
        event: cl_event,
        command_exec_callback_type: cl_int,
        pfn_notify: Option<unsafe extern "C" fn(cl_event, cl_int, *mut c_void)>,
        user_data: *mut c_void,
    ) -> cl_int;

    #[call(new(parent = buffer), keeps(if kept(buffer) == 0 { 0 } else { buffer((buffer_create_info as *const cl_buffer_region).size, flags) }))]
    fn clCreateSubBuffer(
        buffer: cl_mem,
        flags: cl_mem_flags,
        buffer_create_type: cl_buffer_create_type,
        #[len(size_of::<cl_buffer_region>())] buffer_create_info: *const c_void,
        errcode_ret: *mut cl_int,
    ) -> cl_mem;

    #[at_end(memobj, pfn_notify, user_data)]
    fn clSetMemObjectDestructorCallback(
        memobj: cl_mem,
        pfn_notify: Option<unsafe extern "C" fn(cl_mem, *mut c_void)>,
        user_data: *mut c_void,
    ) -> cl_int;

    #[new(parent = context)]
    fn clCreateUserEvent(context: cl_context, errcode_ret: *mut cl_int) -> cl_event;

    fn clSetUserEventStatus(event: cl_event, execution_status: cl_int) -> cl_int;

    #[call(blocks(blocking_read), device_time)]
    fn clEnqueueReadBufferRect(
        command_queue: cl_command_queue,
        buffer: cl_mem,
        blocking_read: cl_bool,
        buffer_origin: *const usize,
        host_origin: *const usize,
        region: *const usize,
        buffer_row_pitch: usize,
        buffer_slice_pitch: usize,
        host_row_pitch: usize,
        host_slice_pitch: usize,
        #[arg(optional, shaped(region[0], region[1], region[2], host_row_pitch, host_slice_pitch, host_origin))]
        ptr: *mut c_void,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[call(blocks(blocking_write), device_time)]
    fn clEnqueueWriteBufferRect(
        command_queue: cl_command_queue,
        buffer: cl_mem,
        blocking_write: cl_bool,
        buffer_origin: *const usize,
        host_origin: *const usize,
        region: *const usize,
        buffer_row_pitch: usize,
        buffer_slice_pitch: usize,
        host_row_pitch: usize,
        host_slice_pitch: usize,
        #[arg(optional, shaped(region[0], region[1], region[2], host_row_pitch, host_slice_pitch, host_origin))]
        ptr: *const c_void,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[device_time]
    fn clEnqueueCopyBufferRect(
        command_queue: cl_command_queue,
        src_buffer: cl_mem,
        dst_buffer: cl_mem,
        src_origin: *const usize,
        dst_origin: *const usize,
        region: *const usize,
        src_row_pitch: usize,
        src_slice_pitch: usize,
        dst_row_pitch: usize,
        dst_slice_pitch: usize,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    // cl_ext_device_fission

    #[extension("cl_ext_device_fission")]
    fn clCreateSubDevicesEXT(
        in_device: cl_device_id,
        #[properties] partition_properties: *const cl_device_partition_property_ext,
        num_entries: cl_uint,
        #[arg(new(parent = in_device), len(num_entries), optional)] out_devices: *mut cl_device_id,
        #[arg(len(1), optional)] num_devices: *mut cl_uint,
    ) -> cl_int;

    #[call(queued, retains(device), extension("cl_ext_device_fission"))]
    fn clRetainDeviceEXT(device: cl_device_id) -> cl_int;

    #[call(queued, releases(device), extension("cl_ext_device_fission"))]
    fn clReleaseDeviceEXT(device: cl_device_id) -> cl_int;

    // cl_khr_gl_event

    #[unsupported]
    fn clCreateEventFromGLsyncKHR(
        context: cl_context,
        sync: cl_GLsync,
        errcode_ret: *mut cl_int,
    ) -> cl_event;

    // OpenCL 1.2

    fn clCreateSubDevices(
        in_device: cl_device_id,
        #[properties] partition_properties: *const cl_device_partition_property,
        num_entries: cl_uint,
        #[arg(new(parent = in_device), len(num_entries), optional)] out_devices: *mut cl_device_id,
        #[arg(len(1), optional)] num_devices: *mut cl_uint,
    ) -> cl_int;

    #[call(queued, retains(device))]
    fn clRetainDevice(device: cl_device_id) -> cl_int;

    #[call(queued, releases(device))]
    fn clReleaseDevice(device: cl_device_id) -> cl_int;

    #[call(
        new(parent = image_desc.mem_object | context),
        keeps(image(image_desc.image_type, image_format.image_channel_order, image_format.image_channel_data_type)),
        holds(if image_desc.mem_object.is_null() {
            element(image_format.image_channel_order, image_format.image_channel_data_type)
                * image_desc.image_width
                * image_rows(image_desc.image_type, image_desc.image_height)
                * image_slices(image_desc.image_type, image_desc.image_depth, image_desc.image_array_size)
        } else {
            0
        })
    )]
    fn clCreateImage(
        context: cl_context,
        flags: cl_mem_flags,
        image_format: *const cl_image_format,
        image_desc: *const cl_image_desc,
        host_ptr: *mut c_void,
        errcode_ret: *mut cl_int,
    ) -> cl_mem;

    #[new(parent = context)]
    fn clCreateProgramWithBuiltInKernels(
        context: cl_context,
        num_devices: cl_uint,
        device_list: *const cl_device_id,
        #[string] kernel_names: *const c_char,
        errcode_ret: *mut cl_int,
    ) -> cl_program;

    #[blocks]
    fn clCompileProgram(
        program: cl_program,
        num_devices: cl_uint,
        #[arg(len(num_devices), optional)] device_list: *const cl_device_id,
        #[arg(string, folders, optional)] options: *const c_char,
        num_input_headers: cl_uint,
        #[arg(len(num_input_headers), optional)] input_headers: *const cl_program,
        #[arg(strings(num_input_headers), optional)] header_include_names: *mut *const c_char,
        #[callback(after)] pfn_notify: Option<unsafe extern "C" fn(cl_program, *mut c_void)>,
        user_data: *mut c_void,
    ) -> cl_int;

    #[call(new(parent = context), blocks)]
    fn clLinkProgram(
        context: cl_context,
        num_devices: cl_uint,
        #[arg(len(num_devices), optional)] device_list: *const cl_device_id,
        #[arg(string, optional)] options: *const c_char,
        num_input_programs: cl_uint,
        #[arg(len(num_input_programs), optional)] input_programs: *const cl_program,
        #[callback(after)] pfn_notify: Option<unsafe extern "C" fn(cl_program, *mut c_void)>,
        user_data: *mut c_void,
        errcode_ret: *mut cl_int,
    ) -> cl_program;

    #[ignored]
    fn clUnloadPlatformCompiler(platform: cl_platform_id) -> cl_int;

    #[cached]
    fn clGetKernelArgInfo(
        kernel: cl_kernel,
        arg_indx: cl_uint,
        param_name: cl_kernel_arg_info,
        param_value_size: usize,
        param_value: *mut c_void,
        param_value_size_ret: *mut usize,
    ) -> cl_int;

    #[call(
        queued(inside(offset, cb, kept(buffer)) && !pattern.is_null()
            && match pattern_size { 1 | 2 | 4 | 8 | 16 | 32 | 64 | 128 => (offset | cb) & (pattern_size - 1) == 0, _ => 0 }
            && listed(num_events_in_wait_list, event_wait_list.is_null())
            && related(command_queue, buffer, event_wait_list)),
        device_time
    )]
    fn clEnqueueFillBuffer(
        command_queue: cl_command_queue,
        buffer: cl_mem,
        #[arg(len(pattern_size), optional)] pattern: *const c_void,
        pattern_size: usize,
        offset: usize,
        cb: usize,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[device_time]
    fn clEnqueueFillImage(
        command_queue: cl_command_queue,
        image: cl_mem,
        #[arg(len(if kept(image) & 32 == 0 { 16 } else { 4 }), optional)] fill_color: *const c_void,
        origin: *const usize,
        region: *const usize,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[device_time]
    fn clEnqueueMigrateMemObjects(
        command_queue: cl_command_queue,
        num_mem_objects: cl_uint,
        #[arg(len(num_mem_objects), optional)] mem_objects: *const cl_mem,
        flags: cl_mem_migration_flags,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[repeats]
    fn clEnqueueMarkerWithWaitList(
        command_queue: cl_command_queue,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[repeats]
    fn clEnqueueBarrierWithWaitList(
        command_queue: cl_command_queue,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[finds(function_name)]
    fn clGetExtensionFunctionAddressForPlatform(
        platform: cl_platform_id,
        function_name: *const c_char,
    ) -> *mut c_void;

    #[unsupported]
    fn clCreateFromGLTexture(
        context: cl_context,
        flags: cl_mem_flags,
        target: cl_GLenum,
        miplevel: cl_GLint,
        texture: cl_GLuint,
        errcode_ret: *mut cl_int,
    ) -> cl_mem;

    // cl_khr_d3d11_sharing, cl_khr_dx9_media_sharing

    #[unsupported]
    fn clGetDeviceIDsFromD3D11KHR() -> cl_int;

    #[unsupported]
    fn clCreateFromD3D11BufferKHR() -> cl_int;

    #[unsupported]
    fn clCreateFromD3D11Texture2DKHR() -> cl_int;

    #[unsupported]
    fn clCreateFromD3D11Texture3DKHR() -> cl_int;

    #[unsupported]
    fn clCreateFromDX9MediaSurfaceKHR() -> cl_int;

    #[unsupported]
    fn clEnqueueAcquireD3D11ObjectsKHR() -> cl_int;

    #[unsupported]
    fn clEnqueueReleaseD3D11ObjectsKHR() -> cl_int;

    #[unsupported]
    fn clGetDeviceIDsFromDX9MediaAdapterKHR() -> cl_int;

    #[unsupported]
    fn clEnqueueAcquireDX9MediaSurfacesKHR() -> cl_int;

    #[unsupported]
    fn clEnqueueReleaseDX9MediaSurfacesKHR() -> cl_int;

    // cl_khr_egl_image, cl_khr_egl_event

    #[unsupported]
    fn clCreateFromEGLImageKHR(
        context: cl_context,
        display: CLeglDisplayKHR,
        image: CLeglImageKHR,
        flags: cl_mem_flags,
        properties: *const cl_egl_image_properties_khr,
        errcode_ret: *mut cl_int,
    ) -> cl_mem;

    #[unsupported]
    fn clEnqueueAcquireEGLObjectsKHR(
        command_queue: cl_command_queue,
        num_objects: cl_uint,
        mem_objects: *const cl_mem,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[unsupported]
    fn clEnqueueReleaseEGLObjectsKHR(
        command_queue: cl_command_queue,
        num_objects: cl_uint,
        mem_objects: *const cl_mem,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[unsupported]
    fn clCreateEventFromEGLSyncKHR(
        context: cl_context,
        sync: CLeglSyncKHR,
        display: CLeglDisplayKHR,
        errcode_ret: *mut cl_int,
    ) -> cl_event;

    // OpenCL 2.0

    #[call(new(parent = context), by_hand(worker), extension("cl_khr_create_command_queue", clCreateCommandQueueWithPropertiesKHR))]
    fn clCreateCommandQueueWithProperties(
        context: cl_context,
        device: cl_device_id,
        #[arg(properties, optional)] properties: *const cl_queue_properties,
        errcode_ret: *mut cl_int,
    ) -> cl_command_queue;

    #[call(new(parent = context), holds(pipe_packet_size * pipe_max_packets))]
    fn clCreatePipe(
        context: cl_context,
        flags: cl_mem_flags,
        pipe_packet_size: cl_uint,
        pipe_max_packets: cl_uint,
        #[arg(properties, optional)] properties: *const cl_pipe_properties,
        errcode_ret: *mut cl_int,
    ) -> cl_mem;

    fn clGetPipeInfo(
        pipe: cl_mem,
        param_name: cl_pipe_info,
        param_value_size: usize,
        param_value: *mut c_void,
        param_value_size_ret: *mut usize,
    ) -> cl_int;

    #[unsupported]
    fn clSVMAlloc(
        context: cl_context,
        flags: cl_svm_mem_flags,
        size: usize,
        alignment: c_uint,
    ) -> *mut c_void;

    #[unsupported]
    fn clSVMFree(context: cl_context, svm_pointer: *mut c_void);

    #[unsupported]
    fn clEnqueueSVMFree(
        command_queue: cl_command_queue,
        num_svm_pointers: cl_uint,
        svm_pointers: *mut *mut c_void,
        pfn_free_func: Option<
            unsafe extern "C" fn(cl_command_queue, cl_uint, *mut *mut c_void, *mut c_void),
        >,
        user_data: *mut c_void,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[unsupported]
    fn clEnqueueSVMMemcpy(
        command_queue: cl_command_queue,
        blocking_copy: cl_bool,
        dst_ptr: *mut c_void,
        src_ptr: *const c_void,
        size: usize,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[unsupported]
    fn clEnqueueSVMMemFill(
        command_queue: cl_command_queue,
        svm_ptr: *mut c_void,
        pattern: *const c_void,
        pattern_size: usize,
        size: usize,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[unsupported]
    fn clEnqueueSVMMap(
        command_queue: cl_command_queue,
        blocking_map: cl_bool,
        map_flags: cl_map_flags,
        svm_ptr: *mut c_void,
        size: usize,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[unsupported]
    fn clEnqueueSVMUnmap(
        command_queue: cl_command_queue,
        svm_ptr: *mut c_void,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    #[new(parent = context)]
    fn clCreateSamplerWithProperties(
        context: cl_context,
        #[arg(properties, optional)] sampler_properties: *const cl_sampler_properties,
        errcode_ret: *mut cl_int,
    ) -> cl_sampler;

    #[unsupported]
    fn clSetKernelArgSVMPointer(
        kernel: cl_kernel,
        arg_index: cl_uint,
        arg_value: *const c_void,
    ) -> cl_int;

    #[unsupported]
    fn clSetKernelExecInfo(
        kernel: cl_kernel,
        param_name: cl_kernel_exec_info,
        param_value_size: usize,
        param_value: *const c_void,
    ) -> cl_int;

    // cl_khr_subgroups

    #[call(cached, extension("cl_khr_subgroups"))]
    fn clGetKernelSubGroupInfoKHR(
        in_kernel: cl_kernel,
        #[optional] in_device: cl_device_id,
        param_name: cl_kernel_sub_group_info,
        input_value_size: usize,
        #[arg(len(input_value_size), optional)] input_value: *const c_void,
        param_value_size: usize,
        param_value: *mut c_void,
        param_value_size_ret: *mut usize,
    ) -> cl_int;

    // OpenCL 2.1

    #[new(parent = source_kernel)]
    fn clCloneKernel(source_kernel: cl_kernel, errcode_ret: *mut cl_int) -> cl_kernel;

    #[call(new(parent = context), extension("cl_khr_il_program", clCreateProgramWithILKHR), holds(8 * length))]
    fn clCreateProgramWithIL(
        context: cl_context,
        #[len(length)] il: *const c_void,
        length: usize,
        errcode_ret: *mut cl_int,
    ) -> cl_program;

    #[unsupported]
    fn clEnqueueSVMMigrateMem(
        command_queue: cl_command_queue,
        num_svm_pointers: cl_uint,
        svm_pointers: *mut *const c_void,
        sizes: *const usize,
        flags: cl_mem_migration_flags,
        num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;

    // The host's timer is the vendor's on the real host, in both: they belong together.
    fn clGetDeviceAndHostTimer(
        device: cl_device_id,
        #[len(1)] device_timestamp: *mut cl_ulong,
        #[len(1)] host_timestamp: *mut cl_ulong,
    ) -> cl_int;

    fn clGetHostTimer(
        device: cl_device_id,
        #[len(1)] host_timestamp: *mut cl_ulong,
    ) -> cl_int;

    #[cached]
    fn clGetKernelSubGroupInfo(
        kernel: cl_kernel,
        #[optional] device: cl_device_id,
        param_name: cl_kernel_sub_group_info,
        input_value_size: usize,
        #[arg(len(input_value_size), optional)] input_value: *const c_void,
        param_value_size: usize,
        param_value: *mut c_void,
        param_value_size_ret: *mut usize,
    ) -> cl_int;

    fn clSetDefaultDeviceCommandQueue(
        context: cl_context,
        device: cl_device_id,
        command_queue: cl_command_queue,
    ) -> cl_int;

    // OpenCL 2.2

    #[at_end(program, pfn_notify, user_data)]
    fn clSetProgramReleaseCallback(
        program: cl_program,
        pfn_notify: Option<unsafe extern "C" fn(cl_program, *mut c_void)>,
        user_data: *mut c_void,
    ) -> cl_int;

    fn clSetProgramSpecializationConstant(
        program: cl_program,
        spec_id: cl_uint,
        spec_size: usize,
        #[len(spec_size)] spec_value: *const c_void,
    ) -> cl_int;

    // OpenCL 3.0

    #[call(new(parent = context), holds(size, too_large = CL_INVALID_BUFFER_SIZE), keeps(buffer(size, flags)))]
    fn clCreateBufferWithProperties(
        context: cl_context,
        #[arg(properties, optional)] properties: *const cl_mem_properties,
        flags: cl_mem_flags,
        size: usize,
        #[arg(input, len(used(flags, size)), bulk, optional, lent(flags & CL_MEM_USE_HOST_PTR != 0))]
        host_ptr: *mut c_void,
        errcode_ret: *mut cl_int,
    ) -> cl_mem;

    #[call(
        new(parent = image_desc.mem_object | context),
        keeps(image(image_desc.image_type, image_format.image_channel_order, image_format.image_channel_data_type)),
        holds(if image_desc.mem_object.is_null() {
            element(image_format.image_channel_order, image_format.image_channel_data_type)
                * image_desc.image_width
                * image_rows(image_desc.image_type, image_desc.image_height)
                * image_slices(image_desc.image_type, image_desc.image_depth, image_desc.image_array_size)
        } else {
            0
        })
    )]
    fn clCreateImageWithProperties(
        context: cl_context,
        #[arg(properties, optional)] properties: *const cl_mem_properties,
        flags: cl_mem_flags,
        image_format: *const cl_image_format,
        image_desc: *const cl_image_desc,
        host_ptr: *mut c_void,
        errcode_ret: *mut cl_int,
    ) -> cl_mem;

    #[at_end(context, pfn_notify, user_data)]
    fn clSetContextDestructorCallback(
        context: cl_context,
        pfn_notify: Option<unsafe extern "C" fn(cl_context, *mut c_void)>,
        user_data: *mut c_void,
    ) -> cl_int;
}
