/**
 * Reads BTF, the kernel's type information: from the section `.BTF` of an ELF object, or raw.
 *
 * In: bytes. Out: the types by their ids (the index into `types`; 0 is void), pure data. Only as
 * much as layouts need: no functions, no relocations. libbpf could do it, but then a layout could
 * only be generated and tested where libbpf is.
 *
 * @module
 */

import { boundedText } from "../memory.ts";

/** All types of one object. */
export class Btf {
  /** By id; 0 is void. */
  readonly types: readonly BtfType[];

  private constructor(types: readonly BtfType[]) {
    this.types = types;
  }

  /** Parses the contents of a `.BTF` section. */
  static parse(bytes: Uint8Array): Btf {
    return new Btf(parseTypes(bytes));
  }

  /** Parses the `.BTF` section of a 64-bit little-endian ELF object. */
  static parseElf(elf: Uint8Array): Btf {
    return Btf.parse(elfSection(elf, ".BTF"));
  }

  /** The type with this id. */
  type(id: number): BtfType {
    const type = this.types[id];
    if (type === undefined) throw new RangeError(`Cannot find BTF type ${id}`);
    return type;
  }

  /** The type of this kind and name. */
  find<K extends BtfType["kind"]>(kind: K, name: string): BtfTypeOf<K> | undefined {
    return this.types.find((type): type is BtfTypeOf<K> =>
      type.kind === kind && type.name === name
    );
  }

  /** The type behind typedefs and qualifiers. */
  resolve(id: number): BtfType {
    const type = this.type(id);
    return type.kind === "typedef" || type.kind === "qualifier" ? this.resolve(type.target) : type;
  }

  /** Size in bytes of a type. */
  sizeOf(id: number): number {
    const type = this.resolve(id);
    switch (type.kind) {
      case "int":
      case "struct":
      case "enum":
      case "float":
        return type.size;
      case "pointer":
        return 8;
      case "array":
        return type.length * this.sizeOf(type.element);
      default:
        throw new TypeError(`Cannot tell the size of BTF type ${id}: it is a ${type.kind}`);
    }
  }
}

/** One type. */
export type BtfType =
  | { readonly kind: "void"; readonly name: "" }
  | {
    readonly kind: "int";
    readonly name: string;
    readonly size: number;
    readonly signed: boolean;
  }
  | { readonly kind: "float"; readonly name: string; readonly size: number }
  | { readonly kind: "pointer"; readonly name: string; readonly target: number }
  | {
    readonly kind: "array";
    readonly name: string;
    readonly element: number;
    readonly length: number;
  }
  | {
    readonly kind: "struct";
    readonly name: string;
    readonly size: number;
    readonly union: boolean;
    readonly members: readonly BtfMember[];
  }
  | {
    readonly kind: "enum";
    readonly name: string;
    readonly size: number;
    readonly values: readonly BtfEnumerator[];
  }
  | { readonly kind: "typedef"; readonly name: string; readonly target: number }
  | { readonly kind: "qualifier"; readonly name: string; readonly target: number }
  | { readonly kind: "variable"; readonly name: string; readonly target: number }
  | {
    readonly kind: "section";
    readonly name: string;
    readonly size: number;
    readonly variables: readonly BtfVariable[];
  }
  | { readonly kind: "other"; readonly name: string };

/** The type of one kind. */
export type BtfTypeOf<K extends BtfType["kind"]> = Extract<BtfType, { kind: K }>;

/** A member of a structure or union. */
export interface BtfMember {
  readonly name: string;
  readonly type: number;
  readonly bitOffset: number;
  /** 0 when it is no bit field. */
  readonly bitSize: number;
}

/** A name of an enumeration. */
export interface BtfEnumerator {
  readonly name: string;
  readonly value: number | bigint;
}

/** Where a variable lies in its section. */
export interface BtfVariable {
  readonly type: number;
  readonly offset: number;
  readonly size: number;
}

const MAGIC = 0xeb9f;

/** `BTF_KIND_*` (include/uapi/linux/btf.h). */
const Kind = {
  INT: 1,
  PTR: 2,
  ARRAY: 3,
  STRUCT: 4,
  UNION: 5,
  ENUM: 6,
  FWD: 7,
  TYPEDEF: 8,
  VOLATILE: 9,
  CONST: 10,
  RESTRICT: 11,
  FUNC: 12,
  FUNC_PROTO: 13,
  VAR: 14,
  DATASEC: 15,
  FLOAT: 16,
  DECL_TAG: 17,
  TYPE_TAG: 18,
  ENUM64: 19,
} as const;

/** What every record starts with (`struct btf_type`). */
interface Header {
  readonly name: string;
  readonly kind: number;
  readonly count: number;
  readonly flag: boolean;
  /** Size or type, as the kind demands. */
  readonly word: number;
}

/** Walks the records of the type section. */
class Reader {
  readonly #view: DataView;
  readonly #strings: Uint8Array;
  #offset: number;

  constructor(view: DataView, offset: number, strings: Uint8Array) {
    this.#view = view;
    this.#offset = offset;
    this.#strings = strings;
  }

  get offset(): number {
    return this.#offset;
  }

  u32(): number {
    const value = this.#view.getUint32(this.#offset, true);
    this.#offset += 4;
    return value;
  }

