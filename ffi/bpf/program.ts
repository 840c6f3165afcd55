/**
 * A loaded BPF program.
 *
 * Holds one descriptor; the kernel keeps the program as long as a descriptor, a link or a pin does.
 * `tag` is the kernel's hash of the instructions: equal tags mean the same code, whichever build
 * it came from.
 *
 * @module
 */

import { checkNegative } from "../check.ts";
import { Errno } from "../errno.ts";
import { SyscallError, VerifierError } from "../errors.ts";
import { Fd } from "../fd.ts";
import { boundedText, cstring, fixedBytes, Struct } from "../memory.ts";
import type { AttachType, ProgramType } from "./constants.ts";
import { openPin } from "./pin.ts";
import { libbpf } from "./symbols.ts";

/** A program in the kernel. */
export class BpfProgram implements Disposable {
  readonly info: ProgramInfo;
  /** Name in the object, or else the kernel's (15 characters at most). */
  readonly name: string;
  /** The hook it was written for, where the object says so. */
  readonly attachType: AttachType | undefined;
  readonly #fd: Fd;

  private constructor(fd: Fd, name?: string, attachType?: AttachType) {
    this.#fd = fd;
    this.info = readProgramInfo(fd.raw);
    this.name = name ?? this.info.name;
    this.attachType = attachType;
  }

