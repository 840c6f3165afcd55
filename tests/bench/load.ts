/**
 * The loads: each drives one path for a bounded time and says what it achieved.
 *
 * In: a pod to run in, and where to. Out: figures, or an error when a single request or transfer
 * failed: a path that drops connections is not fast. Invariant: a load ends by itself, by its own
 * clock, and is killed when that fails.
 *
 * @module
 */
import type { Testbed } from "../testbed/mod.ts";
import type { Ports } from "./peers.ts";

/** A load by name. */
export interface Load {
  readonly name: LoadName;
  readonly title: string;
  /** The figure by which paths are compared. */
  readonly rate: { readonly unit: string; readonly digits: number };
  /** What processor time is divided by. */
  readonly cost: { readonly unit: string; readonly digits: number };
  /** Whether buffers of 64 KiB are worth a column of their own. */
  readonly isBulk: boolean;
  readonly drive: (bed: Testbed, target: Target) => Promise<Outcome>;
}

export type LoadName = "up1" | "down1" | "up4" | "down4" | "keep1" | "keep32" | "new16";

/** Where to. */
export interface Target {
  readonly hostname: string;
  readonly ports: Ports;
}

/** What a load achieved. */
export interface Outcome {
  /** in the unit of its `rate` */
  readonly rate: number;
  /** how many of the unit of its `cost` were carried */
  readonly carried: number;
  readonly p50Us?: number;
  readonly p99Us?: number;
}

export const LOADS: readonly Load[] = [
  bulk("up1", "bulk to the server, 1 connection", []),
  bulk("down1", "bulk to the client, 1 connection", ["-R"]),
  bulk("up4", "bulk to the server, 4 connections", ["-P", "4"]),
  bulk("down4", "bulk to the client, 4 connections", ["-R", "-P", "4"]),
  requests("keep1", "requests, 1 kept connection", 1),
  requests("keep32", "requests, 32 kept connections", 32),
  connections("new16", "new connections, 16 clients", 16),
];

const CLIENT = "default/client";
const BULK_SECONDS = 1;
const WRK_SECONDS = 2;
/** After which a load that has not ended is killed. */
const TIMEOUT_MS = 15_000;

function bulk(name: LoadName, title: string, options: readonly string[]): Load {
  return {
    name,
    title,
    rate: { unit: "Gbit/s", digits: 2 },
    cost: { unit: "CPU-s/GiB", digits: 2 },
    isBulk: true,
    drive: async (bed, { hostname, ports }) => {
      const place = ["-c", hostname, "-p", String(ports.iperf)];
      const command = ["iperf3", "-J", "-t", String(BULK_SECONDS), ...place, ...options];
      const { stdout, stderr } = await bed.exec(CLIENT, command, { timeoutMs: TIMEOUT_MS });
      const report = stdout.startsWith("{") ? JSON.parse(stdout) : { error: stderr || "no report" };
      if (report.error !== undefined) throw new Error(`iperf3: ${report.error}`);
      const { bytes, bits_per_second: speed } = report.end.sum_received;
      return { rate: speed / 1e9, carried: bytes / 2 ** 30 };
    },
  };
}

function requests(name: LoadName, title: string, count: number): Load {
  return {
    name,
    title,
    rate: { unit: "requests/s", digits: 0 },
    cost: { unit: "CPU-s/1000", digits: 4 },
    isBulk: false,
    drive: (bed, target) => wrk(bed, target, count, []),
  };
}

function connections(name: LoadName, title: string, count: number): Load {
  return {
    name,
    title,
    rate: { unit: "connections/s", digits: 0 },
    cost: { unit: "CPU-ms each", digits: 3 },
    isBulk: false,
    drive: (bed, target) => wrk(bed, target, count, ["-H", "Connection: close"]),
  };
}

async function wrk(
  bed: Testbed,
  { hostname, ports }: Target,
  count: number,
  headers: readonly string[],
): Promise<Outcome> {
  const script = `${bed.directory}/report.lua`;
  await Deno.writeTextFile(script, REPORT);
  const options = ["-t", "1", "-c", String(count), "-d", `${WRK_SECONDS}s`, "--timeout", "5s"];
  const command = ["wrk", ...options, ...headers, "-s", script];
  const { stdout, stderr } = await bed.exec(
    CLIENT,
    [...command, `http://${hostname}:${ports.http}/`],
    { timeoutMs: TIMEOUT_MS },
  );
  const line = stdout.split("\n").find((line) => line.startsWith("{"));
  if (line === undefined) throw new Error(`wrk: ${stderr || stdout}`);
  const { requests, us, errors, p50Us, p99Us } = JSON.parse(line);
  if (errors > 0 || requests === 0) {
    throw new Error(`wrk: ${errors} errors beside ${requests} answers: ${stdout.trim()}`);
  }
  return { rate: requests / (us / 1e6), carried: requests / 1000, p50Us, p99Us };
}

/** What wrk prints at its end, for us to read. */
const REPORT = `done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"us":%d,"errors":%d,"p50Us":%d,"p99Us":%d}\\n',
    summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
`;
