/**
 * Finds where an ELF file names its program interpreter. In: the bytes of a 64-bit little-endian
 * executable. Out: offset and size of the name, so that it can be overwritten in place.
 *
 * @module
 */

/** Type of the program header that points to the interpreter's name (elf.h). */
const PT_INTERP = 3;

export interface Extent {
  readonly offset: number;
  readonly size: number;
}

/** Where the interpreter's name is, its terminating zero included. */
export function findInterpreter(file: Uint8Array): Extent {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (view.getUint32(0) !== 0x7f454c46 || view.getUint8(4) !== 2 || view.getUint8(5) !== 1) {
    throw new Error("Not a 64-bit little-endian ELF file");
  }
  const table = Number(view.getBigUint64(0x20, true)); // e_phoff
  const entrySize = view.getUint16(0x36, true); // e_phentsize
  const count = view.getUint16(0x38, true); // e_phnum
  for (let at = table; at < table + count * entrySize; at += entrySize) {
    if (view.getUint32(at, true) !== PT_INTERP) continue;
    const offset = Number(view.getBigUint64(at + 0x08, true)); // p_offset
    const size = Number(view.getBigUint64(at + 0x20, true)); // p_filesz
    return { offset, size };
  }
  throw new Error("The ELF file has no interpreter");
}