  /** Takes ownership of the descriptor of a program. */
  static adopt(fd: Fd, name?: string, attachType?: AttachType): BpfProgram {
    try {
      return new BpfProgram(fd, name, attachType);
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  /** Opens a pinned program; undefined when nothing is pinned at `path`. */
  static openPinned(path: string): BpfProgram | undefined {
    const fd = openPin(path, "program");
    return fd && BpfProgram.adopt(fd);
  }

  /** Opens a program by its id; undefined when there is none. */
  static openById(id: number): BpfProgram | undefined {
    const raw = libbpf().bpf_prog_get_fd_by_id(id);
    if (raw === -Errno.ENOENT) return undefined;
    checkNegative("bpf_prog_get_fd_by_id", raw, () => `Cannot open program ${id}`);
    return BpfProgram.adopt(Fd.adopt(raw, `program ${id}`));
  }

  /** Loads raw instructions, in which map references are descriptors already. */
  static load(definition: ProgramDefinition): BpfProgram {
    const { type, attachType, name, license, instructions } = definition;
    const log = fixedBytes(VERIFIER_LOG_SIZE_BYTES);
    const options = new Struct(LOAD_OPTS_SIZE).setU64(0, LOAD_OPTS_SIZE);
    options.setU32(12, attachType ?? 0);
    options.setU32(92, log.length).setPointer(96, log);
    const raw = libbpf().bpf_prog_load(
      type,
      cstring(name.slice(0, NAME_LENGTH_MAX)),
      cstring(license),
      instructions,
      BigInt(instructions.length / INSTRUCTION_SIZE_BYTES),
      options.bytes,
    );
    if (raw < 0) throw programError(name, log, -raw);
    return BpfProgram.adopt(Fd.adopt(raw, `program ${name}`), name, attachType);
  }

  /** The descriptor's number. */
  get fd(): number {
    return this.#fd.raw;
  }

  /** Runs the program once (or `repeat` times) on given bytes (BPF_PROG_TEST_RUN). */
  testRun(input: TestRunInput): TestRunResult {
    const { dataIn, contextIn, repeat = 1 } = input;
    const dataOut = fixedBytes(input.dataOutSize ?? (dataIn ? dataIn.length + 256 : 0));
    const contextOut = fixedBytes(contextIn?.length ?? 0);
    const options = new Struct(TEST_RUN_OPTS_SIZE).setU64(0, TEST_RUN_OPTS_SIZE);
    if (dataIn) {
      options.setPointer(8, dataIn).setU32(24, dataIn.length);
      options.setPointer(16, dataOut).setU32(28, dataOut.length);
    }
    if (contextIn) {
      options.setPointer(32, contextIn).setU32(48, contextIn.length);
      options.setPointer(40, contextOut).setU32(52, contextOut.length);
    }
    options.setU32(60, repeat);
    const result = libbpf().bpf_prog_test_run_opts(this.#fd.raw, options.bytes);
    checkNegative("bpf_prog_test_run_opts", result, () => `Cannot test program "${this.name}"`);
    return {
      retval: options.view.getInt32(56, true),
      dataOut: dataOut.subarray(0, options.u32(28)),
      contextOut: contextOut.subarray(0, options.u32(52)),
      durationNs: options.u32(64),
    };
  }

  /** Runs a program of type SYSCALL once, on a context of its own; returns what it returns. */
  call(context: Uint8Array<ArrayBuffer>): number {
    const options = new Struct(TEST_RUN_OPTS_SIZE).setU64(0, TEST_RUN_OPTS_SIZE);
    options.setPointer(32, context).setU32(48, context.length);
    const result = libbpf().bpf_prog_test_run_opts(this.#fd.raw, options.bytes);
    checkNegative("bpf_prog_test_run_opts", result, () => `Cannot call program "${this.name}"`);
    return options.view.getInt32(56, true);
  }

  /** Pins the program at `path`, on a bpffs. */
  pin(path: string): void {
    const result = libbpf().bpf_obj_pin(this.#fd.raw, cstring(path));
    checkNegative("bpf_obj_pin", result, () => `Cannot pin program "${this.name}" at "${path}"`);
  }

  [Symbol.dispose](): void {
    this.#fd.close();
  }
}

/** What the kernel knows about a program. */
export interface ProgramInfo {
  readonly type: number;
  readonly id: number;
  /** Hash of the instructions, in hexadecimal. */
  readonly tag: string;
  readonly name: string;
}

/** What to load. */
export interface ProgramDefinition {
  readonly type: ProgramType;
  readonly attachType?: AttachType;
  readonly name: string;
  /** "GPL" where helpers demand it. */
  readonly license: string;
  /** `struct bpf_insn`s, 8 bytes each. */
  readonly instructions: Uint8Array<ArrayBuffer>;
}

/** Input of a test run; which of it a program type takes is the kernel's choice. */
export interface TestRunInput {
  readonly dataIn?: Uint8Array<ArrayBuffer>;
  /** The program's context, such as a `struct __sk_buff`. */
  readonly contextIn?: Uint8Array<ArrayBuffer>;
  readonly repeat?: number;
  /** Room for the packet afterwards; by default the input's size and 256 bytes. */
  readonly dataOutSize?: number;
}

/** Outcome of a test run. */
export interface TestRunResult {
  readonly retval: number;
  readonly dataOut: Uint8Array;
  readonly contextOut: Uint8Array;
  /** Average time of one run. */
  readonly durationNs: number;
}

/** Room for one program's verifier log. Pages that the kernel does not write cost nothing. */
export const VERIFIER_LOG_SIZE_BYTES = 4 << 20;

/** The error for a program that was not loaded: the verifier's, if it said anything. */
export function programError(
  name: string,
  log: Uint8Array,
  errno: number,
): VerifierError | SyscallError {
  const cause = new SyscallError("bpf(BPF_PROG_LOAD)", errno, `Cannot load program "${name}"`);
  const lines = boundedText(log).split("\n").filter((line) => line !== "");
  return lines.length === 0 ? cause : new VerifierError(name, lines, { cause });
}

const INSTRUCTION_SIZE_BYTES = 8;
/** BPF_OBJ_NAME_LEN less its NUL. */
const NAME_LENGTH_MAX = 15;
/** Up to `token_fd` of `struct bpf_prog_load_opts`. */
const LOAD_OPTS_SIZE = 112;
/** `struct bpf_test_run_opts`. */
const TEST_RUN_OPTS_SIZE = 80;
/** `struct bpf_prog_info` up to `name`. */
const PROG_INFO_SIZE = 80;

function readProgramInfo(fd: number): ProgramInfo {
  const info = new Struct(PROG_INFO_SIZE);
  const length = new Struct(4).setU32(0, PROG_INFO_SIZE);
  const result = libbpf().bpf_obj_get_info_by_fd(fd, info.bytes, length.bytes);
  checkNegative("bpf_obj_get_info_by_fd", result, "Cannot read what a program is");
  return {
    type: info.u32(0),
    id: info.u32(4),
    tag: info.bytes.subarray(8, 16).toHex(),
    name: info.text(64, 16),
  };
}
