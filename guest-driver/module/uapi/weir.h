/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * What a program and the weir driver say to each other.
 *
 * Each accelerator of the machine is one character device, /dev/weir0 and so
 * on. An open file is a client to be; WEIR_IOC_START makes it one: from then
 * on it has an arena, memory that the process, the hypervisor and the host
 * process that executes the client's calls share. The process maps the arena,
 * writes commands into it, announces them with WEIR_IOC_SUBMIT and sleeps for
 * replies with WEIR_IOC_WAIT. Closing the last descriptor of the file ends
 * the client and frees all that it held.
 *
 * The layout of the arena beyond its header, and the commands themselves, are
 * not the driver's business; docs/device.md and docs/wire.md describe them.
 *
 * A client belongs to the address space that started it. An arena is not
 * inherited over fork(), and WEIR_IOC_SUBMIT, WEIR_IOC_WAIT,
 * WEIR_IOC_ACK_EVENTS and mmap() on the inherited descriptor fail with EPERM:
 * a child that wants the accelerator opens the device for itself.
 *
 * Errors common to all requests on a client:
 *
 *	ENODEV	the device is gone (unplugged, or its driver was unbound)
 *	EIO	the device stopped working, or the client is lost: the arena's
 *		header says why
 *	ENOTCONN WEIR_IOC_START has not succeeded yet
 *	EPERM	the client belongs to another address space
 *	EINVAL	an argument is out of range, or a reserved field is not 0
 *	EFAULT	the argument is not readable or writable memory
 *	ENOTTY	no such request
 */
#ifndef _UAPI_WEIR_H
#define _UAPI_WEIR_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct weir_info - what one device offers
 * @version: version of the device's interface, WEIR_VERSION
 * @flags: WEIR_INFO_*
 * @max_clients: clients that the device serves at once, over all processes
 * @reserved: 0
 * @window_size: bytes of all arenas together
 * @arena_max: bytes of the largest arena
 * @arena_default: bytes of an arena for which no size is asked
 * @name: the accelerator's name in the host's configuration; ends in a 0
 * @api: the API that it executes, such as "opencl"; ends in a 0
 */
struct weir_info {
	__u32 version;
	__u32 flags;
	__u32 max_clients;
	__u32 reserved;
	__aligned_u64 window_size;
	__aligned_u64 arena_max;
	__aligned_u64 arena_default;
	char name[32];
	char api[32];
};

/* The only version so far. */
#define WEIR_VERSION		1

/* Arenas are mapped write-back cached; if not set, copying crawls. */
#define WEIR_INFO_CACHED	(1u << 0)

/**
 * struct weir_start - makes the open file a client
 * @arena_size: in: bytes wanted, a multiple of 4096 from WEIR_ARENA_MIN to
 *	arena_max, or 0 for the default; out: bytes of the arena
 * @flags: in: 0
 * @client: in: 0; out: the device's number for this client, for messages only
 *
 * Once per open file. A start that failed may be repeated; while the answer to
 * one that was interrupted by a fatal signal is outstanding, it may not.
 *
 * Errors: EALREADY the file is a client already; EUSERS the device has as many
 * clients as it serves; ENOSPC the window has no room for the arena; EREMOTEIO
 * the host could not start a worker; EPROTO the device broke its protocol;
 * ETIMEDOUT the device did not answer.
 */
struct weir_start {
	__aligned_u64 arena_size;
	__u32 flags;
	__u32 client;
};

/**
 * struct weir_submit - announces commands
 * @offset: where in the arena they begin, in bytes
 * @length: how many bytes they have; not 0
 *
 * Returns as soon as the device has been told; the device takes announcements
 * of one client in order. Sleeps only while the queue to the device is full.
 *
 * Errors: EINTR a signal came while the queue was full; nothing was announced.
 */
struct weir_submit {
	__u32 offset;
	__u32 length;
};

/**
 * struct weir_wait - sleeps while a word of the arena has a value
 * @offset: where the word (little-endian, 32 bits) is: a multiple of 4, below
 *	the arena's data
 * @value: sleep while the word has this value
 * @deadline_ns: CLOCK_MONOTONIC time at which to give up, in nanoseconds;
 *	WEIR_WAIT_FOREVER for never. A time that has passed makes it a test.
 *
 * The deadline is absolute, so that a call that a signal handler interrupted
 * can simply be repeated.
 *
 * Returns 0 once the word differs, which it may do before the call. Only a
 * reply, an event or the client's end wakes a sleeper: the word must be one
 * that the device writes.
 *
 * Errors: ETIMEDOUT; EINTR a signal came; EIO and ENODEV as above, and the
 * word still has the value.
 */
