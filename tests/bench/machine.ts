/**
 * On what and with what it was measured: the line without which figures mean nothing.
 *
 * @module
 */
import { checked } from "./command.ts";
import type { Stage } from "./stage.ts";
import { opensslOf } from "./usage.ts";

/** Lines about the machine and the programs. */
export async function describeMachine(stage: Stage): Promise<string[]> {
  const model = /^model name\s*: (.*)$/m.exec(Deno.readTextFileSync("/proc/cpuinfo"))?.[1];
  const [load] = Deno.loadavg();
  const version = async (program: string, flag: string, pattern: RegExp) =>
    pattern.exec(await checked([program, flag]))?.[0] ?? program;
  const [nginx, haproxy] = await Promise.all([
    version("nginx", "-v", /nginx\/[\d.]+/),
    version("haproxy", "-v", /HAProxy version [\d.]+/),
  ]);
  const openssl = (name: "nginx" | "haproxy" | "weft") =>
    opensslOf(stage.path(name).proxies.client[0] ?? 0);
  return [
    `machine: Linux ${Deno.osRelease()}, ${navigator.hardwareConcurrency} processors (${
      model ?? "?"
    }), ` +
    `load ${load?.toFixed(2)} at the start; all share them: clients, servers and proxies`,
    `weft: ${openssl("weft")}`,
    `peers: ${nginx} with ${openssl("nginx")}; ${haproxy} with ${openssl("haproxy")}`,
    `       (what this system's users have; weft carries its own)`,
    `all: TLS 1.3, ${stage.cipher}, ECDSA P-256, mutual, two hops, resumption, ` +
    `${stage.threads} thread(s) a hop (the two nodes share the processors)`,
  ];
}
