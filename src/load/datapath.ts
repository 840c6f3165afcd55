/**
 * Plan → kernel (stage 4): the only writer of maps, links and pins.
 *
 * `openDatapath` adopts what is pinned or makes it; `apply` brings the kernel to a plan. Everything
 * is prepared before it counts: rows before links, the revision last, so that whatever was judged
 * while old rows still stood is judged again. What fails for one pod is noted and tried again, and
 * never leaves that pod open: without its rows the guard drops. What does not fit into a map is
 * denied, or goes to the relay (see `plan_tables.ts`), and `shortages` says so.
 *
 * @module
 */

import {
  U32,
  U64,
  WEFT_CONFIG_LISTENED,
  WEFT_CONFIG_PODS_FULL,
  WeftConfig,
  WeftEvent,
} from "../../bpf/layout.gen.ts";
import { BpfLink } from "../../ffi/bpf/link.ts";
import { RingBuffer } from "../../ffi/bpf/ring.ts";
import { AttachType } from "../../ffi/bpf/constants.ts";
import { openDirectory } from "../../ffi/linux/filesystem.ts";
import { listLinks } from "../../ffi/linux/links.ts";
import { netnsCookie } from "../../ffi/linux/netns.ts";
import { waitReadable } from "../../ffi/linux/poll.ts";
import { monotonicNs } from "../../ffi/linux/process.ts";
import { u64Bytes } from "../../ffi/memory.ts";
import type { Plan } from "../compile/mod.ts";
import { BEAT_SILENCE_MS, CONNECTION_LIMITS } from "../limits.ts";
import type { Log } from "../log.ts";
import { cutConnections, sweepBudgets, sweepConnections } from "./connections.ts";
import { guardHooks } from "./guard.ts";
import { isCgroupLink, keepLink } from "./links.ts";
import { CGROUP_HOOKS, Pins } from "./pins.ts";
import { PodSet } from "./pod_set.ts";
import type { AttachedPod } from "./pods.ts";
import { PlanTables, type Shortage } from "./plan_tables.ts";
import { type Capacities, type MapName, Programs } from "./programs.ts";

/** Target ports of connections that a pod opens and the relay takes; above the ephemeral ones. */
const RELAY_PORTS = { first: 61_440, count: 4096 } as const;
const EVENTS_PER_DRAIN = 1024;
const EVENT_WAIT_MS = 500;
const EVENT_PAUSE_MS = 25;

export interface DatapathOptions {
  /** Directory of pins. */
  readonly bpffs: string;
  /** Root of the node's cgroup2 tree. */
  readonly cgroup: string;
  /** Relay workers. */
  readonly workers: number;
  /** How long an unknown pod's SYN is met with silence. */
  readonly patienceMs: number;
  /** How the guard is put on interfaces. @default what the kernel has */
  readonly hooks?: "tcx" | "clsact";
  /** Rows of maps @default those of bpf/maps.h */
  readonly capacities?: Capacities;
  /** What pods and outsiders may take of the tables @default those of limits.ts */
  readonly limits?: ConnectionLimits;
  readonly log: Log;
}

export type ConnectionLimits = Readonly<Record<keyof typeof CONNECTION_LIMITS, number>>;

/** Opens the datapath: nothing changes for anybody until the first `apply`. */
export function openDatapath(options: DatapathOptions): Datapath {
  return new Datapath(options);
}

/** The kernel's half of weft, in the hands of one agent. */
export class Datapath implements Disposable {
  readonly #options: DatapathOptions;
  readonly #pins: Pins;
  readonly #programs: Programs;
  readonly #tables: PlanTables;
  readonly #podSet: PodSet;
  readonly #ring: RingBuffer;
  #revision: number;
  #plan: Plan | undefined;
  #isHeard = false;
  /** Pods whose guard could not be put back the last time. */
  #lost = "";
  /** Of the node, whichever namespace a later call is made in. */
  readonly #nodeCookie = netnsCookie();

