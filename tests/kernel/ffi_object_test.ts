/**
 * Objects and their maps, against the running kernel.
 *
 * @module
 */

import assert from "node:assert/strict";
import { afterEach, before, describe, it } from "node:test";
import { MapType, UpdateFlag } from "@/ffi/bpf/constants.ts";
import { BpfMap, possibleCpus } from "@/ffi/bpf/map.ts";
import { BpfObject } from "@/ffi/bpf/object.ts";
import { BpfProgram } from "@/ffi/bpf/program.ts";
import { MapMismatchError, SyscallError, VerifierError } from "@/ffi/errors.ts";
import { filesystemKind, mountBpf } from "@/ffi/linux/filesystem.ts";
import { closeSocket, openTcpListener } from "@/ffi/linux/socket.ts";
import { u32Bytes, u64Bytes } from "@/ffi/memory.ts";
import { assertNoLeaks, compileFixture, TestBpffs } from "./ffi_fixture.ts";

const PACKET = new Uint8Array(64);
const ALL = ["emit", "pass_tcx", "refuse4", "allow4", "drop_lookup"];

describe("a BPF object", () => {
  let tiny: Uint8Array<ArrayBuffer>;
  before(async () => void (tiny = await compileFixture("tiny")));
  afterEach(assertNoLeaks);

  it("loads only the programs that were asked for", () => {
    using object = BpfObject.open(tiny, { programs: ["emit", "drop_lookup"] }).load();
    assert.deepEqual([...object.programs.keys()].sort(), ["drop_lookup", "emit"]);
    assert.throws(() => object.program("refuse4"), /Cannot find program "refuse4"/);
  });

  it("gives the programs the constants that were set", () => {
    using object = BpfObject.open(tiny, {
      programs: ["emit"],
      constants: { answer: 4242, wide: (1n << 40n) + 1n },
    }).load();
    assert.equal(object.program("emit").testRun({ dataIn: PACKET }).retval, 4242);
    const rodata = object.map(".rodata").lookup(u32Bytes(0));
    assert.deepEqual(rodata?.subarray(8, 16), u64Bytes((1n << 40n) + 1n));
  });

  it("refuses constants that do not exist or do not fit", () => {
    assert.throws(() => BpfObject.open(tiny, { constants: { nope: 1 } }), /constant "nope"/);
    assert.throws(
      () => BpfObject.open(tiny, { constants: { answer: 1n << 32n } }),
      /Cannot set constant "answer" of 4 bytes to 4294967296/,
    );
  });

  it("says what the verifier objected to, and keeps the whole log", () => {
    using object = BpfObject.open(tiny, { programs: ["out_of_bounds"] });
    assert.throws(() => object.load(), (error) => {
      assert.ok(error instanceof VerifierError);
      assert.equal(error.code, "verifier");
      assert.match(
        error.message,
        /^Cannot load program "out_of_bounds": R\d invalid mem access '\w+' \(\d+ line.*\)$/,
      );
      assert.ok(error.log.length > 5);
      assert.ok(error.cause instanceof SyscallError);
      return true;
    });
  });

  it("explains an object that is no object", () => {
    assert.throws(() => BpfObject.open(new Uint8Array(100), { name: "junk" }), (error) => {
      assert.ok(error instanceof SyscallError);
      assert.match(error.message, /^Cannot open object "junk": .*ELF/);
      return true;
    });
  });

  it("shares a map that another object made", () => {
    using one = BpfObject.open(tiny, { programs: ["emit"] }).load();
    using two = BpfObject.open(tiny, {
      programs: ["emit"],
      reuse: { counters: one.map("counters") },
    }).load();
    two.program("emit").testRun({ dataIn: PACKET });
    assert.equal(one.map("counters").info.id, two.map("counters").info.id);
    const value = one.map("counters").lookup(u32Bytes(0));
    assert.equal(value && one.map("counters").sumPerCpu(value)[0], 1n);
  });

  it("finds a pinned map again with its contents", () => {
    using bpffs = new TestBpffs();
    const pins = { rows: `${bpffs.path}/rows` };
    {
      using first = BpfObject.open(tiny, { programs: ["emit"], pins }).load();
      first.map("rows").update(u32Bytes(7), new Uint8Array(16).fill(9));
    }
    using second = BpfObject.open(tiny, { programs: ["emit"], pins }).load();
    assert.deepEqual(second.map("rows").lookup(u32Bytes(7)), new Uint8Array(16).fill(9));
  });

  it("refuses a pinned map of another shape and says how it differs", () => {
    using bpffs = new TestBpffs();
    const path = `${bpffs.path}/rows`;
    using old = BpfMap.create({
      type: MapType.HASH,
      name: "rows",
      keySize: 4,
      valueSize: 8,
      maxEntries: 10,
    });
    old.pin(path);
    assert.throws(() => BpfObject.open(tiny, { pins: { rows: path } }), (error) => {
      assert.ok(error instanceof MapMismatchError);
      assert.equal(
        error.message,
        `Cannot reuse map "rows" pinned at "${path}": value size is 8, want 16; ` +
          "maximum of entries is 10, want 4096",
      );
      return true;
    });
    using fitting = BpfMap.openPinned(path);
    assert.equal(fitting?.info.id, old.info.id);
  });

  it("sizes maps as told", () => {
    using object = BpfObject.open(tiny, { programs: ["emit"], maxEntries: { rows: 5 } }).load();
    assert.equal(object.map("rows").info.maxEntries, 5);
  });

  it("gives equal programs equal tags", () => {
    using one = BpfObject.open(tiny, { programs: ["allow4"] }).load();
    using two = BpfObject.open(tiny, { programs: ["allow4", "refuse4"] }).load();
    assert.equal(one.program("allow4").info.tag, two.program("allow4").info.tag);
    assert.notEqual(two.program("refuse4").info.tag, two.program("allow4").info.tag);
  });

  it("leaves no descriptor when loading fails half-way", () => {
    using object = BpfObject.open(tiny, { programs: [...ALL, "out_of_bounds"] });
    assert.throws(() => object.load(), VerifierError);
  });
});

