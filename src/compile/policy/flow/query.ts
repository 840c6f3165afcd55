/**
 * A question to a verdict program and its answer: a structure of 36 bytes in a per-CPU slot.
 *
 * In: who is at the other end, which port, which direction. Out: allow or not, why, and the rule.
 * Invariant: a zeroed answer refuses, so a program that does not get to its end allows nothing.
 *
 * The guard will fill the slot for the first packet of a flow; until then the only writers are the
 * engine behind `weft policy eval` and the tests, so the layout lives here and not in the header
 * that C shares.
 *
 * @module
 */

import { WeftReason, WeftVerdict } from "../../../../bpf/layout.gen.ts";
import type { VerdictReason } from "../graph/node.ts";

/** Bytes of a question with its answer. */
export const QUERY_SIZE_BYTES = 36;

/** Where each member begins. */
export const QueryOffset = {
  /** Address of the peer: 16 bytes, looked up where `identity` is 0. */
  PEER: 0,
  /** u32: index of the peer's row of bits. */
  IDENTITY: 16,
  /** u32: index of the program that is asked. */
  PROGRAM: 20,
  /** u16, host order: the destination port, or the type of an ICMP message. */
  PORT: 24,
  /** u8: IANA's number. */
  PROTOCOL: 26,
  /** u8: `QueryDirection`. */
  DIRECTION: 27,
  /** u8: 1 where the flow is mutual TLS between authenticated identities. */
  AUTHENTICATED: 28,
  /** u32: see `decodeAnswer`. */
  ANSWER: 32,
} as const;

/** Seen from the pod whose policies are asked. */
export const QueryDirection = { egress: 0, ingress: 1 } as const;

/** A question. */
export interface PolicyQuestion {
  /** 16 bytes; looked up where `identity` is 0. */
  readonly peer?: Uint8Array | undefined;
  readonly identity: number;
  readonly program: number;
  readonly port: number;
  readonly protocol: number;
  readonly direction: keyof typeof QueryDirection;
  readonly authenticated: boolean;
}

/** An answer. */
export interface PolicyAnswer {
  readonly allowed: boolean;
  /** `none` where it is allowed, or where no program answered. */
  readonly reason: VerdictReason | "unknown-identity";
  /** Index of the rule that decided; -1: no rule did. */
  readonly rule: number;
}

/** Writes a question at `offset`; its answer is zero. */
export function encodeQuestion(
  question: PolicyQuestion,
  bytes: Uint8Array<ArrayBuffer> = new Uint8Array(QUERY_SIZE_BYTES),
  offset = 0,
): Uint8Array<ArrayBuffer> {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, QUERY_SIZE_BYTES);
  if (question.peer) bytes.set(question.peer, offset + QueryOffset.PEER);
  view.setUint32(QueryOffset.IDENTITY, question.identity, true);
  view.setUint32(QueryOffset.PROGRAM, question.program, true);
  view.setUint16(QueryOffset.PORT, question.port, true);
  view.setUint8(QueryOffset.PROTOCOL, question.protocol);
  view.setUint8(QueryOffset.DIRECTION, QueryDirection[question.direction]);
  view.setUint8(QueryOffset.AUTHENTICATED, question.authenticated ? 1 : 0);
  view.setUint32(QueryOffset.ANSWER, 0, true);
  return bytes;
}

/** Reads the answer of the question at `offset`. */
export function readAnswer(bytes: Uint8Array, offset = 0): PolicyAnswer {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, QUERY_SIZE_BYTES);
  return decodeAnswer(view.getUint32(QueryOffset.ANSWER, true));
}

/** The number of an answer: verdict in bits 0 and 1, reason in 2 to 7, rule + 1 above. */
export function encodeAnswer(reason: PolicyAnswer["reason"], rule: number): number {
  const verdict = reason === "none" ? WeftVerdict.DIRECT : WeftVerdict.REFUSE;
  return (rule + 1) * 256 + REASON_NUMBERS[reason] * 4 + verdict;
}

/** What the number of an answer says. */
export function decodeAnswer(answer: number): PolicyAnswer {
  const number = (answer >>> 2) & 0x3f;
  const reason = REASONS_BY_NUMBER.get(number) ?? "none";
  return { allowed: (answer & 3) === WeftVerdict.DIRECT, reason, rule: (answer >>> 8) - 1 };
}

const REASON_NUMBERS: Readonly<Record<PolicyAnswer["reason"], number>> = {
  "none": WeftReason.NONE,
  "policy-denied": WeftReason.POLICY_DENIED,
  "default-deny": WeftReason.DEFAULT_DENY,
  "auth-required": WeftReason.AUTH_REQUIRED,
  "policy-conflict": WeftReason.POLICY_CONFLICT,
  "l7-unavailable": WeftReason.L7_UNAVAILABLE,
  "unknown-identity": WeftReason.UNKNOWN_IDENTITY,
};

const REASONS_BY_NUMBER = new Map(
  Object.entries(REASON_NUMBERS).map(([reason, number]) => [
    number,
    reason as PolicyAnswer["reason"],
  ]),
);
