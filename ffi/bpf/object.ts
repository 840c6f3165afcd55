/**
 * A compiled eBPF object, from file to kernel.
 *
 * `open` reads it and applies everything that can only be set before loading (constants, sizes,
 * which programs, which maps are shared or pinned); `load` gives it to the kernel. After that it is
 * a set of maps and programs by name, which it owns. Nothing is attached: hooks are `BpfLink`s.
 *
 * A pinned map is reused only if it has exactly the shape that the object wants; otherwise the
 * error names the map and the difference, before anything is loaded.
 *
 * @module
 */

import { checkNegative, lastErrno } from "../check.ts";
import { Errno } from "../errno.ts";
import { type MapDifference, MapMismatchError, SyscallError } from "../errors.ts";
import { Fd } from "../fd.ts";
import { boundedText, cstring, fixedBytes, readBytes, readCstring, Struct } from "../memory.ts";
import { Btf } from "./btf.ts";
import type { AttachType } from "./constants.ts";
import { collectLog } from "./log.ts";
import { BpfMap } from "./map.ts";
import { BpfProgram, programError, VERIFIER_LOG_SIZE_BYTES } from "./program.ts";
import { libbpf } from "./symbols.ts";

/** An object file: opened, then loaded. */
export class BpfObject implements Disposable {
  /** Name, for messages and as prefix of internal maps. */
  readonly name: string;
  readonly #pointer: Deno.PointerObject;
  readonly #logs = new Map<string, Uint8Array<ArrayBuffer>>();
  readonly #stack = new DisposableStack();
  readonly #maps = new Map<string, BpfMap>();
  readonly #programs = new Map<string, BpfProgram>();
  #loaded = false;

  private constructor(name: string, pointer: Deno.PointerObject) {
    this.name = name;
    this.#pointer = pointer;
    this.#stack.defer(() => libbpf().bpf_object__close(pointer));
  }

  /** Reads an object from a file or from memory and prepares it as `options` say. */
  static open(source: string | Uint8Array, options: ObjectOptions = {}): BpfObject {
    const bytes = typeof source === "string" ? Deno.readFileSync(source) : source.slice();
    const name = options.name ?? (typeof source === "string" ? baseName(source) : "object");
    const object = new BpfObject(name, openMemory(name, bytes));
    try {
      object.#configurePrograms(options);
      object.#configureMaps(options);
      object.#setConstants(options.constants ?? {});
      return object;
    } catch (error) {
      object[Symbol.dispose]();
      throw error;
    }
  }

