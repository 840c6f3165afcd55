/**
 * The one decision: what happens between a source and a port, at the client's `connect()` or at the
 * SYN that reaches the server. In: four small classes. Out: refuse, go direct, go through the relay
 * or wait, with the verdict when no relay is there and the reason of a refusal.
 *
 * The kernel's `decisions` map, the relay's checks and `explain` all come from this function: the
 * domain is finite, so the kernel gets all of it as a table and nobody decides a second time.
 * Invariants (tests/property/decide_test.ts): a row of zeros refuses; plaintext reaches a STRICT
 * port only where the node itself attests both ends; STRICT never falls back to plaintext.
 *
 * @module
 */

import { WeftDecision } from "../../bpf/layout.gen.ts";
import { type Reason, REASONS } from "../reasons.ts";
import {
  codeOf,
  type ModeClass,
  MODES,
  MODES_MAX,
  type SourceClass,
  SOURCES,
  SOURCES_MAX,
  type Stage,
  STAGES,
  type Verdict,
  VERDICTS,
  type Where,
  WHERES,
  WHERES_MAX,
} from "./classes.ts";

/** What is asked. */
export interface Question {
  readonly stage: Stage;
  /** Outbound: the local pod that connects. Inbound: whoever has the SYN's source address. */
  readonly source: SourceClass;
  /** Of the destination's port. */
  readonly mode: ModeClass;
  /** Of the destination, seen from this node. */
  readonly where: Where;
}

/** What is answered. */
export interface Decision {
  readonly verdict: Verdict;
  /** The verdict when no relay is there. */
  readonly fallback: "refuse" | "direct";
  /** Of the refusal; for `relay` and `wait` the reason if it comes to nothing. */
  readonly reason: Reason;
}

/** Decides. Total and pure. */
export function decide(question: Question): Decision {
  return question.stage === "outbound" ? decideOutbound(question) : decideInbound(question);
}

/** Every decision as rows of `decisions`, in the order that `bpf/layout.h` gives. */
export function decisionTable(): Uint8Array {
  const rows = STAGES.length * SOURCES_MAX * MODES_MAX * WHERES_MAX;
  const bytes = new Uint8Array(rows * WeftDecision.size);
  for (const question of questions()) {
    const { verdict, fallback, reason } = decide(question);
    const row = {
      verdict: codeOf(VERDICTS, verdict),
      fallback: codeOf(VERDICTS, fallback),
      reason: reasonNumber(reason),
    };
    WeftDecision.encode(row, bytes, decisionIndex(question) * WeftDecision.size);
  }
  return bytes;
}

/** The row of a question in `decisions`. */
export function decisionIndex(question: Question): number {
  const stage = codeOf(STAGES, question.stage);
  const source = codeOf(SOURCES, question.source);
  const mode = codeOf(MODES, question.mode);
  const where = codeOf(WHERES, question.where);
  return ((stage * SOURCES_MAX + source) * MODES_MAX + mode) * WHERES_MAX + where;
}

/** The whole domain, in table order. */
export function* questions(): Generator<Question> {
  for (const stage of STAGES) {
    for (const source of SOURCES) {
      for (const mode of MODES) {
        for (const where of WHERES) yield { stage, source, mode, where };
      }
    }
  }
}

function reasonNumber(reason: Reason): number {
  return reason === "none" ? 0 : REASONS[reason].number;
}

const DIRECT: Decision = { verdict: "direct", fallback: "direct", reason: "none" };

/** All zeros: what a row means that nobody wrote. */
const ZERO: Decision = { verdict: "refuse", fallback: "refuse", reason: "none" };

const refuse = (reason: Reason): Decision => ({ verdict: "refuse", fallback: "refuse", reason });

/** Through the relay; without one the connection fails. */
const relayOnly = (reason: Reason): Decision => ({ verdict: "relay", fallback: "refuse", reason });

/** Through the relay; without one as it is, since both sides allow plaintext (DESIGN §3.1). */
const RELAY_OR_DIRECT: Decision = { verdict: "relay", fallback: "direct", reason: "agent-down" };