describe("raw instructions", () => {
  afterEach(assertNoLeaks);

  it("load and run", () => {
    // r0 = 7; exit
    const instructions = Uint8Array.from([0xb7, 0, 0, 0, 7, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]);
    using program = BpfProgram.load({ type: 3, name: "seven", license: "GPL", instructions });
    assert.equal(program.testRun({ dataIn: PACKET }).retval, 7);
  });

  it("are refused with the verifier's reason", () => {
    const instructions = Uint8Array.from([0x95, 0, 0, 0, 0, 0, 0, 0]); // exit, with r0 unset
    assert.throws(
      () => BpfProgram.load({ type: 3, name: "bad", license: "GPL", instructions }),
      (error) => error instanceof VerifierError && /R0 !read_ok/.test(error.message),
    );
  });
});

describe("maps of sockets", () => {
  let tiny: Uint8Array<ArrayBuffer>;
  before(async () => void (tiny = await compileFixture("tiny")));
  afterEach(assertNoLeaks);

  it("store a value with a socket, by its descriptor, until the socket is closed", () => {
    using object = BpfObject.open(tiny, { programs: ["emit"] }).load();
    const marks = object.map("marks");
    const [one, two] = [openTcpListener(1), openTcpListener(1)];
    try {
      marks.update(u32Bytes(one), u32Bytes(77));
      assert.deepEqual(marks.lookup(u32Bytes(one)), u32Bytes(77));
      assert.equal(marks.lookup(u32Bytes(two)), undefined);
      assert.equal(marks.delete(u32Bytes(one)), true);
    } finally {
      closeSocket(one);
      closeSocket(two);
    }
    assert.throws(
      () => marks.lookup(u32Bytes(one)),
      (error) => error instanceof SyscallError && error.errnoName === "EBADF",
    );
  });

  it("hold listeners by their descriptors, and forget them when they are closed", () => {
    using object = BpfObject.open(tiny, { programs: ["emit"] }).load();
    const sockets = object.map("sockets");
    const listener = openTcpListener(1);
    try {
      sockets.update(u32Bytes(2), u32Bytes(listener));
      assert.equal(sockets.delete(u32Bytes(2)), true);
      sockets.update(u32Bytes(2), u32Bytes(listener));
    } finally {
      closeSocket(listener);
    }
    assert.throws(
      () => sockets.delete(u32Bytes(2)),
      (error) => error instanceof SyscallError && error.errnoName === "EINVAL",
    );
  });
});

describe("file systems", () => {
  afterEach(assertNoLeaks);

  it("are told apart, and a bpffs is mounted once", () => {
    using bpffs = new TestBpffs();
    assert.equal(filesystemKind(bpffs.path), "bpf");
    assert.equal(mountBpf(bpffs.path), false);
    assert.equal(filesystemKind("/sys/fs/cgroup/unified"), "cgroup2");
  });
});

