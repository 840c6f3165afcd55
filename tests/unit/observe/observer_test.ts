/**
 * Records become events with words and pods; counters become metrics.
 *
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { WeftEvent, WeftHook, WeftReason, WeftVerdict } from "@/bpf/layout.gen.ts";
import { parseAddress, type State } from "@/src/model/mod.ts";
import { metricsText } from "@/src/observe/metrics.ts";
import { Observer } from "@/src/observe/mod.ts";
import { REFUSAL_REASONS } from "@/src/reasons.ts";
import { sourceFolder, stateOf, TestAgent } from "./world.ts";

let state: State;
let directory: string;

before(async () => {
  directory = await sourceFolder({ policy: true });
  state = await stateOf(directory);
});
after(() => Deno.remove(directory, { recursive: true }));

/** A record as the kernel writes it. */
function record(source: string, target: string): WeftEvent {
  const bytes = WeftEvent.encode({
    timeNs: 5_000_000_000n,
    source: parseAddress(source) ?? new Uint8Array(16),
    target: parseAddress(target) ?? new Uint8Array(16),
    sourcePort: 40_000,
    targetPort: 80,
    reason: WeftReason.MTLS_REQUIRED,
    verdict: WeftVerdict.REFUSE,
    hook: WeftHook.CONNECT,
    proto: 6,
    state: 0,
  });
  return WeftEvent.decode(bytes);
}

describe("Observer", () => {
  it("gives a kernel record words, pods and the wall-clock time at which it was written", () => {
    using observer = new Observer({
      state: () => state,
      counters: () => [],
      monotonicNs: () => 7_000_000_000n,
    });
    observer.onKernelEvent(record("10.244.1.2", "10.244.2.3"));
    const [event] = observer.feed.recent();
    assert.ok(event);
    assert.ok(Math.abs(Date.now() - 2000 - event.timeMs) < 500);
    assert.deepEqual({ ...event, timeMs: 0 }, {
      id: 1,
      timeMs: 0,
      hook: "connect",
      verdict: "refuse",
      reason: "mtls-required",
      protocol: "TCP",
      source: { address: "10.244.1.2", port: 40_000, pod: "default/frontend-0" },
      target: { address: "10.244.2.3", port: 80, pod: "default/backend-0" },
    });
  });

  it("names nodes, and leaves strangers as addresses", () => {
    using observer = new Observer({
      state: () => state,
      counters: () => [],
      monotonicNs: () => 0n,
    });
    observer.onKernelEvent(record("192.168.50.2", "fd00:99::1"));
    const [event] = observer.feed.recent();
    assert.deepEqual(event?.source, { address: "192.168.50.2", port: 40_000, node: "node-2" });
    assert.deepEqual(event?.target, { address: "fd00:99::1", port: 80 });
  });

  it("adds up what kernel and relay refused, from before the last minute and since", () => {
    const counters: number[] = [];
    counters[WeftReason.NOT_TLS] = 10;
    using observer = new Observer({ state: () => state, counters: () => counters });
    counters[WeftReason.NOT_TLS] = 13;
    observer.onRelayEvents([{
      timeMs: 0,
      stage: "inbound",
      verdict: "refuse",
      reason: "not-tls",
      source: "192.0.2.1",
      sourcePort: 1,
      target: "10.244.2.3",
      targetPort: 80,
      pod: "default/backend-0",
    }]);
    const row = observer.refusals().find(({ reason }) => reason === "not-tls");
    assert.deepEqual(row, { reason: "not-tls", kernel: 13, relay: 1, lastMinute: 4 });
  });
});

describe("metrics", () => {
  it("have every reason from the start, by kernel and by relay", async () => {
    const view = new TestAgent(state, "/run/none");
    using observer = new Observer({ state: view.state, counters: () => view.counters });
    view.counters[WeftReason.MTLS_REQUIRED] = 3;
    const text = await metricsText(view, observer);
    for (const reason of REFUSAL_REASONS) {
      for (const by of ["kernel", "relay"]) {
        const value = reason === "mtls-required" && by === "kernel" ? 3 : 0;
        const line = `weft_refused_total{reason="${reason}",by="${by}"} ${value}`;
        assert.ok(text.split("\n").includes(line), `missing: ${line}`);
      }
    }
  });

  it("are well-formed: HELP and TYPE for each, no value that is no number", async () => {
    const view = new TestAgent(state, "/run/none");
    using observer = new Observer({ state: view.state, counters: () => view.counters });
    const lines = (await metricsText(view, observer)).split("\n").filter((line) => line !== "");
    const helped = new Set(lines.map((line) => /^# HELP (\S+) \S/.exec(line)?.[1]));
    for (const line of lines.filter((each) => !each.startsWith("#"))) {
      const [, name, value] = /^(\w+)(?:\{[^}]*\})? (\S+)$/.exec(line) ?? [];
      assert.ok(helped.has(name), line);
      assert.ok(Number.isFinite(Number(value)), line);
    }
    assert.ok(lines.includes('weft_local_pods{mode="DISABLE"} 2'), lines.join("\n"));
    assert.ok(lines.includes("weft_plan_revision 7"));
    assert.ok(
      lines.includes('weft_certificate_expiry_seconds{kind="issuer",name="CN=node-1"} 9000000000'),
    );
  });
});
