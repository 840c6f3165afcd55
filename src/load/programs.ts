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
import { MapMismatchError, SyscallError, VerifierError } from "../../ffi/errors.ts";
import { assetPath } from "../assets.ts";
import { DatapathError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Pins } from "./pins.ts";
import type { PodPrograms } from "./pods.ts";

export type MapName = keyof typeof MAPS;

/** The loaded objects. */
export class Programs implements Disposable {
  readonly #stack = new DisposableStack();
  readonly #steer: BpfObject;
  readonly #lookup: BpfObject;
  readonly #guard: BpfObject;

  /** Loads the objects; maps that are pinned are used, others are made and pinned. */
  constructor(pins: Pins, log: Log) {
    try {
      this.#steer = this.#load("steer", pins);
      this.#lookup = this.#load("lookup", pins);
      this.#guard = this.#loadGuard(pins, log);
    } catch (error) {
      this.#stack.dispose();
      throw explained(error);
    }
  }

  map(name: MapName): BpfMap {
    return this.#steer.map(name);
  }

  /** The program of a cgroup hook. */
  cgroupProgram(name: string): BpfProgram {
    return (name === "weft_sockops" ? this.#lookup : this.#steer).program(name);
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
    const object = this.#stack.use(BpfObject.open(path, { pins: pins.allMaps(), constants }));
    return object.load();
  }
}

function explained(error: unknown): unknown {
  if (error instanceof MapMismatchError) {
    return new DatapathError(
      `${error.message}; the pins are of another version of weft: run "weft uninstall" first`,
      { object: error.message },
      { cause: error },
    );
  }
  if (error instanceof SyscallError && error.errno === 1 /* EPERM */) {
    return new DatapathError(
      "Cannot load eBPF programs: weft needs root (CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN)",
      { object: "programs" },
      { cause: error },
    );
  }
  return error;
}