  constructor(options: DatapathOptions) {
    this.#options = options;
    this.#pins = Pins.open(options.bpffs);
    this.#programs = Programs.open(this.#pins, options);
    const map = (name: MapName) => this.#programs.map(name);
    this.#tables = new PlanTables(map);
    const guard = guardHooks(this.#pins, options.hooks);
    const hooks = { pins: this.#pins, programs: this.#programs.pod, guard };
    this.#podSet = new PodSet(hooks, map("pods"), this.#tables.podsMax);
    this.#ring = new RingBuffer(map("events"));
    // Maps of another layout are in force: there has been a plan, whatever its number.
    this.#revision = this.#readConfig().revision || (this.#pins.isReplacing ? 1 : 0);
  }

  /** Of the plan in force; 0 before the first. */
  get revision(): number {
    return this.#revision;
  }

  /** Pods whose programs could not be attached, and why. */
  get failures(): ReadonlyMap<string, string> {
    return this.#podSet.failures;
  }

  /** Maps that are full, and what that means. */
  get shortages(): readonly Shortage[] {
    const { surplus } = this.#podSet;
    if (surplus.length === 0) return this.#tables.shortages;
    const sentence = `nothing of these pods passes, for there is no room for them: ${surplus}`;
    const pods = { map: "pods", entriesMax: this.#tables.podsMax, sentence };
    return [...this.#tables.shortages, pods];
  }

  /** Relay workers to which the kernel gives nothing now, for they are silent. */
  get silentWorkers(): number[] {
    const { workers } = this.#options;
    const sinceNs = monotonicNs() - BigInt(BEAT_SILENCE_MS) * 1_000_000n;
    return Array.from({ length: workers }, (_, worker) => worker).filter((worker) => {
      const beat = this.#programs.map("beats").lookup(U32.encode(worker));
      return beat === undefined || U64.decode(beat) <= sinceNs;
    });
  }

  /** The guarded pods of this node. */
  get pods(): ReadonlyMap<string, AttachedPod> {
    return this.#podSet.attached;
  }

  /** Descriptors by which the relay writes its rows. */
  get door(): RelayDoorFds {
    const fd = (name: MapName) => this.#programs.map(name).fd;
    return {
      sockets: fd("sockets"),
      steered: fd("steered"),
      listeners: fd("listeners"),
      beats: fd("beats"),
      connections: fd("connections"),
      halfOpen: fd("half_open"),
    };
  }

  /** Looks for the plan's pods, without touching the kernel; true if the set has changed. */
  find(plan: Plan): boolean {
    return this.#podSet.find(plan, listLinks());
  }

  /**
   * Brings the kernel to `plan`, for the pods that were found. What fails for one pod or for want
   * of room in a map is noted; anything else throws.
   */
  apply(plan: Plan): void {
    this.#plan = plan;
    const pods = this.#podSet.attached;
    this.#putDecisions(plan);
    this.#tables.put(plan, pods);
    this.#writeConfig();
    this.#podSet.attach(plan, this.#programs.map("connections"), this.#revision);
    this.#attachCgroup();
    this.#pins.commitGeneration();
    this.#endHold();
    this.#tables.settle(plan, pods);
    this.#podSet.release(plan);
    this.#revision++;
    this.#writeConfig();
    const cut = cutConnections(pods.values(), plan, this.#programs.map("connections"));
    const { shortages } = this;
    if (shortages.length > 0) this.#options.log.error("maps-full", { shortages });
    this.#options.log.info("plan-applied", {
      revision: this.#revision,
      pods: pods.size,
      addresses: plan.addresses.size,
      services: plan.services.length,
      cut,
    });
  }

  /**
   * Puts back what others have disturbed and tries again what failed. True if the set of guarded
   * pods has changed, so that the plan must be applied again.
   */
  repair(): boolean {
    if (!this.#plan) return false;
    this.#attachCgroup();
    this.#putBack(this.#plan);
    return this.#podSet.wouldChange(this.#plan, listLinks());
  }

  /** A pod that cannot be helped is tried again and again, but told of once. */
  #putBack(plan: Plan): void {
    const disturbed = this.#podSet.disturbed();
    if (disturbed.length > 0) {
      this.#podSet.attach(plan, this.#programs.map("connections"), this.#revision);
    }
    const lost = disturbed.length > 0 ? this.#podSet.disturbed() : [];
    const { log } = this.#options;
    const pods = disturbed.filter((pod) => !lost.includes(pod));
    if (pods.length > 0) log.warn("guard-put-back", { pods });
    const isNew = String(lost) !== this.#lost;
    this.#lost = String(lost);
    if (!isNew || lost.length === 0) return;
    const reasons = lost.map((pod) => this.failures.get(pod) ?? "it was disturbed again at once");
    log.error("guard-not-put-back", { pods: lost, reasons });
  }

  /**
   * From now on new connections that need the relay are neither served nor refused: their SYNs are
   * lost, and sent again. Until the next `apply`, of the next agent; for `holdMs` at most.
   */
  hold(holdMs: number): void {
    const { patienceMs, cgroup } = this.#options;
    const sinceNs = monotonicNs() - BigInt(Math.max(0, patienceMs - holdMs)) * 1_000_000n;
    const program = this.#programs.cgroupProgram(HOLD);
    using tree = openDirectory(cgroup);
    keepLink({
      path: this.#pins.cgroupLink(HOLD),
      program,
      matches: (link) => isCgroupLink(link, AttachType.CGROUP_INET_EGRESS),
      attach: () => BpfLink.attachCgroup(program, tree, AttachType.CGROUP_INET_EGRESS),
    });
    this.#programs.map("unknown_peers").update(NOBODY, u64Bytes(sinceNs));
  }

  #endHold(): void {
    this.#programs.map("unknown_peers").delete(NOBODY);
    const path = this.#pins.cgroupLink(HOLD);
    using link = BpfLink.openPinned(path);
    if (!link) return;
    link.detach();
    Deno.removeSync(path);
  }

  /** Removes rows of connections that ended without a word. */
  sweep(): void {
    if (!this.#plan) return;
    const pods = this.#podSet.known(this.#plan);
    sweepConnections(pods, this.#programs.map("connections"), this.#programs.forget);
    sweepBudgets(pods, this.#programs.map("pod_budgets"));
  }

  /**
   * Gives every kernel event to `onEvent` until `signal` aborts. Of what was allowed the kernel
   * tells all only while `isHeard` says so, and a few in a second otherwise.
   */
  async readEvents(
    onEvent: (event: WeftEvent) => void,
    signal: AbortSignal,
    isHeard: () => boolean = () => true,
  ): Promise<void> {
    while (!signal.aborted) {
      this.#listen(isHeard());
      const drained = this.#ring.drain(
        EVENTS_PER_DRAIN,
        (record) => onEvent(WeftEvent.decode(record)),
      );
      // Waking for every event costs more than the event: a few gather first.
      // deno-lint-ignore no-await-in-loop -- the wait is the point of this loop
      if (drained > 0 && drained < EVENTS_PER_DRAIN) await pause(EVENT_PAUSE_MS);
      // deno-lint-ignore no-await-in-loop -- a full batch only lets others run in between
      await waitReadable(this.#ring.fd, drained === EVENTS_PER_DRAIN ? 0 : EVENT_WAIT_MS);
    }
  }

  /** Sums over all CPUs, by WEFT_REASON_* and WEFT_COUNTER_*. */
  counters(): number[] {
    const map = this.#programs.map("counters");
    const sums: number[] = [];
    for (const [key, value] of map.entries()) {
      sums[U32.decode(key)] = Number(map.sumPerCpu(value)[0]);
    }
    return sums;
  }

  /** How full the maps are. Counting live connections walks them, so it is done on request only. */
  usage(): { name: string; entries?: number; entriesMax: number }[] {
    const counted = (["connections", "steered", "clients", "services", "backends"] as const).map(
      (name) => {
        const map = this.#programs.map(name);
        return { name, entries: map.keys().length, entriesMax: map.info.maxEntries };
      },
    );
    return [...this.#tables.usage(), ...counted];
  }

  /** Lets go; what is pinned stays and enforces. */
  [Symbol.dispose](): void {
    this.#ring[Symbol.dispose]();
    this.#podSet[Symbol.dispose]();
    this.#programs[Symbol.dispose]();
  }

  #putDecisions(plan: Plan): void {
    const map = this.#programs.map("decisions");
    const size = map.info.valueSize;
    for (let index = 0; index * size < plan.decisions.length; index++) {
      map.update(U32.encode(index), plan.decisions.slice(index * size, (index + 1) * size));
    }
  }

  #listen(isHeard: boolean): void {
    if (this.#isHeard === isHeard) return;
    this.#isHeard = isHeard;
    if (this.#revision > 0) this.#writeConfig();
  }

  #attachCgroup(): void {
    using cgroup = openDirectory(this.#options.cgroup);
    for (const [name, attachType] of Object.entries(CGROUP_HOOKS)) {
      const program = this.#programs.cgroupProgram(name);
      keepLink({
        path: this.#pins.cgroupLink(name),
        program,
        matches: (link) => isCgroupLink(link, attachType),
        attach: () => BpfLink.attachCgroup(program, cgroup, attachType),
      });
    }
  }

  #readConfig(): WeftConfig {
    const bytes = this.#programs.map("config").lookup(U32.encode(0));
    return WeftConfig.decode(bytes ?? new Uint8Array(WeftConfig.size));
  }

  #writeConfig(): void {
    const { workers, patienceMs, limits = CONNECTION_LIMITS } = this.#options;
    const surplus = this.#podSet.surplus.length > 0 ? WEFT_CONFIG_PODS_FULL : 0;
    this.#programs.map("config").update(
      U32.encode(0),
      WeftConfig.encode({
        nodeCookie: this.#nodeCookie,
        revision: this.#revision,
        workers,
        relayPortFirst: RELAY_PORTS.first,
        relayPortCount: RELAY_PORTS.count,
        patienceMs,
        flags: this.#tables.flags | surplus | (this.#isHeard ? WEFT_CONFIG_LISTENED : 0),
        halfOpenMax: limits.halfOpen,
        floodMax: limits.flood,
        openedMax: limits.opened,
        acceptedMax: limits.accepted,
        netMax: limits.network,
        steeredMax: limits.steered,
        silenceMs: BEAT_SILENCE_MS,
      }),
    );
  }
}

/** Numbers of the maps that the relay uses; they are the process's, for all threads. */
export interface RelayDoorFds {
  readonly sockets: number;
  readonly steered: number;
  readonly listeners: number;
  readonly beats: number;
  readonly connections: number;
  readonly halfOpen: number;
}

/** The program that holds what pods open; its link is there only between two agents. */
const HOLD = "weft_hold";
/** The unspecified address: in `unknown_peers` it stands for this node's own relay. */
const NOBODY = new Uint8Array(16);

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
