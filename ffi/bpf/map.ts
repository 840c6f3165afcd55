/**
 * A BPF map: rows of raw bytes.
 *
 * Keys and values are `Uint8Array`s of exactly the map's sizes (a short one would let the kernel
 * read beyond it, so every call checks); their structure is the business of `bpf/layout.gen.ts`.
 * "Not there" is an answer and not an error: `lookup` gives undefined, `delete` false. Everything
 * else throws `SyscallError` with the map's name.
 *
 * @module
 */

import { checkNegative } from "../check.ts";
import { Errno } from "../errno.ts";
import { SyscallError } from "../errors.ts";
import { Fd } from "../fd.ts";
import { cstring, fixedBytes, Struct } from "../memory.ts";
import { MapType, UpdateFlag } from "./constants.ts";
import { openPin } from "./pin.ts";
import { libbpf } from "./symbols.ts";

/** A map, from an object, from where it is pinned, by id, or newly made. */
export class BpfMap implements Disposable {
  readonly info: MapInfo;
  readonly #fd: Fd;
  /** Bytes of a value as bpf(2) copies it: for per-CPU maps one slot for each possible CPU. */
  readonly #copySize: number;

  private constructor(fd: Fd) {
    this.#fd = fd;
    this.info = readMapInfo(fd.raw);
    const perCpu = PER_CPU.has(this.info.type);
    this.#copySize = perCpu
      ? alignTo8(this.info.valueSize) * possibleCpus()
      : FD_VALUED.has(this.info.type)
      ? 4
      : this.info.valueSize;
  }

