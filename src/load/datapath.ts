/**
 * Plan → kernel (stage 4): the only writer of maps, links and pins.
 *
 * `openDatapath` adopts what is pinned or makes it; `apply` brings the kernel to a plan. Everything
 * is prepared before it counts: rows before links, the revision last. What fails for one pod is
 * noted and tried again, and never leaves that pod open: without its rows the guard drops.
 *
 * @module
 */

import { U32, WeftConfig, WeftEvent } from "../../bpf/layout.gen.ts";
import { BpfLink } from "../../ffi/bpf/link.ts";
import { RingBuffer } from "../../ffi/bpf/ring.ts";
import { Errno } from "../../ffi/errno.ts";
import { SyscallError } from "../../ffi/errors.ts";
import { openDirectory } from "../../ffi/linux/filesystem.ts";
import { listLinks } from "../../ffi/linux/links.ts";
import { netnsCookie } from "../../ffi/linux/netns.ts";
import { waitReadable } from "../../ffi/linux/poll.ts";
import type { Plan } from "../compile/mod.ts";
import { formatError } from "../errors.ts";
import type { Log } from "../log.ts";
import { cutConnections, sweepConnections } from "./connections.ts";
import { guardHooks } from "./guard.ts";
import { isSevered, keepLink } from "./links.ts";
import { CGROUP_HOOKS, Pins } from "./pins.ts";
import { PodSet } from "./pod_set.ts";
import type { AttachedPod } from "./pods.ts";
import { type MapName, Programs } from "./programs.ts";
import { planRows } from "./rows.ts";
import { ServiceTables } from "./services.ts";
import { Table } from "./table.ts";

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
  readonly log: Log;
}

/** Opens the datapath: nothing changes for anybody until the first `apply`. */
export function openDatapath(options: DatapathOptions): Datapath {
  return new Datapath(options);
}

/** The kernel's half of weft, in the hands of one agent. */
export class Datapath implements Disposable {
  readonly #options: DatapathOptions;
  readonly #pins: Pins;
  readonly #programs: Programs;
  readonly #tables: Record<"addresses" | "ports" | "cidrs" | "pods" | "veths", Table>;
  readonly #services: ServiceTables;
  readonly #podSet: PodSet;
  readonly #ring: RingBuffer;
  #revision: number;
  #plan: Plan | undefined;

  constructor(options: DatapathOptions) {
    this.#options = options;
    this.#pins = Pins.open(options.bpffs);
    this.#programs = new Programs(this.#pins, options.log);
    const table = (name: MapName) => new Table(this.#programs.map(name));
    this.#tables = {
      addresses: table("addresses"),
      ports: table("ports"),
      cidrs: table("cidrs"),
      pods: table("pods"),
      veths: table("veths"),
    };
    const map = (name: MapName) => this.#programs.map(name);
    this.#services = new ServiceTables(map("services"), map("backends"));
    const guard = guardHooks(this.#pins, options.hooks);
    const hooks = { pins: this.#pins, programs: this.#programs.pod, guard };
    this.#podSet = new PodSet(hooks, map("pods"));
    this.#ring = new RingBuffer(map("events"));
    this.#revision = this.#readConfig().revision;
  }

  /** Of the plan in force; 0 before the first. */
  get revision(): number {
    return this.#revision;
  }

  /** Pods whose programs could not be attached, and why. */
  get failures(): ReadonlyMap<string, string> {
    return this.#podSet.failures;
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
    const rows = planRows(plan, this.#podSet.attached);
    const names = ["cidrs", "ports", "addresses", "veths", "pods"] as const;
    this.#putDecisions(plan);
    const full: string[] = [];
    for (const name of names) {
      if (!this.#tryPut(name, () => this.#tables[name].put(rows[name]))) full.push(name);
    }
    if (!this.#tryPut("services", () => this.#services.apply(plan.services))) full.push("services");
    this.#writeConfig(this.#revision + 1);
    this.#podSet.attach(plan, this.#programs.map("connections"), this.#revision);
    this.#attachCgroup();
    for (const name of [...names].reverse()) this.#tables[name].prune(rows[name]);
    this.#podSet.release(plan);
    const cut = cutConnections(
      this.#podSet.attached.values(),
      plan,
      this.#programs.map("connections"),
    );
    this.#options.log.info("plan-applied", {
      revision: this.#revision,
      pods: this.#podSet.attached.size,
      addresses: this.#tables.addresses.size,
      services: plan.services.length,
      cut,
      ...(full.length > 0 && { full }),
    });
  }

  /**
   * Puts back what others have disturbed and tries again what failed. True if the set of guarded
   * pods has changed, so that the plan must be applied again.
   */
  repair(): boolean {
    if (!this.#plan) return false;
    this.#attachCgroup();
    const disturbed = this.#podSet.disturbed();
    if (disturbed.length > 0) {
      this.#options.log.warn("guard-put-back", { pods: disturbed });
      this.#podSet.attach(this.#plan, this.#programs.map("connections"), this.#revision);
    }
    return this.#podSet.wouldChange(this.#plan, listLinks());
  }

  /** Removes rows of connections that ended without a word. */
  sweep(): void {
    sweepConnections([...this.#podSet.attached.values()], this.#programs.map("connections"));
  }

  /** Gives every kernel event to `onEvent` until `signal` aborts. */
  async readEvents(onEvent: (event: WeftEvent) => void, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
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
    const known = Object.entries(this.#tables).map(([name, { map, size }]) => ({
      name,
      entries: size,
      entriesMax: map.info.maxEntries,
    }));
    const counted = (["connections", "steered", "clients", "services", "backends"] as const).map(
      (name) => {
        const map = this.#programs.map(name);
        return { name, entries: map.keys().length, entriesMax: map.info.maxEntries };
      },
    );
    return [...known, ...counted];
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

  /** False if the map is full: what has no row is denied, and `weft status` shows the map. */
  #tryPut(name: string, put: () => void): boolean {
    try {
      put();
      return true;
    } catch (error) {
      if (!(error instanceof SyscallError) || !FULL.has(error.errno)) throw error;
      this.#options.log.error("map-full", { map: name, reason: formatError(error) });
      return false;
    }
  }

  #attachCgroup(): void {
    using cgroup = openDirectory(this.#options.cgroup);
    for (const [name, attachType] of Object.entries(CGROUP_HOOKS)) {
      const program = this.#programs.cgroupProgram(name);
      keepLink({
        path: this.#pins.cgroupLink(name),
        program,
        matches: (link) => !isSevered(link),
        attach: () => BpfLink.attachCgroup(program, cgroup, attachType),
      });
    }
  }

  #readConfig(): WeftConfig {
    const bytes = this.#programs.map("config").lookup(U32.encode(0));
    return WeftConfig.decode(bytes ?? new Uint8Array(WeftConfig.size));
  }

  #writeConfig(revision: number): void {
    const { workers, patienceMs } = this.#options;
    this.#programs.map("config").update(
      U32.encode(0),
      WeftConfig.encode({
        nodeCookie: netnsCookie(),
        revision,
        workers,
        relayPortFirst: RELAY_PORTS.first,
        relayPortCount: RELAY_PORTS.count,
        patienceMs,
      }),
    );
    this.#revision = revision;
  }
}

/** Numbers of the maps that the relay uses; they are the process's, for all threads. */
export interface RelayDoorFds {
  readonly sockets: number;
  readonly steered: number;
  readonly listeners: number;
  readonly connections: number;
  readonly halfOpen: number;
}

/** What a full map says. */
const FULL: ReadonlySet<number> = new Set([Errno.E2BIG, Errno.ENOMEM, Errno.ENOSPC]);

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