  /** Creates the maps that are not reused, and loads the programs. */
  load(): this {
    const lines: string[] = [];
    const result = collectLog(lines, () => libbpf().bpf_object__load(this.#pointer));
    if (result < 0) throw this.#loadError(-result, lines);
    this.#loaded = true;
    this.#logs.clear();
    for (const [name, map] of walkMaps(this.#pointer)) this.#adoptMap(name, map);
    for (const [name, program] of walkPrograms(this.#pointer)) this.#adoptProgram(name, program);
    return this;
  }

  /** The map of this name. It lives as long as the object; `duplicate()` outlives it. */
  map(name: string): BpfMap {
    return this.#maps.get(name) ?? this.#refuse("map", name);
  }

  /** The program of this name. It lives as long as the object. */
  program(name: string): BpfProgram {
    return this.#programs.get(name) ?? this.#refuse("program", name);
  }

  /** All maps by name, internal ones (".rodata") included. */
  get maps(): ReadonlyMap<string, BpfMap> {
    return this.#maps;
  }

  /** All loaded programs by name. */
  get programs(): ReadonlyMap<string, BpfProgram> {
    return this.#programs;
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }

  #configurePrograms(options: ObjectOptions): void {
    const wanted = options.programs && new Set(options.programs);
    for (const [name, program] of walkPrograms(this.#pointer)) {
      const load = wanted === undefined || wanted.delete(name);
      checkNegative(
        "bpf_program__set_autoload",
        libbpf().bpf_program__set_autoload(program, load),
      );
      if (!load) continue;
      const log = fixedBytes(VERIFIER_LOG_SIZE_BYTES);
      this.#logs.set(name, log);
      const result = libbpf().bpf_program__set_log_buf(program, log, BigInt(log.length));
      checkNegative("bpf_program__set_log_buf", result);
    }
    for (const name of wanted ?? []) this.#refuse("program", name);
  }

  #configureMaps(options: ObjectOptions): void {
    for (const [name, entries] of Object.entries(options.maxEntries ?? {})) {
      const result = libbpf().bpf_map__set_max_entries(this.#findMap(name), entries);
      checkNegative("bpf_map__set_max_entries", result, `Cannot size map "${name}"`);
    }
    for (const [name, shared] of Object.entries(options.reuse ?? {})) {
      this.#reuse(name, shared, `map ${shared.info.id}`);
    }
    for (const [name, path] of Object.entries(options.pins ?? {})) {
      using pinned = BpfMap.openPinned(path);
      if (pinned) this.#reuse(name, pinned, path);
      const result = libbpf().bpf_map__set_pin_path(this.#findMap(name), cstring(path));
      checkNegative("bpf_map__set_pin_path", result, `Cannot pin map "${name}" at "${path}"`);
    }
  }

  #reuse(name: string, map: BpfMap, path: string): void {
    const pointer = this.#findMap(name);
    const differences = compareShape(pointer, map);
    if (differences.length > 0) throw new MapMismatchError(name, path, differences);
    const result = libbpf().bpf_map__reuse_fd(pointer, map.fd);
    checkNegative("bpf_map__reuse_fd", result, `Cannot reuse map "${name}"`);
  }

  /** Writes `const volatile` variables of the programs, by name. */
  #setConstants(constants: Readonly<Record<string, Constant>>): void {
    const names = Object.keys(constants);
    if (names.length === 0) return;
    const size = new Struct(8);
    const start = libbpf().bpf_map__initial_value(this.#findMap(".rodata"), size.bytes);
    if (start === null) throw new TypeError(`Cannot set constants of object "${this.name}"`);
    const length = Number(size.u64(0));
    const memory = new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(start, length));
    const variables = readVariables(this.#pointer, ".rodata");
    for (const [name, value] of Object.entries(constants)) {
      const variable = variables.get(name) ?? this.#refuse("constant", name);
      memory.set(constantBytes(name, value, variable.size), variable.offset);
    }
  }

  #adoptMap(name: string, pointer: Deno.PointerObject): void {
    const raw = libbpf().bpf_map__fd(pointer);
    if (raw < 0) return;
    const map = BpfMap.adopt(Fd.duplicate(raw, `map ${name}`));
    this.#maps.set(name, this.#stack.use(map));
  }

  #adoptProgram(name: string, pointer: Deno.PointerObject): void {
    const raw = libbpf().bpf_program__fd(pointer);
    if (raw < 0) return;
    const attachType = libbpf().bpf_program__expected_attach_type(pointer) as AttachType;
    const program = BpfProgram.adopt(Fd.duplicate(raw, `program ${name}`), name, attachType);
    this.#programs.set(name, this.#stack.use(program));
  }

  #findMap(name: string): Deno.PointerObject {
    const pointer = libbpf().bpf_object__find_map_by_name(this.#pointer, cstring(name));
    return pointer ?? this.#refuse("map", name);
  }

  /** The failed program is the one whose log is not empty; else libbpf's own words must do. */
  #loadError(errno: number, lines: readonly string[]): Error {
    for (const [program, log] of this.#logs) {
      if (boundedText(log.subarray(0, 1)) !== "") return programError(program, log, errno);
    }
    const action = [`Cannot load object "${this.name}"`, ...lines.slice(-LINES_SHOWN)].join(": ");
    return new SyscallError("bpf_object__load", errno, action);
  }

  #refuse(what: string, name: string): never {
    const hint = this.#loaded || what === "constant" ? "" : ", or it is not loaded yet";
    throw new RangeError(`Cannot find ${what} "${name}" in object "${this.name}"${hint}`);
  }
}

/** What is settled before an object is loaded. */
export interface ObjectOptions {
  /** By default the file's name. */
  readonly name?: string;
  /** Values of `const volatile` variables; integers of any width, or raw bytes. */
  readonly constants?: Readonly<Record<string, Constant>>;
  /** Sizes of maps, by name, instead of the object's own. */
  readonly maxEntries?: Readonly<Record<string, number>>;
  /** Where maps are pinned, by name. What is there is reused, what is not is created and pinned. */
  readonly pins?: Readonly<Record<string, string>>;
  /** Maps to use instead of creating them, by name. */
  readonly reuse?: Readonly<Record<string, BpfMap>>;
  /** Programs to load; by default all. */
  readonly programs?: readonly string[];
}

/** Value of a `const volatile` variable. */
export type Constant = number | bigint | boolean | Uint8Array;

/** libbpf's last words are the ones that say what was wrong. */
const LINES_SHOWN = 3;
/** Up to `kernel_log_level` of `struct bpf_object_open_opts`, padded. */
const OPEN_OPTS_SIZE = 80;

function openMemory(name: string, bytes: Uint8Array<ArrayBuffer>): Deno.PointerObject {
  const options = new Struct(OPEN_OPTS_SIZE).setU64(0, OPEN_OPTS_SIZE);
  options.setPointer(8, cstring(name));
  const lines: string[] = [];
  const { pointer, errno } = collectLog(lines, () => {
    const pointer = libbpf().bpf_object__open_mem(bytes, BigInt(bytes.length), options.bytes);
    return { pointer, errno: pointer === null ? lastErrno() : 0 };
  });
  if (pointer !== null) return pointer;
  const action = [`Cannot open object "${name}"`, ...lines.slice(-LINES_SHOWN)].join(": ");
  throw new SyscallError("bpf_object__open_mem", errno, action);
}

function* walkMaps(object: Deno.PointerObject): Generator<[string, Deno.PointerObject]> {
  let map = libbpf().bpf_object__next_map(object, null);
  while (map !== null) {
    const name = readCstring(libbpf().bpf_map__name(map));
    yield [libbpf().bpf_map__is_internal(map) ? sectionOf(name) : name, map];
    map = libbpf().bpf_object__next_map(object, map);
  }
}

function* walkPrograms(object: Deno.PointerObject): Generator<[string, Deno.PointerObject]> {
  let program = libbpf().bpf_object__next_program(object, null);
  while (program !== null) {
    yield [readCstring(libbpf().bpf_program__name(program)), program];
    program = libbpf().bpf_object__next_program(object, program);
  }
}

function compareShape(pointer: Deno.PointerObject, map: BpfMap): MapDifference[] {
  const { info } = map;
  const pairs: [string, number, number][] = [
    ["type", info.type, libbpf().bpf_map__type(pointer)],
    ["key size", info.keySize, libbpf().bpf_map__key_size(pointer)],
    ["value size", info.valueSize, libbpf().bpf_map__value_size(pointer)],
    ["maximum of entries", info.maxEntries, libbpf().bpf_map__max_entries(pointer)],
    ["flags", info.flags, libbpf().bpf_map__map_flags(pointer)],
  ];
  return pairs.filter(([, current, wanted]) => current !== wanted)
    .map(([property, current, wanted]) => ({ property, current, wanted }));
}

/** Places of the variables in a data section, from the object's own BTF. */
function readVariables(
  object: Deno.PointerObject,
  section: string,
): Map<string, { offset: number; size: number }> {
  const pointer = libbpf().bpf_object__btf(object);
  const size = new Struct(4);
  const raw = pointer && libbpf().btf__raw_data(pointer, size.bytes);
  if (!raw) throw new SyscallError("btf__raw_data", Errno.ENOENT, "Cannot read types of object");
  const btf = Btf.parse(readBytes(raw, size.u32(0)));
  const found = btf.find("section", section);
  return new Map(
    found?.variables.map(({ type, offset, size }) => [btf.type(type).name, { offset, size }]),
  );
}

function constantBytes(name: string, value: Constant, size: number): Uint8Array {
  if (value instanceof Uint8Array) {
    if (value.length === size) return value;
    throw new RangeError(`Cannot set constant "${name}" of ${size} bytes to ${value.length} bytes`);
  }
  const bits = BigInt(value);
  if (BigInt.asUintN(size * 8, bits) !== bits && BigInt.asIntN(size * 8, bits) !== bits) {
    throw new RangeError(`Cannot set constant "${name}" of ${size} bytes to ${value}`);
  }
  return Uint8Array.from({ length: size }, (_, i) => Number((bits >> BigInt(8 * i)) & 0xffn));
}

/** libbpf names internal maps after the object: "steer.rodata" is ".rodata" to everyone else. */
function sectionOf(name: string): string {
  return name.slice(Math.max(0, name.indexOf(".")));
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1).replace(/(\.bpf)?\.o$/, "");
}