describe("a BPF map", () => {
  afterEach(assertNoLeaks);

  function hash(maxEntries = 100): BpfMap {
    const definition = { keySize: 4, valueSize: 8, maxEntries };
    return BpfMap.create({ type: MapType.HASH, name: "table", ...definition });
  }

  it("returns what was written, and undefined for what was not", () => {
    using map = hash();
    map.update(u32Bytes(1), u64Bytes(11n));
    assert.deepEqual(map.lookup(u32Bytes(1)), u64Bytes(11n));
    assert.equal(map.lookup(u32Bytes(2)), undefined);
  });

  it("round-trips many small keys (buffers on V8's own heap are no exception)", () => {
    using map = hash(20_000);
    for (let i = 0; i < 20_000; i++) {
      map.update(
        new Uint8Array([i, i >> 8, i >> 16, 0]),
        new Uint8Array([i, i >> 8, i >> 16, 0, 0, 0, 0, 1]),
      );
    }
    const entries = map.entries();
    assert.equal(entries.length, 20_000);
    for (const [key, value] of entries) assert.deepEqual(value.subarray(0, 4), key);
  });

  it("obeys the flags of an update", () => {
    using map = hash();
    assert.throws(
      () => map.update(u32Bytes(1), u64Bytes(1n), UpdateFlag.EXIST),
      (error) => error instanceof SyscallError && error.errnoName === "ENOENT",
    );
    map.update(u32Bytes(1), u64Bytes(1n), UpdateFlag.NOEXIST);
    assert.throws(
      () => map.update(u32Bytes(1), u64Bytes(2n), UpdateFlag.NOEXIST),
      (error) => error instanceof SyscallError && error.errnoName === "EEXIST",
    );
  });

  it("deletes, takes and clears rows", () => {
    using map = hash();
    for (let i = 0; i < 10; i++) map.update(u32Bytes(i), u64Bytes(BigInt(i)));
    assert.equal(map.delete(u32Bytes(3)), true);
    assert.equal(map.delete(u32Bytes(3)), false);
    assert.deepEqual(map.take(u32Bytes(4)), u64Bytes(4n));
    assert.equal(map.take(u32Bytes(4)), undefined);
    assert.equal(map.keys().length, 8);
    map.clear();
    assert.deepEqual(map.entries(), []);
  });

  it("names itself when it is full", () => {
    using map = hash(1);
    map.update(u32Bytes(1), u64Bytes(1n));
    assert.throws(() => map.update(u32Bytes(2), u64Bytes(1n)), (error) => {
      assert.ok(error instanceof SyscallError);
      assert.equal(
        error.message,
        'Cannot write map "table": bpf_map_update_elem failed with E2BIG',
      );
      return true;
    });
  });

  it("refuses keys and values of another size, which the kernel would read beyond", () => {
    using map = hash();
    assert.throws(() => map.lookup(new Uint8Array(3)), /key of 3 bytes with map "table": want 4/);
    assert.throws(() => map.update(u32Bytes(1), new Uint8Array(7)), /value of 7 bytes/);
  });

  it("walks a longest-prefix map", () => {
    using map = BpfMap.create({
      type: MapType.LPM_TRIE,
      name: "cidrs",
      keySize: 8,
      valueSize: 4,
      maxEntries: 100,
      flags: 1,
    });
    map.update(new Uint8Array([8, 0, 0, 0, 10, 0, 0, 0]), u32Bytes(1));
    map.update(new Uint8Array([24, 0, 0, 0, 10, 1, 2, 0]), u32Bytes(2));
    assert.equal(map.entries().length, 2);
    assert.deepEqual(map.lookup(new Uint8Array([32, 0, 0, 0, 10, 1, 2, 3])), u32Bytes(2));
    assert.deepEqual(map.lookup(new Uint8Array([32, 0, 0, 0, 10, 9, 9, 9])), u32Bytes(1));
  });

  it("sums what each CPU counted", () => {
    using map = BpfMap.create({
      type: MapType.PERCPU_ARRAY,
      name: "counts",
      keySize: 4,
      valueSize: 12,
      maxEntries: 2,
    });
    const value = new Uint8Array(16 * possibleCpus()); // 12 bytes are padded to 16
    for (let cpu = 0; cpu < possibleCpus(); cpu++) value[cpu * 16] = cpu + 1;
    map.update(u32Bytes(1), value);
    assert.equal(map.lookupPerCpu(u32Bytes(1))?.length, possibleCpus());
    const read = map.lookup(u32Bytes(1));
    assert.deepEqual(read && map.sumPerCpu(read), [
      BigInt(possibleCpus() * (possibleCpus() + 1) / 2),
    ]);
    const [, last] = map.entries();
    assert.deepEqual(last?.[1], read);
  });

  it("can no longer be used after it was disposed of", () => {
    const map = hash();
    map[Symbol.dispose]();
    assert.throws(() => map.lookup(u32Bytes(1)), /it is closed/);
  });
});
