// deno-lint-ignore-file no-await-in-loop -- one step at a time, to name the one that fails
/**
 * Connections that stay open, and what the kernel's tables say of them: what the tests of rows and
 * of budgets share.
 *
 * @module
 */

import assert from "node:assert/strict";
import { WeftBudget, WeftConnRow } from "@/bpf/layout.gen.ts";
import { BpfMap } from "@/ffi/bpf/map.ts";
import { withNetns } from "@/ffi/linux/netns.ts";
import type { TestNode } from "./datapath_fixture.ts";
import { rowsOf } from "./datapath_packets.ts";

/** Rows of `connections` that each pod's budget counts, without budgets never used for them. */
export function established(node: TestNode): number[] {
  const budgets = rowsOf(node, "pod_budgets").map(([, value]) => WeftBudget.decode(value));
  return [Math.max(...budgets.map((budget) => budget.established))];
}

/** Makes every connection look as if nothing had come for an hour. */
export function age(node: TestNode): void {
  using map = BpfMap.openPinned(`${node.pins}/maps/connections`);
  assert.ok(map);
  for (const [key, value] of map.entries()) {
    map.update(key.slice(), WeftConnRow.encode({ ...WeftConnRow.decode(value), touchedNs: 0n }));
  }
}

/** So many ports of a peer. */
export function ports(count: number): number[] {
  return Array.from({ length: count }, (_, index) => 40_000 + index);
}

/** A connection that stays open, greeted by the server: so both ends' rows are there. */
export async function hold(node: TestNode, from: string, hostname: string): Promise<Disposable> {
  const connecting = withNetns(node.space(from).fd, () => {
    const child = new Deno.Command("nc", {
      args: ["-w", "30", hostname, "8000"],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    });
    return { child: child.spawn() };
  });
  const { child } = connecting;
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  assert.ok(value, `${from} is greeted by ${hostname}`);
  return {
    [Symbol.dispose]: () => {
      child.kill("SIGKILL");
      void child.stdin.abort().catch(() => {});
      void reader.cancel().catch(() => {});
    },
  };
}

/** Waits until no more than `count` connections are left: the kernel announces that to nobody. */
export async function gone(node: TestNode, count: number): Promise<void> {
  const deadline = performance.now() + 5000;
  while (rowsOf(node, "connections").length > count) {
    assert.ok(performance.now() < deadline, "connections never ended");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
