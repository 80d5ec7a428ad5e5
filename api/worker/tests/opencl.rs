//! A real worker on the host's real OpenCL, driven through its channel as a VMM drives it.

mod harness;

use std::time::{Duration, Instant};

use harness::{Argument, Client, QUOTA, Setup};
use weir_api_opencl::table::{constants::*, functions as f};
use weir_wire::handle::Handle;

const SAXPY: &str = "kernel void saxpy(float a, global const float *x, global float *y) {
    size_t i = get_global_id(0); y[i] = a * x[i] + y[i]; }";
/// Busy for about as long as its argument says.
const SPIN: &str = "kernel void spin(uint rounds, global uint *out) {
    uint x = 1; for (uint i = 0; i < rounds; i++) x = x * 1664525u + 1013904223u; *out = x; }";

fn client() -> (tempfile::TempDir, Client) {
    let cache = tempfile::tempdir().unwrap();
    let client = Client::new(cache.path());
    (cache, client)
}

fn floats(values: impl Iterator<Item = f32>) -> Vec<u8> {
    values.flat_map(f32::to_le_bytes).collect()
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

fn info(
    client: &mut Client,
    function: u16,
    of: (&str, Handle),
    what: u32,
    room: u64,
) -> (u64, Vec<u8>) {
    let (at, size) = (client.allocate(room.max(8)), client.allocate(8));
    let error = client.call(
        function,
        &[
            (of.0, Argument::Handle(of.1)),
            ("param_name", Argument::Scalar(what.into())),
            ("param_value_size", Argument::Scalar(room)),
            ("param_value", Argument::Arena(at, room)),
            ("param_value_size_ret", Argument::Arena(size, 8)),
        ],
    );
    let len = client.word(size).min(room) as usize;
    (error, client.read(at, len))
}

fn enqueue(client: &mut Client, setup: &Setup, kernel: Handle, size: u64, event: Handle) -> u64 {
    client.queue(
        f::clEnqueueNDRangeKernel,
        &[
            ("command_queue", Argument::Handle(setup.queue)),
            ("kernel", Argument::Handle(kernel)),
            ("work_dim", Argument::Scalar(1)),
            ("global_work_size", Argument::Bytes(&size.to_le_bytes())),
            ("event", Argument::Handle(event)),
        ],
    )
}

fn transfer(
    client: &mut Client,
    setup: &Setup,
    (function, blocking): (u16, &str),
    buffer: Handle,
    (at, len): (u64, u64),
    done: Option<u64>,
) -> u64 {
    let mut arguments = vec![
        ("command_queue", Argument::Handle(setup.queue)),
        ("buffer", Argument::Handle(buffer)),
        (blocking, Argument::Scalar(done.is_none().into())),
        ("cb", Argument::Scalar(len)),
        ("ptr", Argument::Arena(at, len)),
    ];
    match done {
        Some(done) => {
            arguments.push(("__done", Argument::Arena(done, 4)));
            client.queue(function, &arguments)
        }
        None => client.call(function, &arguments),
    }
}

const READ: (u16, &str) = (f::clEnqueueReadBuffer, "blocking_read");
const WRITE: (u16, &str) = (f::clEnqueueWriteBuffer, "blocking_write");

#[test]
fn a_kernel_computes_what_it_should() {
    let (_cache, mut client) = client();
    let setup = client.setup(0);
    const N: u64 = 10_000;
    let (x, y) = (client.buffer(&setup, 4 * N), client.buffer(&setup, 4 * N));
    let kernel = client.kernel(&setup, SAXPY, "saxpy");
    let at = client.allocate(4 * N);
    for (buffer, scale) in [(x, 1.0), (y, 0.5)] {
        let data = floats((0..N).map(|i| i as f32 * scale));
        client.arena.memory().write(at, &data).unwrap();
        assert_eq!(
            transfer(&mut client, &setup, WRITE, buffer, (at, 4 * N), None),
            0
        );
    }

    client.argument(kernel, 0, Err(&3f32.to_le_bytes()));
    client.argument(kernel, 1, Ok(x));
    client.argument(kernel, 2, Ok(y));
    let event = client.propose();
    let launch = enqueue(&mut client, &setup, kernel, N, event);
    assert_eq!(transfer(&mut client, &setup, READ, y, (at, 4 * N), None), 0);

    assert_eq!(
        client.read(at, 4 * N as usize),
        floats((0..N).map(|i| 3.5 * i as f32))
    );
    assert_eq!(client.arena.take_error(&[setup.queue]), 0);
    assert_eq!(client.called(launch), Some((1, 0)));
    assert!(
        client.executed(launch).unwrap() > 0,
        "device time is charged"
    );
    // The program did not ask for times, and is not given any.
    let (error, _) = info(
        &mut client,
        f::clGetEventProfilingInfo,
        ("event", event),
        CL_PROFILING_COMMAND_START,
        8,
    );
    assert_eq!(error as u32 as i32, CL_PROFILING_INFO_NOT_AVAILABLE);
}

#[test]
fn answers_are_the_host_s_less_what_is_not_carried() {
    let (_cache, mut client) = client();
    let setup = client.setup(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    let device = ("device", setup.device);
    let mut ask = |what, room| info(&mut client, f::clGetDeviceInfo, device, what, room);

    assert_eq!(
        ask(CL_DEVICE_GLOBAL_MEM_SIZE, 8),
        (0, QUOTA.to_le_bytes().to_vec())
    );
    assert_eq!(
        ask(CL_DEVICE_MAX_MEM_ALLOC_SIZE, 8),
        (0, QUOTA.to_le_bytes().to_vec())
    );
    assert_eq!(ask(CL_DEVICE_IMAGE_SUPPORT, 4), (0, vec![1, 0, 0, 0]));
    assert_eq!(
        ask(CL_DEVICE_PLATFORM, 8),
        (0, setup.platform.0.to_le_bytes().to_vec())
    );
    let (error, extensions) = ask(CL_DEVICE_EXTENSIONS, 4096);
    let extensions = String::from_utf8(extensions).unwrap();
    assert!(
        error == 0 && !extensions.contains("cl_khr_spir"),
        "{extensions}"
    );
    assert_eq!(ask(CL_DEVICE_NAME, 1).0 as u32 as i32, CL_INVALID_VALUE);
    // PoCL knows versions of SPIR, but that extension is not carried.
    const CL_DEVICE_SPIR_VERSIONS: u32 = 0x40E0;
    let refused = ask(CL_DEVICE_SPIR_VERSIONS, 64).0 as u32 as i32;
    assert_eq!(refused, CL_INVALID_VALUE);

    let queue = ("command_queue", setup.queue);
    let mut ask = |what, room| info(&mut client, f::clGetCommandQueueInfo, queue, what, room);
    assert_eq!(
        ask(CL_QUEUE_PROPERTIES, 8),
        (0, vec![1, 0, 0, 0, 0, 0, 0, 0])
    );
    assert_eq!(
        ask(CL_QUEUE_CONTEXT, 8),
        (0, setup.context.0.to_le_bytes().to_vec())
    );
    let context = ("context", setup.context);
    let (error, devices) = info(
        &mut client,
        f::clGetContextInfo,
        context,
        CL_CONTEXT_DEVICES,
        64,
    );
    assert_eq!((error, devices), (0, setup.device.0.to_le_bytes().to_vec()));
}

#[test]
fn transfers_that_nobody_waits_for_say_when_they_are_complete() {
    let (_cache, mut client) = client();
    let setup = client.setup(0);
    let buffer = client.buffer(&setup, 1 << 20);
    let (from, to) = (client.allocate(1 << 20), client.allocate(1 << 20));
    let (wrote, read) = (client.allocate(4), client.allocate(4));
    client.arena.memory().write(from, &[7; 1 << 20]).unwrap();

    transfer(
        &mut client,
        &setup,
        WRITE,
        buffer,
        (from, 1 << 20),
        Some(wrote),
    );
    let id = transfer(&mut client, &setup, READ, buffer, (to, 1 << 20), Some(read));
    let queue = [("command_queue", Argument::Handle(setup.queue))];
    assert_eq!(client.call(f::clFinish, &queue), 0);

    assert_eq!(
        (client.word(wrote) as u32, client.word(read) as u32),
        (1, 1)
    );
    assert_eq!(client.read(to, 1 << 20), [7; 1 << 20]);
    assert!(client.executed(id).is_some());
    // Beyond the buffer's end.
    let late = client.allocate(4);
    transfer(
        &mut client,
        &setup,
        READ,
        buffer,
        (to, (1 << 20) + 1),
        Some(late),
    );
    assert_eq!(client.call(f::clFinish, &queue), 0);
    assert_eq!(client.word(late) as u32, 2);
    let elsewhere = Handle::new(setup.queue.slot() + 1, 1);
    assert_eq!(client.arena.take_error(&[elsewhere]), 0, "of another queue");
    assert_eq!(client.arena.take_error(&[setup.queue]), CL_INVALID_VALUE);
}

#[test]
fn a_late_error_is_its_queue_s_and_its_event_s() {
    let (_cache, mut client) = client();
    let setup = client.setup(0);
    let other = client.propose();
    let made = client.call(
        f::clCreateCommandQueue,
        &[
            ("context", Argument::Handle(setup.context)),
            ("device", Argument::Handle(setup.device)),
            ("errcode_ret", Argument::Arena(setup.errcode, 4)),
            ("return", Argument::Handle(other)),
        ],
    );
    assert_eq!(made, other.0);
    let buffer = client.buffer(&setup, 64);
    let (at, done) = (client.allocate(128), client.allocate(4));
    let mut read = |queue, len| {
        let event = client.propose();
        let id = client.queue(
            f::clEnqueueReadBuffer,
            &[
                ("command_queue", Argument::Handle(queue)),
                ("buffer", Argument::Handle(buffer)),
                ("cb", Argument::Scalar(len)),
                ("ptr", Argument::Arena(at, len)),
                ("event", Argument::Handle(event)),
                ("__done", Argument::Arena(done, 4)),
            ],
        );
        (id, event)
    };
    let (failed, event) = read(setup.queue, 65);
    let (good, _) = read(other, 64);
    for queue in [setup.queue, other] {
        let queue = [("command_queue", Argument::Handle(queue))];
        assert_eq!(client.call(f::clFinish, &queue), 0);
    }
    assert_eq!(client.arena.take_error(&[other]), 0);
    assert_eq!(client.arena.take_error(&[setup.queue]), CL_INVALID_VALUE);
    assert_eq!(client.called(failed), Some((1, CL_INVALID_VALUE)));
    assert_eq!(client.called(good), Some((1, 0)));

    let status = CL_EVENT_COMMAND_EXECUTION_STATUS;
    let answer = info(&mut client, f::clGetEventInfo, ("event", event), status, 4);
    assert_eq!(answer, (0, CL_INVALID_VALUE.to_le_bytes().to_vec()));
    let waited = client.call(
        f::clWaitForEvents,
        &[
            ("num_events", Argument::Scalar(1)),
            ("event_list", Argument::Handles(&[event])),
        ],
    );
    assert_eq!(waited as i32, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
}

#[test]
fn a_map_reads_and_an_unmap_writes_back() {
    let (_cache, mut client) = client();
    let setup = client.setup(CL_QUEUE_PROFILING_ENABLE);
    let buffer = client.buffer(&setup, 4096);
    let at = client.allocate(4096);
    client.arena.memory().write(at, &[1; 4096]).unwrap();
    transfer(&mut client, &setup, WRITE, buffer, (at, 4096), None);

    let region = client.allocate(1024);
    let event = client.propose();
    let mapped = client.call(
        f::clEnqueueMapBuffer,
        &[
            ("command_queue", Argument::Handle(setup.queue)),
            ("buffer", Argument::Handle(buffer)),
            ("blocking_map", Argument::Scalar(1)),
            ("map_flags", Argument::Scalar(CL_MAP_READ | CL_MAP_WRITE)),
            ("offset", Argument::Scalar(512)),
            ("cb", Argument::Scalar(1024)),
            ("event", Argument::Handle(event)),
            ("errcode_ret", Argument::Arena(setup.errcode, 4)),
            ("data", Argument::Arena(region, 1024)),
        ],
    );
    assert_eq!((mapped, client.read(region, 1024)), (1, vec![1; 1024]));
    let kind = info(
        &mut client,
        f::clGetEventInfo,
        ("event", event),
        CL_EVENT_COMMAND_TYPE,
        4,
    );
    assert_eq!(kind, (0, CL_COMMAND_MAP_BUFFER.to_le_bytes().to_vec()));
    let of = ("event", event);
    let (error, _) = info(
        &mut client,
        f::clGetEventProfilingInfo,
        of,
        CL_PROFILING_COMMAND_END,
        8,
    );
    assert_eq!(error, 0, "the program asked for times");

    client.arena.memory().write(region, &[9; 1024]).unwrap();
    client.queue(
        f::clEnqueueUnmapMemObject,
        &[
            ("command_queue", Argument::Handle(setup.queue)),
            ("memobj", Argument::Handle(buffer)),
            ("origin", Argument::Bytes(&numbers(&[512, 0, 0]))),
            ("region", Argument::Bytes(&numbers(&[1024, 1, 1]))),
            ("data", Argument::Arena(region, 1024)),
        ],
    );
    transfer(&mut client, &setup, READ, buffer, (at, 4096), None);
    let mut expected = vec![1; 4096];
    expected[512..1536].fill(9);
    assert_eq!(client.read(at, 4096), expected);
}

#[test]
fn a_lane_that_waits_holds_up_no_other() {
    let (_cache, mut client) = client();
    let setup = client.setup(0);
    let event = client.propose();
    client.call(
        f::clCreateUserEvent,
        &[
            ("context", Argument::Handle(setup.context)),
            ("errcode_ret", Argument::Arena(setup.errcode, 4)),
            ("return", Argument::Handle(event)),
        ],
    );
    let wait = |client: &mut Client, lane| {
        let arguments = [
            ("num_events", Argument::Scalar(1)),
            ("event_list", Argument::Handles(&[event])),
        ];
        client.send(f::clWaitForEvents, &arguments, lane, 1);
    };
    for lane in 1..=3 {
        wait(&mut client, lane);
    }

    let queue = [("command_queue", Argument::Handle(setup.queue))];
    assert_eq!(client.call(f::clFinish, &queue), 0);
    for lane in 1..=3 {
        assert_eq!(client.arena.answer(lane, 1), None);
    }
    let complete = [
        ("event", Argument::Handle(event)),
        ("execution_status", Argument::Scalar(0)),
    ];
    client.queue(f::clSetUserEventStatus, &complete);
    for lane in 1..=3 {
        assert_eq!(client.answer(lane, 1), 0);
    }
}

#[test]
fn device_time_is_reported_while_nobody_asks() {
    let (_cache, mut client) = client();
    let setup = client.setup(0);
    let kernel = client.kernel(&setup, SPIN, "spin");
    let out = client.buffer(&setup, 4);
    client.argument(kernel, 0, Err(&20_000_000u32.to_le_bytes()));
    client.argument(kernel, 1, Ok(out));
    let launches: Vec<u64> = (0..3)
        .map(|_| enqueue(&mut client, &setup, kernel, 1, Handle::NULL))
        .collect();
    client.queue(
        f::clFlush,
        &[("command_queue", Argument::Handle(setup.queue))],
    );

    let patience = Instant::now() + Duration::from_secs(30);
    while client.executed(launches[2]).is_none() {
        assert!(Instant::now() < patience, "its end is never reported");
        std::thread::sleep(Duration::from_millis(1));
    }
    for launch in launches {
        assert!(client.executed(launch).unwrap() > 1_000_000);
    }
}

#[test]
fn wrong_handles_and_malformed_commands_get_errors() {
    let (_cache, mut client) = client();
    let setup = client.setup(0);
    let wrong = [("command_queue", Argument::Handle(setup.context))];
    assert_eq!(
        client.call(f::clFinish, &wrong) as u32 as i32,
        CL_INVALID_COMMAND_QUEUE
    );
    let none = [("command_queue", Argument::Handle(Handle::new(999, 1)))];
    assert_eq!(
        client.call(f::clFinish, &none) as u32 as i32,
        CL_INVALID_COMMAND_QUEUE
    );
    let buffer = client.propose();
    let made = client.call(
        f::clCreateBuffer,
        &[
            ("context", Argument::Handle(setup.context)),
            ("errcode_ret", Argument::Arena(setup.errcode, 4)),
            ("return", Argument::Handle(buffer)),
        ],
    );
    assert_eq!(made, 0);
    assert_eq!(
        client.word(setup.errcode) as u32 as i32,
        CL_INVALID_BUFFER_SIZE
    );
    assert_eq!(
        client.call(f::clSVMAlloc, &[]) as u32 as i32,
        CL_INVALID_OPERATION
    );
    for len in [0, 8, 16, 24] {
        client.send_bytes(&vec![0xff; len]);
    }
    let queue = [("command_queue", Argument::Handle(setup.queue))];
    assert_eq!(client.call(f::clFinish, &queue), 0, "the worker lives");
}

#[test]
fn a_worker_ends_with_its_client_in_the_midst_of_a_kernel() {
    let (_cache, mut client) = client();
    let setup = client.setup(0);
    let kernel = client.kernel(&setup, SPIN, "spin");
    let out = client.buffer(&setup, 4);
    client.argument(kernel, 0, Err(&u32::MAX.to_le_bytes()));
    client.argument(kernel, 1, Ok(out));
    enqueue(&mut client, &setup, kernel, 1, Handle::NULL);
    let queue = [("command_queue", Argument::Handle(setup.queue))];
    client.send(f::clFinish, &queue, 1, 1);
    std::thread::sleep(Duration::from_millis(100));

    let took = client.close();
    assert!(took < Duration::from_secs(1), "{took:?}");
}

/// A 2D image of 8 × 4 elements of 4 bytes, made from `host`, which has a row pitch of 40 bytes in the
/// program; `None` if it is not made.
fn image(client: &mut Client, setup: &Setup, host: (u64, u64)) -> Option<Handle> {
    let mut format = (CL_RGBA).to_le_bytes().to_vec();
    format.extend(CL_UNSIGNED_INT8.to_le_bytes());
    let mut desc = numbers(&[u64::from(CL_MEM_OBJECT_IMAGE2D), 8, 4, 0, 0]);
    desc.extend(numbers(&[40, 0, 0, 0]));
    let image = client.propose();
    let made = client.call(
        f::clCreateImage,
        &[
            ("context", Argument::Handle(setup.context)),
            ("flags", Argument::Scalar(CL_MEM_USE_HOST_PTR)),
            ("image_format", Argument::Bytes(&format)),
            ("image_desc", Argument::Bytes(&desc)),
            ("host_ptr", Argument::Arena(host.0, host.1)),
            ("errcode_ret", Argument::Arena(setup.errcode, 4)),
            ("return", Argument::Handle(image)),
        ],
    );
    (made == image.0).then_some(image)
}

#[test]
fn an_image_s_rows_lie_side_by_side_in_the_arena() {
    let (_cache, mut client) = client();
    let setup = client.setup(0);
    let host = client.allocate(8 * 4 * 4);
    let data: Vec<u8> = (0..8 * 4 * 4).collect();
    client.arena.memory().write(host, &data).unwrap();
    let image = image(&mut client, &setup, (host, 8 * 4 * 4)).unwrap();

    // The program's pitches are its own: the vendor must not spread rows over the arena.
    let to = client.allocate(4096);
    client.arena.memory().write(to, &[0xee; 4096]).unwrap();
    let read = |client: &mut Client, room: u64| {
        client.call(
            f::clEnqueueReadImage,
            &[
                ("command_queue", Argument::Handle(setup.queue)),
                ("image", Argument::Handle(image)),
                ("blocking_read", Argument::Scalar(1)),
                ("origin", Argument::Bytes(&numbers(&[2, 1, 0]))),
                ("region", Argument::Bytes(&numbers(&[3, 2, 1]))),
                ("row_pitch", Argument::Scalar(1000)),
                ("ptr", Argument::Arena(to, room)),
            ],
        ) as u32 as i32
    };
    assert_eq!(read(&mut client, 24), CL_SUCCESS);
    let expected = [&data[40..52], &data[72..84]].concat();
    assert_eq!(client.read(to, 24), expected);
    assert_eq!(client.read(to + 24, 4072), vec![0xee; 4072]);

    for room in [0, 23, 25, 1024] {
        assert_eq!(read(&mut client, room), CL_INVALID_VALUE, "{room} bytes");
    }
}

#[test]
fn an_image_is_made_from_as_many_bytes_as_it_has() {
    let (_cache, mut client) = client();
    let setup = client.setup(0);
    let host = client.allocate(4096);
    for size in [0, 127, 129, 160] {
        let made = image(&mut client, &setup, (host, size));
        assert_eq!(made, None, "{size} bytes");
    }
}

#[test]
fn a_function_of_an_extension_that_the_vendor_lacks_is_an_error() {
    let (_cache, mut client) = client();
    let setup = client.setup(0);
    let count = client.allocate(4);
    const CL_DEVICE_PARTITION_EQUALLY_EXT: u64 = 0x4050;
    let partition = numbers(&[CL_DEVICE_PARTITION_EQUALLY_EXT, 1, 0]);
    // The ICD loader has the function; PoCL does not.
    let error = client.call(
        f::clCreateSubDevicesEXT,
        &[
            ("in_device", Argument::Handle(setup.device)),
            ("partition_properties", Argument::Bytes(&partition)),
            ("num_devices", Argument::Arena(count, 4)),
        ],
    );
    assert_eq!(error as u32 as i32, CL_INVALID_OPERATION);
    let device = ("device", setup.device);
    let named = info(
        &mut client,
        f::clGetDeviceInfo,
        device,
        CL_DEVICE_EXTENSIONS,
        4096,
    );
    let named = String::from_utf8(named.1).unwrap();
    assert!(!named.contains("cl_ext_device_fission"), "{named}");
}