struct weir_wait {
	__u32 offset;
	__u32 value;
	__aligned_u64 deadline_ns;
};

#define WEIR_WAIT_FOREVER	(~(__u64)0)

#define WEIR_IOC_MAGIC		0xBE

/* Describes the device; needs no client. */
#define WEIR_IOC_INFO		_IOR(WEIR_IOC_MAGIC, 0, struct weir_info)
#define WEIR_IOC_START		_IOWR(WEIR_IOC_MAGIC, 1, struct weir_start)
#define WEIR_IOC_SUBMIT		_IOW(WEIR_IOC_MAGIC, 2, struct weir_submit)
#define WEIR_IOC_WAIT		_IOW(WEIR_IOC_MAGIC, 3, struct weir_wait)
/*
 * The word of the header called events, as the program last read it: poll()
 * reports EPOLLIN while the header has another value. It begins at 0.
 * poll() reports EPOLLERR | EPOLLHUP when the client is lost or the device
 * gone.
 */
#define WEIR_IOC_ACK_EVENTS	_IOW(WEIR_IOC_MAGIC, 4, __u32)

/*
 * The arena is mapped with mmap(), MAP_SHARED, from offset 0, in whole or in
 * part. Pages come into being when they are touched. The kernel cannot pin
 * them: direct I/O to and from an arena fails with EFAULT.
 */

/**
 * struct weir_arena_header - the first page of an arena
 * @magic: WEIR_ARENA_MAGIC
 * @version: WEIR_VERSION
 * @state: WEIR_STATE_*
 * @lost_reason: why the client was lost; written before @state
 * @arena_size: bytes of the arena
 * @lanes_offset: where the reply slots begin
 * @lanes: number of reply slots of WEIR_LANE_SIZE bytes each; a slot's first
 *	word is the number of the last call that was answered in it
 * @stream_offset: where the ring of commands begins
 * @stream_size: its bytes
 * @data_offset: where inputs, outputs and bulk data begin
 * @consumed: announcements that the device has taken so far
 * @sleepers: threads that sleep in WEIR_IOC_WAIT; written by the driver
 * @events: number of things that happened outside of any call
 * @async_error: first error of a call for which nobody waits and that is given
 *	to no line, such as a queue
 * @unused0: 0
 * @unused1: 0
 * @unused2: 0
 * @unused3: 0
 * @unused4: 0
 * @late_errors: first error of each line's calls for which nobody waits, in the
 *	low half; in the high half, what names the line
 * @unused5: 0
 *
 * All little-endian. The process can write all of it; the device and the
 * driver trust none of it, and a process that spoils it harms itself only.
 */
struct weir_arena_header {
	__le32 magic;
	__le32 version;
	__le32 state;
	__le32 lost_reason;
	__le64 arena_size;
	__le32 lanes_offset;
	__le32 lanes;
	__le32 stream_offset;
	__le32 stream_size;
	__le32 data_offset;
	__u8 unused0[20];
	__le64 consumed;
	__u8 unused1[56];
	__le32 sleepers;
	__u8 unused2[60];
	__le32 events;
	__le32 unused3;
	__le32 async_error;
	__u8 unused4[52];
	__le64 late_errors[32];
	__u8 unused5[3584];
};

#define WEIR_ARENA_MAGIC	0x52494557u
#define WEIR_ARENA_MIN		(4u << 20)
#define WEIR_LANE_SIZE		64u

#define WEIR_STATE_RUNNING	1u
#define WEIR_STATE_LOST		2u

#if defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
_Static_assert(sizeof(struct weir_info) == 104, "struct weir_info");
_Static_assert(sizeof(struct weir_start) == 16, "struct weir_start");
_Static_assert(sizeof(struct weir_submit) == 8, "struct weir_submit");
_Static_assert(sizeof(struct weir_wait) == 16, "struct weir_wait");
_Static_assert(sizeof(struct weir_arena_header) == 4096, "struct weir_arena_header");
_Static_assert(__builtin_offsetof(struct weir_arena_header, data_offset) == 0x28, "data_offset");
_Static_assert(__builtin_offsetof(struct weir_arena_header, consumed) == 0x40, "consumed");
_Static_assert(__builtin_offsetof(struct weir_arena_header, sleepers) == 0x80, "sleepers");
_Static_assert(__builtin_offsetof(struct weir_arena_header, events) == 0xc0, "events");
_Static_assert(__builtin_offsetof(struct weir_arena_header, async_error) == 0xc8, "async_error");
_Static_assert(__builtin_offsetof(struct weir_arena_header, late_errors) == 0x100, "late_errors");
#endif

#endif /* _UAPI_WEIR_H */
