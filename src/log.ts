/**
 * The agent's log: one JSON line per event on standard error. In come an event's name and fields,
 * out goes `{"time","level","event",…}`. Invariant: no key material leaves through it: byte arrays
 * are reduced to their length, and a string that looks like a private key is withheld. Fields
 * rather than sentences, because operators filter logs by field; the sentences are in `reasons.ts`.
 *
 * @module
 */
import { errorCode, formatError } from "./errors.ts";

export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = typeof LOG_LEVELS[number];
export type LogFields = Readonly<Record<string, unknown>>;

/** Writes events; `event` is a short literal in lower-case words with dashes. */
export interface Log {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** A log that adds `fields` to each of its lines. */
  with(fields: LogFields): Log;
}

export interface LogOptions {
  /** events below it are not written @default {"info"} */
  readonly level?: LogLevel;
  /** takes one line with its line feed @default standard error */
  readonly write?: (line: string) => void;
  /** of every line */
  readonly fields?: LogFields;
}

/** Opens a log. Workers open their own: lines are written whole. */
export function openLog(options: LogOptions = {}): Log {
  const write = options.write ?? writeStandardError;
  const threshold = LOG_LEVELS.indexOf(options.level ?? "info");
  const common = options.fields ?? {};
  const at = (level: LogLevel) => (event: string, fields: LogFields = {}): void => {
    if (LOG_LEVELS.indexOf(level) < threshold) return;
    write(formatLine({ level, event }, { ...common, ...fields }));
  };
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    with: (fields) => openLog({ ...options, fields: { ...common, ...fields } }),
  };
}

function formatLine(head: { level: LogLevel; event: string }, fields: LogFields): string {
  const time = new Date().toISOString();
  return JSON.stringify({ time, ...head, ...fields, level: head.level }, presentable) + "\n";
}

/** What a field becomes in JSON. */
function presentable(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "string") return PRIVATE_KEY.test(value) ? "(withheld)" : value;
  if (value instanceof Error) return { code: errorCode(value), message: formatError(value) };
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) {
    return `(${value.byteLength} bytes)`;
  }
  if (value instanceof Map) return Object.fromEntries(value);
  if (value instanceof Set) return [...value];
  return value;
}

const PRIVATE_KEY = /PRIVATE KEY|(CLIENT|SERVER)_(HANDSHAKE_)?TRAFFIC_SECRET/;
const encoder = new TextEncoder();

/** Never throws: a log that cannot be written must not stop a node. */
function writeStandardError(line: string): void {
  const bytes = encoder.encode(line);
  try {
    for (let sent = 0; sent < bytes.length;) sent += Deno.stderr.writeSync(bytes.subarray(sent));
  } catch {
    // Nobody reads standard error any more.
  }
}
