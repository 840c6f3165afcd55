/**
 * What the running agent shows of itself: the one interface between the pipeline and those who
 * look at it. Plain values, copied when asked. Invariant: nothing here can change what is enforced,
 * but for `stop`; and no key is in it.
 *
 * @module
 */
import type { Plan } from "../compile/mod.ts";
import type { Config } from "../config.ts";
import type { State } from "../model/mod.ts";
import type { Counter } from "../relay/mod.ts";

/** The agent, for observers. */
export interface AgentView {
  readonly config: Config;
  /** milliseconds since 1970 */
  readonly startedMs: number;
  state(): State;
  plan(): Plan;
  /** what is still missing before the agent is ready; empty when it is */
  unready(): readonly string[];
  datapath(): DatapathView;
  relay(): RelayView;
  identity(): IdentityView;
  /** A certificate of a local pod's own identity, with its key: PEM. */
  issuePodCertificate(request: PodCertificateRequest): Promise<PodCertificate>;
  /** Asks the agent to end, as SIGTERM does. */
  stop(): void;
}

/** What the kernel holds. */
export interface DatapathView {
  /** of the plan in force; 0: none yet */
  readonly revision: number;
  /** sums over all CPUs, by WEFT_REASON_* and WEFT_COUNTER_* */
  readonly counters: readonly number[];
  readonly maps: readonly MapUsage[];
  /** maps that are full, and what that means for whom */
  readonly shortages: readonly MapShortage[];
  /** pods whose programs could not be attached, and why */
  readonly failures: readonly { readonly pod: string; readonly reason: string }[];
}

export interface MapUsage {
  readonly name: string;
  /** undefined where counting would cost more than it tells */
  readonly entries?: number;
  readonly entriesMax: number;
}

export interface MapShortage {
  readonly map: string;
  readonly entriesMax: number;
  readonly sentence: string;
}

/** The relay's workers. */
export interface RelayView {
  readonly workers: readonly RelayWorkerView[];
}

export interface RelayWorkerView {
  readonly index: number;
  readonly running: boolean;
  /** has not told the kernel of late that it lives: it is stuck, and gets nothing new */
  readonly silent?: boolean;
  /** revision of the snapshot it works by */
  readonly revision: number;
  readonly counters: Readonly<Record<Counter, number>>;
  /** how often it has failed; another took its place each time, unless it is not running */
  readonly failures: number;
  readonly lastError?: string;
}

/** Certificates, without their keys. */
export interface IdentityView {
  /** undefined: this node cannot issue certificates */
  readonly issuer?: CertificateView;
  readonly roots: readonly CertificateView[];
  readonly svids: readonly SvidView[];
  /** why something could not be issued or renewed */
  readonly failure?: string;
}

export interface CertificateView {
  readonly subject: string;
  /** SHA-256 of the certificate, hexadecimal */
  readonly fingerprint: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

export interface SvidView extends CertificateView {
  /** "namespace/name" of the pod */
  readonly pod: string;
  readonly spiffeId: string;
}

export interface PodCertificateRequest {
  /** "namespace/name" */
  readonly pod: string;
  /** life @default that of every SVID */
  readonly ttlMs?: number;
}

export interface PodCertificate {
  readonly spiffeId: string;
  readonly notAfterMs: number;
  /** leaf first, then the node issuer */
  readonly chainPem: string;
  readonly keyPem: string;
  readonly bundlePem: string;
}
