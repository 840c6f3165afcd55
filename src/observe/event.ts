/**
 * One shape for everything that is seen. In come records of the kernel's ring and of the relay, out
 * goes an `Event` with words for numbers and pods for addresses. Invariant: an event says what was
 * true when it arrived: owners are joined then, not when somebody reads it later.
 *
 * @module
 */
import type { WeftEvent } from "../../bpf/layout.gen.ts";
import { VERDICTS } from "../compile/mod.ts";
import { formatAddress, type State } from "../model/mod.ts";
import { type Reason, reasonOf } from "../reasons.ts";
import type { RelayEvent } from "../relay/mod.ts";

/** Something that happened to a connection or a packet. */
export interface Event {
  /** counts up from 1 over the life of the agent */
  readonly id: number;
  /** milliseconds since 1970 */
  readonly timeMs: number;
  readonly hook: Hook;
  readonly verdict: "refuse" | "direct" | "relay" | "wait" | "cut" | "accept";
  readonly reason: Reason | `reason-${number}`;
  readonly protocol: string;
  readonly source: EventEnd;
  readonly target: EventEnd;
  /** SPIFFE ID that the peer proved */
  readonly peerId?: string;
  /** words of the relay or the TLS library, for people */
  readonly detail?: string;
}

/** One end of a connection. */
export interface EventEnd {
  readonly address: string;
  /** 0 where the protocol has none */
  readonly port: number;
  /** "namespace/name" of the pod that has the address */
  readonly pod?: string;
  /** name of the node that has it */
  readonly node?: string;
  /** the address is claimed by several pods */
  readonly conflict?: true;
}

/** Where in weft it was seen. */
export type Hook = "connect" | "sendmsg" | "lookup" | "to-pod" | "from-pod" | "relay";

/** An event without its number. */
export type EventBody = Omit<Event, "id">;

/** Words and owners for a record of the kernel's ring, written at `timeMs` since 1970. */
export function fromKernel(record: WeftEvent, timeMs: number, state: State): EventBody {
  const source = formatAddress(record.source);
  const target = formatAddress(record.target);
  return {
    timeMs,
    hook: HOOKS[record.hook] ?? "relay",
    verdict: VERDICTS[record.verdict] ?? "refuse",
    reason: reasonOf(record.reason),
    protocol: PROTOCOLS[record.proto] ?? `protocol ${record.proto}`,
    source: eventEnd(state, source, record.sourcePort),
    target: eventEnd(state, target, record.targetPort),
  };
}

/** Owners for a record of the relay. */
export function fromRelay(record: RelayEvent, state: State): EventBody {
  return {
    timeMs: record.timeMs,
    hook: "relay",
    verdict: record.verdict,
    reason: record.reason,
    protocol: "TCP",
    source: eventEnd(state, record.source, record.sourcePort),
    target: eventEnd(state, record.target, record.targetPort),
    ...(record.peerId !== undefined && { peerId: record.peerId }),
    ...(record.detail !== undefined && { detail: record.detail }),
  };
}

/** Whether a pod ("namespace/name") is at one of the ends. */
export function concerns(event: Event, pod: string): boolean {
  return event.source.pod === pod || event.target.pod === pod;
}

const HOOKS: Readonly<Record<number, Hook>> = {
  1: "connect",
  2: "sendmsg",
  3: "lookup",
  4: "to-pod",
  5: "from-pod",
  6: "relay",
};

const PROTOCOLS: Readonly<Record<number, string>> = {
  1: "ICMP",
  6: "TCP",
  17: "UDP",
  58: "ICMPv6",
};

function eventEnd(state: State, address: string, port: number): EventEnd {
  const owner = state.owners.get(address);
  switch (owner?.kind) {
    case "pod":
      return { address, port, pod: owner.workload.key };
    case "node":
      return { address, port, node: owner.node };
    case "conflict":
      return { address, port, conflict: true };
    case undefined:
      return { address, port };
  }
}
