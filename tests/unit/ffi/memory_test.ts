/**
 * Memory, descriptors and errors: the ground floor of `ffi/`, without privileges.
 *
 * @module
 */

import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { checkLibc, checkNegative } from "@/ffi/check.ts";
import { openLibrary } from "@/ffi/dlopen.ts";
import { Errno, errnoName } from "@/ffi/errno.ts";
import { LibraryError, SyscallError, VerifierError } from "@/ffi/errors.ts";
import { Fd, openDescriptors, traceDescriptors } from "@/ffi/fd.ts";
import { filesystemKind, openDirectory } from "@/ffi/linux/filesystem.ts";
import { FileLock } from "@/ffi/linux/lock.ts";
import {
  isProcessAlive,
  monotonicNs,
  raiseResourceLimit,
  Resource,
  resourceLimit,
} from "@/ffi/linux/process.ts";
import { attributeU32, parseAttributes, readU32 } from "@/ffi/linux/netlink.ts";
import { boundedText, cstring, readBytes, Struct } from "@/ffi/memory.ts";

const LIBC_TEST = {
  // size_t strlen(const char *s);
  strlen: { parameters: ["buffer"], result: "u32" },
  // int open(const char *path, int flags, ...);
  open: { parameters: ["buffer", "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

describe("memory for C", () => {
  it("ends strings with NUL, in UTF-8", () => {
    assert.deepEqual([...cstring("aé")], [0x61, 0xc3, 0xa9, 0]);
    assert.equal(openLibrary("libc.so.6", LIBC_TEST).strlen(cstring("weft")), 4);
  });

  it("refuses a string that C would cut short", () => {
    assert.throws(() => cstring("/tmp/\0/etc"), TypeError);
  });

  it("reads text up to the first NUL", () => {
    assert.equal(boundedText(new Uint8Array([0x61, 0x62, 0, 0x63])), "ab");
    assert.equal(boundedText(new Uint8Array([0x61])), "a");
  });

  it("stores pointers that lead to the target's bytes", () => {
    const struct = new Struct(16).setPointer(8, cstring("target"));
    const pointer = Deno.UnsafePointer.create(struct.u64(8));
    assert.ok(pointer);
    assert.equal(boundedText(readBytes(pointer, 7)), "target");
    assert.equal(struct.setPointer(8, null).u64(8), 0n);
  });
});

describe("errors", () => {
  it("carry the name of the call and of the error number", () => {
    const action = 'Cannot open "/nonexistent"';
    assert.throws(
      () => checkLibc("open", openLibrary("libc.so.6", LIBC_TEST).open(cstring("/n/x"), 0), action),
      (error) => {
        assert.ok(error instanceof SyscallError);
        assert.equal(error.errno, Errno.ENOENT);
        assert.equal(error.errnoName, "ENOENT");
        assert.equal(error.message, `${action}: open failed with ENOENT`);
        return true;
      },
    );
    assert.throws(
      () => checkNegative("f", -Errno.ENOLINK),
      /^SyscallError: f failed with ENOLINK$/,
    );
    assert.equal(checkNegative("f", 3), 3);
  });

  it("show a number that has no name", () => {
    assert.equal(errnoName(9999), "errno 9999");
  });

  it("tell which library or symbol is missing", () => {
    const table = { nosuchfn: { parameters: [], result: "void" } } as const;
    assert.throws(() => openLibrary("libc.so.6", table), (error) => {
      assert.ok(error instanceof LibraryError);
      assert.match(error.message, /^Cannot open library "libc\.so\.6": .*nosuchfn/);
      return true;
    });
  });

  it("end a verifier message with the line before the statistics", () => {
    const log = [
      "0: (b7) r0 = 0",
      "R1 invalid mem access 'scalar'",
      "processed 12 insns (limit …)",
    ];
    assert.equal(
      new VerifierError("p", log).message,
      `Cannot load program "p": R1 invalid mem access 'scalar' (2 line(s) omitted)`,
    );
    assert.match(new VerifierError("p", []).message, /the verifier gave no reason/);
  });
});

describe("an owned descriptor", () => {
  afterEach(() => assert.deepEqual(openDescriptors(), []));

  it("is in the register while it is open, with the place where it was opened", () => {
    traceDescriptors(true);
    const fd = openDirectory("/");
    traceDescriptors(false);
    const [entry] = openDescriptors();
    assert.equal(entry?.label, "/");
    assert.equal(entry?.raw, fd.raw);
    assert.match(entry?.stack ?? "", /memory_test/);
    fd.close();
    fd.close();
    assert.ok(fd.closed);
    assert.throws(() => fd.raw, /Cannot use descriptor of "\/": it is closed/);
  });

  it("can be given away, and is then no longer ours to close", () => {
    const fd = openDirectory("/");
    const raw = fd.take();
    assert.deepEqual(openDescriptors(), []);
    fd.close();
    using again = Fd.adopt(raw, "again");
    using copy = again.duplicate();
    assert.notEqual(copy.raw, again.raw);
    assert.equal(Deno.statSync(`/proc/self/fd/${again.raw}`).isDirectory, true);
  });

  it("is closed at the end of its scope", () => {
    let raw: number;
    {
      using fd = openDirectory("/");
      raw = fd.raw;
    }
    assert.throws(() => Deno.readLinkSync(`/proc/self/fd/${raw}`));
  });

  it("cannot be made of a failed call's result", () => {
    assert.throws(() => Fd.adopt(-1, "nothing"), RangeError);
  });
});

describe("netlink attributes", () => {
  it("are found by type, whatever stands around them", () => {
    const payload = new Uint8Array([9, 9, 9, 9, 5, 0, 7, 0, 42, 0, 0, 0, ...attributeU32(3, 77)]);
    const attributes = parseAttributes(payload, 4);
    assert.deepEqual(attributes.get(7), new Uint8Array([42]));
    assert.equal(readU32(attributes.get(3)), 77);
    assert.equal(readU32(attributes.get(8)), undefined);
  });

  it("end where the message is cut off", () => {
    assert.equal(parseAttributes(new Uint8Array([200, 0, 1, 0, 1]), 0).size, 0);
    assert.equal(parseAttributes(new Uint8Array([0, 0, 1, 0]), 0).size, 0);
  });
});

describe("this process", () => {
  it("knows which processes live", () => {
    assert.equal(isProcessAlive(Deno.pid), true);
    assert.equal(isProcessAlive(2 ** 22 + 1), false); // beyond the highest pid_max
  });

  it("reads the clock of eBPF, which never goes back", () => {
    const first = monotonicNs();
    assert.ok(first > 0n);
    assert.ok(monotonicNs() >= first);
  });

  it("raises its own limit of open files up to the maximum", () => {
    const { maximum } = resourceLimit(Resource.OPEN_FILES);
    assert.equal(raiseResourceLimit(Resource.OPEN_FILES, maximum).current, maximum);
    assert.equal(resourceLimit(Resource.OPEN_FILES).current, maximum);
  });

  it("tells file systems apart", () => {
    assert.equal(filesystemKind("/proc"), "other");
    assert.throws(() => filesystemKind("/nonexistent"), /Cannot tell file system .*ENOENT/);
  });
});

describe("a lock file", () => {
  it("is held by one at a time, and free again afterwards", () => {
    const path = Deno.makeTempFileSync({ prefix: "weft-lock-" });
    try {
      {
        using lock = FileLock.tryAcquire(path);
        assert.ok(lock);
        assert.equal(FileLock.tryAcquire(path), undefined);
      }
      using again = FileLock.tryAcquire(path);
      assert.ok(again);
    } finally {
      Deno.removeSync(path);
    }
  });
});
