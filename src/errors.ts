/**
 * Expected failures: typed, with a literal `code` to switch on, structured fields and a cause. In
 * comes a condition that a caller can act on, out goes one line that names what is and what should
 * be. Invariant: no message holds a secret. Hints are no part of an error: the command line adds
 * them, because only it knows what the reader was doing.
 *
 * @module
 */

/** Everything that weft throws on purpose, apart from the errors of `ffi/`. */
export type AgentError =
  | UsageError
  | ConfigError
  | SourceError
  | PolicyError
  | CertificateError
  | UnsupportedFeatureError
  | DatapathError
  | RelayError
  | InUseError
  | UnreachableError
  | RequestError
  | NotFoundError;

/** A command line that cannot be understood. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  readonly code = "usage";
}

/** A setting that is missing, malformed or contradicts another. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly code = "config";
  readonly option: string;

  constructor(message: string, fields: { option: string }, options?: ErrorOptions) {
    super(message, options);
    this.option = fields.option;
  }
}

/** The source of objects cannot be read; what is in force stays in force. */
export class SourceError extends Error {
  override readonly name = "SourceError";
  readonly code = "source";
  readonly path: string;

  constructor(message: string, fields: { path: string }, options?: ErrorOptions) {
    super(message, options);
    this.path = fields.path;
  }
}

/** An object of the source that cannot be accepted. */
export class PolicyError extends Error {
  override readonly name = "PolicyError";
  readonly code = "policy";
  /** `Kind namespace/name` */
  readonly object: string;
  /** of the field, e.g. `spec.mtls.mode` */
  readonly path: string;

  constructor(message: string, fields: { object: string; path: string }, options?: ErrorOptions) {
    super(message, options);
    this.object = fields.object;
    this.path = fields.path;
  }
}

/** A certificate or an authority that is missing, unusable or untrusted. */
export class CertificateError extends Error {
  override readonly name = "CertificateError";
  readonly code = "certificate";
  /** a SPIFFE ID, or the file or authority where there is none */
  readonly subject: string;

  constructor(message: string, fields: { subject: string }, options?: ErrorOptions) {
    super(message, options);
    this.subject = fields.subject;
  }
}

/** The running kernel or a library lacks something that weft cannot do without. */
export class UnsupportedFeatureError extends Error {
  override readonly name = "UnsupportedFeatureError";
  readonly code = "unsupported-feature";
  readonly feature: string;

  constructor(message: string, fields: { feature: string }, options?: ErrorOptions) {
    super(message, options);
    this.feature = fields.feature;
  }
}

/** A program, map, link or pin could not be made, read or updated. */
export class DatapathError extends Error {
  override readonly name = "DatapathError";
  readonly code = "datapath";
  /** of the program, map, link or pin */
  readonly object: string;

  constructor(message: string, fields: { object: string }, options?: ErrorOptions) {
    super(message, options);
    this.object = fields.object;
  }
}

/** A relay worker failed as a whole (one connection's failure is an event, not an error). */
export class RelayError extends Error {
  override readonly name = "RelayError";
  readonly code = "relay";
}

/** Another agent holds the run directory. */
export class InUseError extends Error {
  override readonly name = "InUseError";
  readonly code = "in-use";
  readonly path: string;

  constructor(message: string, fields: { path: string }, options?: ErrorOptions) {
    super(message, options);
    this.path = fields.path;
  }
}

/** No agent answers on the socket. */
export class UnreachableError extends Error {
  override readonly name = "UnreachableError";
  readonly code = "unreachable";
  readonly path: string;
  /** whether there is nobody, or somebody who may not be asked */
  readonly how: "absent" | "forbidden" | "broken";

  constructor(
    message: string,
    fields: { path: string; how: "absent" | "forbidden" | "broken" },
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.path = fields.path;
    this.how = fields.how;
  }
}

/** The agent answered a request with an error. */
export class RequestError extends Error {
  override readonly name = "RequestError";
  readonly code = "request";
  readonly status: number;

  constructor(message: string, fields: { status: number }, options?: ErrorOptions) {
    super(message, options);
    this.status = fields.status;
  }
}

/** Something was named that does not exist. */
export class NotFoundError extends Error {
  override readonly name = "NotFoundError";
  readonly code = "not-found";
  /** what was looked for, e.g. `pod default/frontend` */
  readonly object: string;

  constructor(message: string, fields: { object: string }, options?: ErrorOptions) {
    super(message, options);
    this.object = fields.object;
  }
}

/** The literal code of an error of weft (also of `ffi/`), or "internal". */
export function errorCode(error: unknown): string {
  if (error instanceof Error && "code" in error && typeof error.code === "string") {
    return error.code;
  }
  return "internal";
}

/** One line: the message and those of its causes. */
export function formatError(error: unknown): string {
  const parts: string[] = [];
  let current: unknown = error;
  for (let depth = 0; depth < CAUSES_MAX && current !== undefined; depth++) {
    parts.push(current instanceof Error ? current.message || current.name : String(current));
    current = current instanceof Error ? current.cause : undefined;
  }
  return parts.join(": ").replaceAll(/\s*\n\s*/g, " ");
}

/** A chain longer than this is a cycle or noise. */
const CAUSES_MAX = 8;