  i32(): number {
    return this.u32() | 0;
  }

  name(): string {
    return boundedText(this.#strings.subarray(this.u32()));
  }

  skip(bytes: number): void {
    this.#offset += bytes;
  }

  list<T>(length: number, read: () => T): T[] {
    return Array.from({ length }, read);
  }
}

function parseTypes(bytes: Uint8Array): BtfType[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint16(0, true) !== MAGIC) throw new TypeError("Cannot parse BTF: bad magic number");
  const headerLength = view.getUint32(4, true);
  const start = headerLength + view.getUint32(8, true);
  const end = start + view.getUint32(12, true);
  const stringsStart = headerLength + view.getUint32(16, true);
  const strings = bytes.subarray(stringsStart, stringsStart + view.getUint32(20, true));
  const reader = new Reader(view, start, strings);
  const types: BtfType[] = [{ kind: "void", name: "" }];
  while (reader.offset < end) types.push(parseType(reader));
  return types;
}

function parseType(reader: Reader): BtfType {
  const name = reader.name();
  const info = reader.u32();
  const header: Header = {
    name,
    kind: (info >>> 24) & 0x1f,
    count: info & 0xffff,
    flag: info >>> 31 === 1,
    word: reader.u32(),
  };
  switch (header.kind) {
    case Kind.INT:
      return { kind: "int", name, size: header.word, signed: ((reader.u32() >>> 24) & 1) === 1 };
    case Kind.FLOAT:
      return { kind: "float", name, size: header.word };
    case Kind.PTR:
      return { kind: "pointer", name, target: header.word };
    case Kind.ARRAY:
      return parseArray(reader, name);
    case Kind.STRUCT:
    case Kind.UNION:
      return parseStruct(reader, header);
    case Kind.ENUM:
    case Kind.ENUM64:
      return parseEnum(reader, header);
    case Kind.TYPEDEF:
      return { kind: "typedef", name, target: header.word };
    case Kind.VOLATILE:
    case Kind.CONST:
    case Kind.RESTRICT:
    case Kind.TYPE_TAG:
      return { kind: "qualifier", name, target: header.word };
    case Kind.VAR:
      reader.skip(4);
      return { kind: "variable", name, target: header.word };
    case Kind.DATASEC:
      return parseSection(reader, header);
    default:
      return skipOther(reader, header);
  }
}

function parseArray(reader: Reader, name: string): BtfType {
  const element = reader.u32();
  reader.skip(4); // index type
  return { kind: "array", name, element, length: reader.u32() };
}

function parseStruct(reader: Reader, header: Header): BtfType {
  const members = reader.list(header.count, () => {
    const name = reader.name();
    const type = reader.u32();
    const offset = reader.u32();
    return {
      name,
      type,
      bitOffset: header.flag ? offset & 0xffffff : offset,
      bitSize: header.flag ? offset >>> 24 : 0,
    };
  });
  const union = header.kind === Kind.UNION;
  return { kind: "struct", name: header.name, size: header.word, union, members };
}

function parseEnum(reader: Reader, header: Header): BtfType {
  const wide = header.kind === Kind.ENUM64;
  const values = reader.list(header.count, () => {
    const name = reader.name();
    if (!wide) return { name, value: header.flag ? reader.i32() : reader.u32() };
    const low = BigInt(reader.u32());
    const high = BigInt(header.flag ? reader.i32() : reader.u32());
    return { name, value: (high << 32n) + low };
  });
  return { kind: "enum", name: header.name, size: header.word, values };
}

function parseSection(reader: Reader, header: Header): BtfType {
  const variables = reader.list(header.count, () => ({
    type: reader.u32(),
    offset: reader.u32(),
    size: reader.u32(),
  }));
  return { kind: "section", name: header.name, size: header.word, variables };
}

function skipOther(reader: Reader, header: Header): BtfType {
  if (header.kind === Kind.FUNC_PROTO) reader.skip(8 * header.count);
  if (header.kind === Kind.DECL_TAG) reader.skip(4);
  return { kind: "other", name: header.name };
}

/** Contents of one section of a 64-bit little-endian ELF file. */
function elfSection(elf: Uint8Array, name: string): Uint8Array {
  const view = new DataView(elf.buffer, elf.byteOffset, elf.byteLength);
  if (view.getUint32(0) !== 0x7f454c46 || elf[4] !== 2 || elf[5] !== 1) {
    throw new TypeError("Cannot parse object: it is no 64-bit little-endian ELF file");
  }
  const table = Number(view.getBigUint64(40, true));
  const entrySize = view.getUint16(58, true);
  const count = view.getUint16(60, true);
  const contents = (index: number) => {
    const header = table + index * entrySize;
    const offset = Number(view.getBigUint64(header + 24, true));
    return elf.subarray(offset, offset + Number(view.getBigUint64(header + 32, true)));
  };
  const names = contents(view.getUint16(62, true));
  for (let index = 0; index < count; index++) {
    const nameOffset = view.getUint32(table + index * entrySize, true);
    if (boundedText(names.subarray(nameOffset)) === name) return contents(index);
  }
  throw new TypeError(`Cannot find section "${name}" in object`);
}
