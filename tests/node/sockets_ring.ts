/**
 * connect() through io_uring, by its raw calls.
 *
 * In: a socket and an address. Out: an error number, zero when connected. With `polled`, a thread
 * of the kernel takes the request, so that no call of the process itself leads to the connection.
 *
 * @module
 */
import { checkLibc } from "../../ffi/check.ts";
import { openLibrary } from "../../ffi/dlopen.ts";
import { Struct } from "../../ffi/memory.ts";

/** Connects `fd`; error number of the request. */
export function connectByRing(
  fd: number,
  to: Uint8Array<ArrayBuffer>,
  length: number,
  polled: boolean,
): number {
  const params = new Struct(PARAMS_SIZE).setU32(8, polled ? SETUP_SQPOLL : 0).setU32(16, IDLE_MS);
  const ring = checkLibc("io_uring_setup", C.setup(IO_URING_SETUP, 4, params.bytes));
  const sq = map(ring, params.u32(SQ_OFF + 24) + params.u32(0) * 4, OFF_SQ_RING);
  const cq = map(ring, params.u32(CQ_OFF + 20) + params.u32(4) * 16, OFF_CQ_RING);
  const entries = map(ring, params.u32(0) * 64, OFF_SQES);
  const request = new Struct(64).setU32(4, fd).setPointer(16, to).setU64(8, length);
  request.bytes[0] = OP_CONNECT;
  new Uint8Array(entries.buffer, 0, 64).set(request.bytes);
  sq.setUint32(params.u32(SQ_OFF + 24), 0, true);
  const tail = new Uint32Array(sq.buffer, params.u32(SQ_OFF + 4), 1);
  Atomics.store(tail, 0, 1);
  // With a polling thread there is nothing to submit here: it is woken, and waited for.
  const flags = ENTER_GETEVENTS | (polled ? ENTER_SQ_WAKEUP : 0);
  const submitted = C.enter(IO_URING_ENTER, ring, polled ? 0 : 1, 1, flags, null, 0);
  checkLibc("io_uring_enter", submitted);
  const result = cq.getInt32(params.u32(CQ_OFF + 20) + 8, true);
  C.close(ring);
  return -result;
}

function map(ring: number, size: number, offset: bigint): DataView<ArrayBuffer> {
  const pointer = C.mmap(null, BigInt(size), PROT_READ_WRITE, MAP_SHARED_POPULATE, ring, offset);
  // deno-lint-ignore weft/ffi-door -- memory that a test shares with the kernel
  if (pointer === null || Deno.UnsafePointer.value(pointer) === FAILED) {
    throw new Error("Cannot map the ring");
  }
  // deno-lint-ignore weft/ffi-door
  return new DataView(Deno.UnsafePointerView.getArrayBuffer(pointer, size));
}

const C = openLibrary("libc.so.6", {
  mmap: { parameters: ["pointer", "u64", "i32", "i32", "i32", "i64"], result: "pointer" },
  close: { parameters: ["i32"], result: "i32" },
  setup: { name: "syscall", parameters: ["i32", "u32", "buffer"], result: "i32" },
  enter: {
    name: "syscall",
    parameters: ["i32", "i32", "u32", "u32", "u32", "pointer", "u32"],
    result: "i32",
  },
});

const IO_URING_SETUP = 425;
const IO_URING_ENTER = 426;
const PARAMS_SIZE = 120;
const SQ_OFF = 40;
const CQ_OFF = 80;
const SETUP_SQPOLL = 2;
const IDLE_MS = 2000;
const OFF_SQ_RING = 0n;
const OFF_CQ_RING = 0x8000000n;
const OFF_SQES = 0x10000000n;
const OP_CONNECT = 16;
const ENTER_GETEVENTS = 1;
const ENTER_SQ_WAKEUP = 2;
const PROT_READ_WRITE = 3;
const MAP_SHARED_POPULATE = 0x8001;
const FAILED = 0xffffffffffffffffn;
