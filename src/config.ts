/**
 * Settings of an agent: what the command line says becomes one frozen `Config`, or a `ConfigError`
 * that names the option. Invariant: nothing after this reads flags or the environment. Unknown
 * settings are errors: a misspelt `--default-mode` must not quietly mean the default.
 *
 * @module
 */
import { z } from "zod";
import { ConfigError } from "./errors.ts";
import { LOG_LEVELS, type LogLevel } from "./log.ts";
import type { Mode, SameNode } from "./model/mod.ts";

/** Settings of one agent; every path is absolute. */
export interface Config {
  /** name of this node */
  readonly node: string;
  readonly source: {
    /** folder of YAML */
    readonly directory: string;
    /** where each agent writes its WeftNode; read by all */
    readonly nodesDirectory: string;
  };
  /** holds `weft.sock`; 0700 */
  readonly runDirectory: string;
  /** issuer key, bundle, last good snapshot; 0700 */
  readonly stateDirectory: string;
  /** the root's, where this machine has it */
  readonly caDirectory: string;
  /** directory of pins on a bpffs */
  readonly bpffs: string;
  /** root of the node's cgroup2 tree */
  readonly cgroup: string;
  readonly trustDomain: string;
  /** policies there may target any namespace */
  readonly systemNamespace: string;
  readonly enroll: "label" | "all";
  readonly defaultMode: Mode;
  readonly sameNode: SameNode;
  readonly svidTtlMs: number;
  /** relay workers */
  readonly workers: number;
  readonly metrics?: { readonly hostname: string; readonly port: number };
  /** TLS secrets for debugging: whoever reads it reads the traffic */
  readonly keylogFile?: string;
  readonly logLevel: LogLevel;
}

export const WORKERS_MAX = 8;
const SVID_TTL_MS_MIN = 10_000;
const SVID_TTL_MS_MAX = 24 * 3_600_000;
const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

const path = z.string().refine((text) => text.startsWith("/"), "must be an absolute path");
const dnsLabel = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const dnsName = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const name = z.string().max(253).regex(dnsName, "must be a DNS name in lower case");

/** Raw settings; keys are commander's names of the options of `weft run`. */
const settings = z.strictObject({
  source: path,
  nodesDir: path.optional(),
  node: name,
  runDir: path,
  stateDir: path,
  caDir: path.optional(),
  bpffs: path,
  cgroup: path,
  trustDomain: name,
  systemNamespace: z.string().regex(dnsLabel, "must be a DNS label in lower case"),
  enroll: z.enum(["label", "all"]),
  defaultMode: z.string().transform((text) => text.toUpperCase())
    .pipe(z.enum(["STRICT", "PERMISSIVE", "DISABLE"])),
  sameNode: z.enum(["encrypt", "attest"]),
  svidTtl: z.string().transform(parseDurationMs)
    .pipe(z.number().min(SVID_TTL_MS_MIN).max(SVID_TTL_MS_MAX)),
  workers: z.coerce.number().int().min(1).max(WORKERS_MAX),
  metricsAddr: z.string().transform(parseHostPort).optional(),
  insecureKeylog: path.optional(),
  logLevel: z.enum(LOG_LEVELS),
});

/** What `weft run` hands over. */
export type Settings = z.input<typeof settings>;

/** Checks settings. */
export function parseConfig(input: unknown): Config {
  const result = settings.safeParse(input);
  if (!result.success) throw configError(result.error.issues[0]);
  const given = result.data;
  const config: Config = {
    node: given.node,
    source: Object.freeze({
      directory: given.source,
      nodesDirectory: given.nodesDir ?? `${given.source}/.nodes`,
    }),
    runDirectory: given.runDir,
    stateDirectory: given.stateDir,
    caDirectory: given.caDir ?? `${given.stateDir}/ca`,
    bpffs: given.bpffs,
    cgroup: given.cgroup,
    trustDomain: given.trustDomain,
    systemNamespace: given.systemNamespace,
    enroll: given.enroll,
    defaultMode: given.defaultMode,
    sameNode: given.sameNode,
    svidTtlMs: given.svidTtl,
    workers: given.workers,
    ...(given.metricsAddr && { metrics: Object.freeze(given.metricsAddr) }),
    ...(given.insecureKeylog && { keylogFile: given.insecureKeylog }),
    logLevel: given.logLevel,
  };
  return Object.freeze(config);
}

/** Milliseconds of "90s", "15m", "1h30m"; NaN when it is none. */
export function parseDurationMs(text: string): number {
  if (!/^(\d+(ms|s|m|h|d))+$/.test(text)) return NaN;
  let total = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)(ms|s|m|h|d)/g)) {
    total += Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
  }
  return total;
}

/** `127.0.0.1:9469`, `[::1]:9469` or `:9469` (all addresses). */
function parseHostPort(
  text: string,
  context: z.core.$RefinementCtx<string>,
): { hostname: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65535) {
    context.addIssue({ code: "custom", message: 'must be "HOST:PORT", as in "127.0.0.1:9469"' });
    return z.NEVER;
  }
  return { hostname: match[1] ?? (match[2] || "::"), port };
}

function configError(issue: z.core.$ZodIssue | undefined): ConfigError {
  const key = String(issue?.path[0] ?? (issue?.code === "unrecognized_keys" ? issue.keys[0] : "?"));
  const option = `--${key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  const message = describeIssue(key, issue);
  return new ConfigError(`Cannot use "${option}": ${message}`, { option });
}

function describeIssue(key: string, issue: z.core.$ZodIssue | undefined): string {
  if (key === "svidTtl") return 'must be a duration between "10s" and "24h", as in "1h"';
  if (issue?.code === "invalid_value") return `must be one of ${issue.values.join(", ")}`;
  if (issue?.code === "invalid_type" && issue.input === undefined) return "it is required";
  return issue?.message ?? "it is not valid";
}
