/**
 * The eBPF objects in the kernel: loaded once per agent, sharing the pinned maps.
 *
 * Everything that depends on the running kernel is settled here, by constants of the objects, so
 * that the same object files serve every kernel from 6.1 on.
 *
 * @module
 */

import type { MAPS } from "../../bpf/layout.gen.ts";
import { BpfObject, type Constant } from "../../ffi/bpf/object.ts";
import type { BpfMap } from "../../ffi/bpf/map.ts";
import type { BpfProgram } from "../../ffi/bpf/program.ts";
import { Errno } from "../../ffi/errno.ts";
import { MapMismatchError, SyscallError, VerifierError } from "../../ffi/errors.ts";
import { assetPath } from "../assets.ts";
import { DatapathError, UnsupportedFeatureError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Pins } from "./pins.ts";
import type { PodPrograms } from "./pods.ts";

export type MapName = keyof typeof MAPS;

/** Rows of maps, where they are to be others than `bpf/maps.h` says. */
export type Capacities = Readonly<Partial<Record<MapName, number>>>;

export interface ProgramOptions {
  readonly log: Log;
  readonly capacities?: Capacities;
}

/** The loaded objects. */
export class Programs implements Disposable {
  readonly #stack = new DisposableStack();
  readonly #steer: BpfObject;
  readonly #lookup: BpfObject;
  readonly #guard: BpfObject;

  /**
   * Loads the objects with the pinned maps, or with new ones beside them where those are of another
   * version.
   */
  static open(pins: Pins, options: ProgramOptions): Programs {
    if (!pins.isOld) {
      try {
        return new Programs(pins, options);
      } catch (error) {
        if (!(error instanceof MapMismatchError)) throw explained(error);
        options.log.info("maps-replaced", { reason: error.message });
      }
    }
    pins.beginGeneration();
    try {
      return new Programs(pins, options);
    } catch (error) {
      throw explained(error);
    }
  }

  readonly #capacities: Capacities;

  private constructor(pins: Pins, { log, capacities = {} }: ProgramOptions) {
    this.#capacities = capacities;
    try {
      this.#steer = this.#load("steer", pins);
      this.#lookup = this.#load("lookup", pins);
      this.#guard = this.#loadGuard(pins, log);
      pins.stampLayout();
    } catch (error) {
      this.#stack.dispose();
      throw error;
    }
  }

  map(name: MapName): BpfMap {
    return this.#steer.map(name);
  }

  /** The program of a cgroup hook. */
  cgroupProgram(name: string): BpfProgram {
    const isLookup = name === "weft_sockops" || name === "weft_hold";
    return (isLookup ? this.#lookup : this.#steer).program(name);
  }

  /**
   * Deletes the row of a connection, with what it has of a budget: `call` it with a `WeftSeenRow`;
   * 1 if the row was still that one.
   */
  get forget(): BpfProgram {
    return this.#guard.program("weft_forget");
  }

  get pod(): PodPrograms {
    const guard = (name: string) => this.#guard.program(name);
    return {
      lookup: this.#lookup.program("weft_lookup"),
      to: [guard("weft_to_pod"), guard("weft_to_pod_b")],
      from: [guard("weft_from_pod"), guard("weft_from_pod_b")],
    };
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }

  /** Kernels before 6.18 refuse the netns cookie in tc: there, the guard does without. */
  #loadGuard(pins: Pins, log: Log): BpfObject {
    try {
      return this.#load("guard", pins);
    } catch (error) {
      if (!(error instanceof VerifierError)) throw error;
      const object = this.#load("guard", pins, { have_tc_netns_cookie: false });
      log.info("guard-without-netns-cookie", { reason: error.message });
      return object;
    }
  }

  #load(name: string, pins: Pins, constants: Readonly<Record<string, Constant>> = {}): BpfObject {
    const path = assetPath(`${name}.bpf.o`);
    const options = { pins: pins.allMaps(), constants, maxEntries: this.#capacities };
    const object = this.#stack.use(BpfObject.open(path, options));
    return object.load();
  }
}

function explained(error: unknown): unknown {
  if (!(error instanceof SyscallError)) return error;
  if (error.errno === Errno.ESRCH) { // what libbpf says when it looked in vain
    return new UnsupportedFeatureError(
      "Cannot load eBPF programs: this kernel does not tell its types (BTF), by which they are" +
        ' fitted to it; it needs CONFIG_DEBUG_INFO_BTF and "/sys/kernel/btf/vmlinux"',
      { feature: "BTF" },
      { cause: error },
    );
  }
  if (error.errno === Errno.EPERM) {
    return new DatapathError(
      "Cannot load eBPF programs: weft needs root (CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN)",
      { object: "programs" },
      { cause: error },
    );
  }
  return error;
}
