/**
 * The node agent: the file to read first. It builds the stages in the order of the data flow and
 * then carries every change through them: watch → model → compile → load, with the relay and the
 * certificates beside.
 *
 * Invariant: a plan counts in the kernel only after the relay can serve what it steers, and nothing
 * counts before the source has been read completely once. What an earlier agent pinned rules till
 * then. The end of this function, however it comes, leaves the pins enforcing.
 *
 * @module
 */

import { AgentState } from "./agent_state.ts";
import { workerUrl } from "./assets.ts";
import type { Config } from "./config.ts";
import { openAuthority } from "./identity/mod.ts";
import { openDatapath } from "./load/mod.ts";
import { openLog } from "./log.ts";
import { lockPins, lockRunDirectory, Observer, serveAgent } from "./observe/mod.ts";
import { type Relay, startRelay } from "./relay/mod.ts";
import {
  DRAIN_MS,
  HOLD_MS,
  LAST_MS,
  PEER_PATIENCE_MS,
  REPAIR_INTERVAL_MS,
  SWEEP_INTERVAL_MS,
} from "./limits.ts";
import { hasOtherNodes, watchDirectory } from "./watch/mod.ts";

/** Runs the agent of this node until `signal` aborts. */
export async function runAgent(config: Config, signal: AbortSignal): Promise<void> {
  const log = openLog({ level: config.logLevel });
  const stop = new AbortController();
  const until = AbortSignal.any([signal, stop.signal]);
  await using stack = new AsyncDisposableStack(); // disposes in reverse

  // Let go of last: whoever waits for it, as `weft uninstall` does, finds the pins free as well.
  const lock = stack.use(lockRunDirectory(config.runDirectory));
  const pins = stack.use(lockPins(config.bpffs));
  const datapath = stack.use(openDatapath({ ...config, patienceMs: PEER_PATIENCE_MS, log }));
  if (pins === undefined) stack.use(lockPins(config.bpffs)); // it is there now
  const { directory, nodesDirectory: nodesDir } = config.source;
  // A node among others that makes a root of its own could talk to nobody: it must be given one.
  const allowInit = !(await hasOtherNodes(nodesDir, config.node));
  const authority = stack.use(await openAuthority({ ...config, allowInit, log }));
  const relay = stack.use(
    await startRelay(config, {
      door: datapath.door,
      log,
      workerUrl: workerUrl("relay/worker"),
      onEvent: (event) => observer.onRelayEvents([event]),
    }),
  );
  const agent = new AgentState({
    config,
    log,
    datapath,
    authority,
    relay,
    stop: () => stop.abort(),
  });
  const observer: Observer = stack.use(
    new Observer({
      state: () => agent.state(),
      counters: () => datapath.counters(),
      acceptsRefused: () => relay.stats().accept_refused,
    }),
  );
  stack.use(serveAgent({ view: agent, observer, log, lock }));
  stack.use(authority.onChange(() => agent.refresh()));
  stack.use(every(REPAIR_INTERVAL_MS, () => agent.repair()));
  stack.use(every(SWEEP_INTERVAL_MS, () => agent.sweep()));
  const events = datapath.readEvents(
    (event) => observer.onKernelEvent(event),
    until,
    () => observer.feed.isHeard,
  );
  log.info("agent-started", { node: config.node, source: config.source.directory });

  const { systemNamespace } = config;
  const resuming = datapath.revision > 0;
  const lastGoodFile = `${config.stateDirectory}/last-good-policies.json`;
  const options = { nodesDir, systemNamespace, signal: until, log, resuming, lastGoodFile };
  for await (const changes of watchDirectory(directory, options)) {
    await agent.take(changes);
  }
  // Whoever dials while agents change waits for the next one; not if there shall be none.
  await quiet(relay, DRAIN_MS - LAST_MS);
  if (!stop.signal.aborted) await agent.hold(HOLD_MS);
  await relay.stop(LAST_MS);
  await events;
  log.info("agent-stopped", { reason: stop.signal.aborted ? "asked to" : "signal" });
}

const QUIET_CHECK_MS = 20;

/** Resolves when nothing is carried, or after `patienceMs`. The relay serves meanwhile. */
async function quiet(relay: Relay, patienceMs: number): Promise<void> {
  const end = performance.now() + patienceMs;
  while (relay.stats().connections_open > 0 && performance.now() < end) {
    // deno-lint-ignore no-await-in-loop -- counters in shared memory announce nothing
    await new Promise((resolve) => setTimeout(resolve, QUIET_CHECK_MS));
  }
}

/** Calls back at an interval, until disposed. */
function every(intervalMs: number, action: () => void): Disposable {
  const timer = setInterval(action, intervalMs);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
