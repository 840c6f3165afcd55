/**
 * What libbpf would print on standard error, as lines.
 *
 * libbpf explains failures (a bad relocation, a map that cannot be made) only through its print
 * function, which is one per process. So it is set for the duration of one synchronous call and
 * reset to silence. Only the isolate that loads programs may do so: a callback that another thread
 * runs into would wait for this one.
 *
 * @module
 */

import { openLibrary } from "../dlopen.ts";
import { boundedText, fixedBytes } from "../memory.ts";
import { libbpf } from "./symbols.ts";

/** Runs `action` and appends what libbpf warns about meanwhile to `lines`. */
export function collectLog<T>(lines: string[], action: () => T): T {
  const { vsnprintf } = openLibrary("libc.so.6", LIBC_PRINT);
  const buffer = fixedBytes(LINE_SIZE_BYTES);
  const print = new Deno.UnsafeCallback(PRINT, (level, format, args) => {
    if (level > LEVEL_WARN) return 0;
    vsnprintf(buffer, LINE_SIZE_BYTES, format, args);
    lines.push(boundedText(buffer).replace(/^libbpf: /, "").trimEnd());
    return 0;
  });
  libbpf().libbpf_set_print(print.pointer);
  try {
    return action();
  } finally {
    libbpf().libbpf_set_print(null);
    print.close();
  }
}

const LINE_SIZE_BYTES = 16_384;
/** LIBBPF_WARN of `enum libbpf_print_level`. */
const LEVEL_WARN = 0;

/** `int (*)(enum libbpf_print_level, const char *, va_list)`; a va_list is passed as an address. */
const PRINT = {
  parameters: ["i32", "pointer", "pointer"],
  result: "i32",
} as const satisfies Deno.UnsafeCallbackDefinition;

const LIBC_PRINT = {
  // int vsnprintf(char *str, size_t size, const char *format, va_list ap);
  vsnprintf: { parameters: ["buffer", "u32", "pointer", "pointer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;