  /** Takes ownership of the descriptor of a map. */
  static adopt(fd: Fd): BpfMap {
    try {
      return new BpfMap(fd);
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  /** Opens a pinned map; undefined when nothing is pinned at `path`. */
  static openPinned(path: string): BpfMap | undefined {
    const fd = openPin(path, "map");
    return fd && BpfMap.adopt(fd);
  }

  /** Opens a map by its id; undefined when there is none. */
  static openById(id: number): BpfMap | undefined {
    const raw = libbpf().bpf_map_get_fd_by_id(id);
    if (raw === -Errno.ENOENT) return undefined;
    checkNegative("bpf_map_get_fd_by_id", raw, () => `Cannot open map ${id}`);
    return BpfMap.adopt(Fd.adopt(raw, `map ${id}`));
  }

  /** Makes a map that belongs to no object. */
  static create(definition: MapDefinition): BpfMap {
    const { type, name, keySize, valueSize, maxEntries } = definition;
    const options = new Struct(CREATE_OPTS_SIZE).setU64(0, CREATE_OPTS_SIZE);
    options.setU32(24, definition.innerMap?.fd ?? 0).setU32(28, definition.flags ?? 0);
    const raw = libbpf().bpf_map_create(
      type,
      cstring(name.slice(0, NAME_LENGTH_MAX)),
      keySize,
      valueSize,
      maxEntries,
      options.bytes,
    );
    checkNegative("bpf_map_create", raw, () => `Cannot create map "${name}"`);
    return BpfMap.adopt(Fd.adopt(raw, `map ${name}`));
  }

  /** The descriptor's number, for use as a value of another map or in `epoll`. */
  get fd(): number {
    return this.#fd.raw;
  }

  /** Name as the kernel has it: 15 characters at most. */
  get name(): string {
    return this.info.name;
  }

  /** The value at `key`, copied into `into` if given; undefined when there is none. */
  lookup(key: Uint8Array, into?: Uint8Array): Uint8Array | undefined {
    const value = into ?? new Uint8Array(this.#copySize);
    this.#checkSizes(key, value);
    const result = libbpf().bpf_map_lookup_elem(this.#fd.raw, buffer(key), buffer(value));
    if (result === -Errno.ENOENT) return undefined;
    checkNegative("bpf_map_lookup_elem", result, () => this.#doing("read"));
    return value;
  }

  /** Like `lookup`, and deletes the row in the same step. */
  take(key: Uint8Array): Uint8Array | undefined {
    const value = new Uint8Array(this.#copySize);
    this.#checkSizes(key, value);
    const result = libbpf().bpf_map_lookup_and_delete_elem(this.#fd.raw, buffer(key), value);
    if (result === -Errno.ENOENT) return undefined;
    checkNegative("bpf_map_lookup_and_delete_elem", result, () => this.#doing("take from"));
    return value;
  }

  /** Creates or replaces the row at `key`, as `flag` allows. */
  update(key: Uint8Array, value: Uint8Array, flag: UpdateFlag = UpdateFlag.ANY): void {
    this.#checkSizes(key, value);
    const result = libbpf().bpf_map_update_elem(this.#fd.raw, buffer(key), buffer(value), flag);
    checkNegative("bpf_map_update_elem", result, () => this.#doing("write"));
  }

  /** Deletes the row at `key`; false when there is none. */
  delete(key: Uint8Array): boolean {
    this.#checkSizes(key, undefined);
    const result = libbpf().bpf_map_delete_elem(this.#fd.raw, buffer(key));
    if (result === -Errno.ENOENT) return false;
    checkNegative("bpf_map_delete_elem", result, () => this.#doing("delete from"));
    return true;
  }

  /**
   * All keys. A map that changes meanwhile is not seen at one moment: a row may be missed, or seen
   * twice, but the walk ends.
   */
  keys(): Uint8Array[] {
    const keys: Uint8Array[] = [];
    let previous: Uint8Array<ArrayBuffer> | null = null;
    // A key that is deleted during the walk restarts it; the bound ends that.
    for (let steps = 2 * this.info.maxEntries + 1; steps > 0; steps--) {
      const key = fixedBytes(this.info.keySize);
      const result = libbpf().bpf_map_get_next_key(this.#fd.raw, previous, key);
      if (result === -Errno.ENOENT) break;
      checkNegative("bpf_map_get_next_key", result, () => this.#doing("walk"));
      keys.push(key);
      previous = key;
    }
    return keys;
  }

  /** All rows, in batches where the kernel can; as for `keys`, not one moment. */
  entries(): MapEntry[] {
    const batched = this.#batchedEntries();
    if (batched) return batched;
    const entries: MapEntry[] = [];
    for (const key of this.keys()) {
      const value = this.lookup(key);
      if (value) entries.push([key, value]);
    }
    return entries;
  }

  /** Deletes every row of a hash or LPM map. */
  clear(): void {
    for (const key of this.keys()) this.delete(key);
  }

  /** The value of each possible CPU at `key` of a per-CPU map. */
  lookupPerCpu(key: Uint8Array): Uint8Array[] | undefined {
    const all = this.lookup(key);
    return all && this.splitPerCpu(all);
  }

  /** Splits a value of a per-CPU map, as `lookup` and `entries` give it, by CPU. */
  splitPerCpu(value: Uint8Array): Uint8Array[] {
    const stride = alignTo8(this.info.valueSize);
    return Array.from(
      { length: value.length / stride },
      (_, cpu) => value.subarray(cpu * stride, cpu * stride + this.info.valueSize),
    );
  }

  /** Sums a per-CPU value that is made of `__u64` counters, member by member. */
  sumPerCpu(value: Uint8Array): bigint[] {
    const sums = new Array<bigint>(this.info.valueSize >> 3).fill(0n);
    for (const slot of this.splitPerCpu(value)) {
      const view = new DataView(slot.buffer, slot.byteOffset, slot.byteLength);
      for (let i = 0; i < sums.length; i++) {
        sums[i] = (sums[i] ?? 0n) + view.getBigUint64(i * 8, true);
      }
    }
    return sums;
  }

  /** From now on user space can no longer write the map. */
  freeze(): void {
    checkNegative(
      "bpf_map_freeze",
      libbpf().bpf_map_freeze(this.#fd.raw),
      () => this.#doing("freeze"),
    );
  }

  /** Pins the map at `path`, on a bpffs. */
  pin(path: string): void {
    const result = libbpf().bpf_obj_pin(this.#fd.raw, cstring(path));
    checkNegative("bpf_obj_pin", result, () => `Cannot pin map "${this.name}" at "${path}"`);
  }

  /** A second handle with its own life. */
  duplicate(): BpfMap {
    return BpfMap.adopt(this.#fd.duplicate());
  }

  [Symbol.dispose](): void {
    this.#fd.close();
  }

  #batchedEntries(): MapEntry[] | undefined {
    const { keySize, maxEntries, type } = this.info;
    if (UNBATCHED.has(type)) return undefined;
    let capacity = Math.min(maxEntries, BATCH_ROWS);
    const entries: MapEntry[] = [];
    let cursor: Uint8Array<ArrayBuffer> | null = null;
    for (;;) {
      const next = fixedBytes(Math.max(keySize, 8));
      const keys = fixedBytes(capacity * keySize);
      const values = fixedBytes(capacity * this.#copySize);
      const count = new Struct(4).setU32(0, capacity);
      const result = libbpf().bpf_map_lookup_batch(
        this.#fd.raw,
        cursor,
        next,
        keys,
        values,
        count.bytes,
        null,
      );
      if (result === -Errno.ENOSPC && capacity < maxEntries) {
        capacity = Math.min(maxEntries, capacity * 2); // one bucket of the hash holds more
        continue;
      }
      if (result < 0 && result !== -Errno.ENOENT) {
        if (cursor === null && NO_BATCH.has(-result)) return undefined;
        throw new SyscallError("bpf_map_lookup_batch", -result, this.#doing("walk"));
      }
      collectRows(entries, count.u32(0), keys, keySize, values, this.#copySize);
      if (result === -Errno.ENOENT) return entries;
      cursor = next;
    }
  }

  #checkSizes(key: Uint8Array, value: Uint8Array | undefined): void {
    if (key.length !== this.info.keySize) this.#refuse("key", key.length, this.info.keySize);
    if (value && value.length !== this.#copySize) {
      this.#refuse("value", value.length, this.#copySize);
    }
  }

  #refuse(what: string, current: number, wanted: number): never {
    throw new RangeError(
      `Cannot use a ${what} of ${current} bytes with map "${this.name}": want ${wanted}`,
    );
  }

  #doing(verb: string): string {
    return `Cannot ${verb} map "${this.name}"`;
  }
}

/** A row: its key and its value. */
export type MapEntry = [key: Uint8Array, value: Uint8Array];

/** What the kernel knows about a map. */
export interface MapInfo {
  readonly type: number;
  readonly id: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly name: string;
}

/** What a new map is to be. */
export interface MapDefinition {
  readonly type: MapType;
  readonly name: string;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** `MapFlag`s, or-ed. */
  readonly flags?: number;
  /** For maps of maps: a map of the shape that the inner ones have. */
  readonly innerMap?: BpfMap;
}

/** Number of CPUs that this machine could have: the slots of a per-CPU value. */
export function possibleCpus(): number {
  cpus ??= checkNegative("libbpf_num_possible_cpus", libbpf().libbpf_num_possible_cpus());
  return cpus;
}

let cpus: number | undefined;

/** Rows of one batch: enough to make the call's cost vanish, few enough to stay in cache. */
const BATCH_ROWS = 1024;
/** BPF_OBJ_NAME_LEN less its NUL. */
const NAME_LENGTH_MAX = 15;
/** Up to `map_flags` of `struct bpf_map_create_opts`. */
const CREATE_OPTS_SIZE = 32;
/** `struct bpf_map_info` up to `name`. */
const MAP_INFO_SIZE = 40;

const PER_CPU: ReadonlySet<number> = new Set([
  MapType.PERCPU_HASH,
  MapType.PERCPU_ARRAY,
  MapType.LRU_PERCPU_HASH,
]);
/** Maps whose values are descriptors or ids, whatever the definition says. */
const FD_VALUED: ReadonlySet<number> = new Set([
  MapType.PROG_ARRAY,
  MapType.ARRAY_OF_MAPS,
  MapType.HASH_OF_MAPS,
]);
/** Maps that cannot be walked in batches. */
const UNBATCHED: ReadonlySet<number> = new Set([MapType.PROG_ARRAY, MapType.SK_STORAGE]);
/** How kernels say that a map type has no batch operation. */
const NO_BATCH: ReadonlySet<number> = new Set([Errno.ENOTSUPP, Errno.EOPNOTSUPP, Errno.EINVAL]);

function readMapInfo(fd: number): MapInfo {
  const info = new Struct(MAP_INFO_SIZE);
  const length = new Struct(4).setU32(0, MAP_INFO_SIZE);
  const result = libbpf().bpf_obj_get_info_by_fd(fd, info.bytes, length.bytes);
  checkNegative("bpf_obj_get_info_by_fd", result, "Cannot read what a map is");
  return {
    type: info.u32(0),
    id: info.u32(4),
    keySize: info.u32(8),
    valueSize: info.u32(12),
    maxEntries: info.u32(16),
    flags: info.u32(20),
    name: info.text(24, 16),
  };
}

function collectRows(
  entries: MapEntry[],
  count: number,
  keys: Uint8Array,
  keySize: number,
  values: Uint8Array,
  valueSize: number,
): void {
  for (let i = 0; i < count; i++) {
    entries.push([
      keys.subarray(i * keySize, (i + 1) * keySize),
      values.subarray(i * valueSize, (i + 1) * valueSize),
    ]);
  }
}

function alignTo8(size: number): number {
  return (size + 7) & ~7;
}

/** Deno's types want a buffer that is not shared; the check is a field access. */
function buffer(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  if (bytes.buffer instanceof ArrayBuffer) return bytes as Uint8Array<ArrayBuffer>;
  throw new TypeError("Cannot pass shared memory to bpf(2)");
}
