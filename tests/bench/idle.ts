/**
 * Memory: of proxies that have done little, and of the same with a thousand idle connections.
 *
 * It is measured first, while all are fresh: what a process once had it seldom gives back.
 *
 * @module
 */
import type { Path } from "./stage.ts";
import type { Side } from "./peers.ts";
import { memoryKib } from "./usage.ts";

/** Connections that are held. */
const IDLE_COUNT = 1000;
/** Before: so that what is loaded lazily has been loaded. */
const WARM_COUNT = 20;
const CLIENT = "default/client";
/** Time for what is freed late. */
const SETTLE_MS = 500;

/** KiB of each side: idle, with connections, and the difference for one. */
export async function measureIdle(path: Path): Promise<Record<string, number>> {
  await using _warm = await hold(path, WARM_COUNT);
  await settle();
  const before = memory(path);
  await using _held = await hold(path, IDLE_COUNT);
  await settle();
  const after = memory(path);
  return {
    idleClientMib: before.client / 1024,
    idleServerMib: before.server / 1024,
    heldClientMib: after.client / 1024,
    heldServerMib: after.server / 1024,
    clientKib: (after.client - before.client) / IDLE_COUNT,
    serverKib: (after.server - before.server) / IDLE_COUNT,
  };
}

function memory({ proxies }: Path): Record<Side, number> {
  return { client: memoryKib(proxies.client), server: memoryKib(proxies.server) };
}

async function hold({ bed, target }: Path, count: number): Promise<AsyncDisposable> {
  const script = new URL("hold.ts", import.meta.url).pathname;
  const args = [target.hostname, String(target.ports.http), String(count)];
  const command = [Deno.execPath(), "run", "-A", "--no-config", script, ...args];
  const child = await bed.spawn(CLIENT, ["timeout", "60", ...command], {
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  });
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  if (value === undefined) {
    const text = await new Response(child.stderr).text();
    throw new Error(`Cannot hold ${count} connections: ${text.trim()}`);
  }
  return {
    [Symbol.asyncDispose]: async () => {
      await child.stdin.close();
      await Promise.all([reader.cancel(), child.stderr.cancel(), child.status]);
    },
  };
}

function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
}