/** The client's `connect()`. The source is a pod of this node. */
function decideOutbound({ source, mode, where }: Question): Decision {
  switch (source) {
    // §3 "Own certificates": not refused at connect(), it speaks TLS itself.
    case "own_cert":
      return DIRECT;
    // §3 table, "C not in the mesh, on a weft node". An unknown peer's own node judges.
    case "plain":
      return mode === "strict" ? refuse("mtls-required") : DIRECT;
    case "mesh":
      return decideOutboundMesh(mode, where);
    // A pod of this node is none of these.
    case "unknown":
    case "outside":
    case "node":
    case "conflict":
      return ZERO;
  }
}

function decideOutboundMesh(mode: ModeClass, where: Where): Decision {
  switch (mode) {
    // §3 "Modes govern inbound only": out of the mesh it goes as it is.
    case "none":
      return DIRECT;
    // §3 "New pods are met with patience": the relay waits up to 10 s.
    case "unknown":
      return relayOnly("peer-not-ready");
    case "strict":
      switch (where) {
        // §3.4 attest: directly, attested by the client's guard.
        case "attest":
          return DIRECT;
        // §3 "Announcement": refused in the end, never sent plaintext; the relay waits first.
        case "unready":
          return relayOnly("peer-not-ready");
        // §3 table, "mutual TLS, transparent to both apps".
        case "remote":
        case "encrypt":
          return relayOnly("agent-down");
      }
      break;
    case "permissive":
      switch (where) {
        // §3.4 attest; and a node that has not announced itself cannot speak mesh yet.
        case "attest":
        case "unready":
          return DIRECT;
        // §3 table, "mutual TLS"; §3.1: direct without a relay when both allow plaintext.
        case "remote":
        case "encrypt":
          return RELAY_OR_DIRECT;
      }
  }
}

/** The SYN at the server's veth. The kernel has recognised the node's own sockets before. */
function decideInbound({ source, mode, where }: Question): Decision {
  switch (mode) {
    // §3 table, last row: plaintext for everybody, whoever it is.
    case "none":
      return DIRECT;
    // A pod that the plan does not know cannot be judged: nothing is allowed by absence.
    case "unknown":
      return refuse("unknown-identity");
    case "strict":
      return decideInboundStrict(source, where);
    case "permissive":
      return decideInboundPermissive(source, where);
  }
}

function decideInboundStrict(source: SourceClass, where: Where): Decision {
  switch (source) {
    // §3.4 attest: the guard admits only a flow with the client guard's attested row.
    case "mesh":
      return where === "attest" ? DIRECT : relayOnly("agent-down");
    // §3 table, "C elsewhere": reaches only the relay, which demands a certificate. So does a pod
    // with its own, and another node's address (a pod behind SNAT, §6; a host without a
    // certificate ends there).
    case "own_cert":
    case "outside":
    case "node":
      return relayOnly("agent-down");
    // §3 table: its connect() was refused; what comes all the same is refused here.
    case "plain":
      return refuse("mtls-required");
    // §3 "New pods are met with patience": silence, a retransmit then succeeds.
    case "unknown":
      return { verdict: "wait", fallback: "refuse", reason: "unknown-identity" };
    // §6: two live pods list the address, it is nobody's.
    case "conflict":
      return refuse("address-conflict");
  }
}

function decideInboundPermissive(source: SourceClass, where: Where): Decision {
  switch (source) {
    // §3.2 PERMISSIVE: a known pod outside the mesh passes without steering.
    case "plain":
    case "own_cert":
      return DIRECT;
    // §3 table: TLS with `weft/1` is authenticated, the rest passes. Without a relay it goes
    // direct: when this node's agent is dead its pods connect in plaintext, which PERMISSIVE
    // never refuses.
    case "mesh":
      return where === "attest" ? DIRECT : RELAY_OR_DIRECT;
    // As above. From an address that nobody owns no TLS is authenticated, but plaintext passes.
    case "outside":
    case "node":
    case "unknown":
    case "conflict":
      return RELAY_OR_DIRECT;
  }
}
