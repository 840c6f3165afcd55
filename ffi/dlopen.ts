/**
 * Opens shared libraries: the only place that calls `Deno.dlopen`.
 *
 * In: the soname and a symbol table (C prototypes as data). Out: the callable symbols, one handle
 * per table and isolate, never closed: code of the library may run until the process ends. Sonames
 * are bare, so the closure beside the executable decides which library answers; a path here would
 * tie weft to the host's libraries.
 *
 * @module
 */

import { LibraryError } from "./errors.ts";

/** Sonames of every library that weft calls. */
export type LibraryName = "libbpf.so.1" | "libc.so.6" | "libssl.so.3" | "libcrypto.so.3";

/** The callable symbols of a table. */
export type Symbols<T extends Deno.ForeignLibraryInterface> = Deno.DynamicLibrary<T>["symbols"];

/** Opens `library` (once per table and isolate) and returns the symbols that `table` declares. */
export function openLibrary<T extends Deno.ForeignLibraryInterface>(
  library: LibraryName,
  table: T,
): Symbols<T> {
  const known = opened.get(table);
  if (known) return known as Symbols<T>;
  try {
    const { symbols } = Deno.dlopen(library, table);
    opened.set(table, symbols);
    return symbols;
  } catch (cause) {
    throw new LibraryError(library, { cause });
  }
}

const opened = new WeakMap<Deno.ForeignLibraryInterface, unknown>();
