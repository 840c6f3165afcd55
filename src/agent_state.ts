/**
 * What the agent holds between two changes, and the one way in which it moves on.
 *
 * In: batches of Changes, renewed certificates, the wish to look again. Out: the kernel, the relay
 * and the announcement brought to the same Plan, one step at a time: steps are queued, never
 * interleaved. A step that fails is logged and shown, what was in force stays, and the next trigger
 * tries again.
 *
 * @module
 */

import { compile, diffPlans, emptyPlan, type Plan } from "./compile/mod.ts";
import type { Config } from "./config.ts";
import { formatError, NotFoundError } from "./errors.ts";
import type { Authority, Svid } from "./identity/mod.ts";
import type { Datapath } from "./load/mod.ts";
import type { Log } from "./log.ts";
import { applyChanges, type Change, emptyState, type State, type Workload } from "./model/mod.ts";
import type {
  AgentView,
  DatapathView,
  IdentityView,
  PodCertificate,
  PodCertificateRequest,
  RelayView,
} from "./observe/mod.ts";
import type { Relay } from "./relay/mod.ts";
import { RELAY_PATIENCE_MS } from "./limits.ts";
import { certificateNames, relaySnapshot } from "./snapshot.ts";
import { DATAPATH_VERSION } from "./version.ts";
import { announceNode, isForgotten } from "./watch/mod.ts";

export interface AgentParts {
  readonly config: Config;
  readonly log: Log;
  readonly datapath: Datapath;
  readonly authority: Authority;
  readonly relay: Relay;
  /** Ends the agent. */
  readonly stop: () => void;
}

/** The moving part of an agent, and its view. */
export class AgentState implements AgentView {
  readonly config: Config;
  readonly startedMs: number = Date.now();
  readonly #parts: AgentParts;
  #state: State;
  #plan: Plan = emptyPlan();
  #isApplied = false;
  #isHeld = false;
  #failure: string | undefined;
  #announced = "";
  #work: Promise<void> = Promise.resolve();

  constructor(parts: AgentParts) {
    this.config = parts.config;
    this.#parts = parts;
    this.#state = emptyState({
      node: parts.config.node,
      trustDomain: parts.authority.trustDomain,
      systemNamespace: parts.config.systemNamespace,
      enroll: parts.config.enroll,
      defaultMode: parts.config.defaultMode,
      sameNode: parts.config.sameNode,
    });
  }

  /** Folds changes and carries them through. */
  take(changes: readonly Change[]): Promise<void> {
    this.#state = applyChanges(this.#state, changes);
    return this.refresh();
  }

  /** Brings everything to the State of now. */
  refresh(): Promise<void> {
    return this.#enqueue(() => this.#reconcile());
  }

  /**
   * Puts back what others disturbed, tries again what failed, and looks again for pods that could
   * not be found.
   */
  repair(): Promise<void> {
    return this.#enqueue(async () => {
      if (this.#isHeld) return;
      const hasFailed = this.#failure !== undefined;
      const isDisturbed = this.#isApplied && this.#parts.datapath.repair();
      if (isDisturbed || hasFailed) await this.#reconcile();
      if (!this.#isApplied) return;
      const { source: { nodesDirectory }, node } = this.config;
      if (!await isForgotten(nodesDirectory, node)) return;
      this.#announced = "";
      await this.#announce();
    });
  }

  /**
   * Removes rows of connections that ended without a word. Not before the first plan: an agent that
   * does not know its pods yet would take every connection that is silent for one of nobody's.
   */
  sweep(): void {
    if (this.#isApplied) this.#parts.datapath.sweep();
  }

  /**
   * From now on nothing changes any more, and what dials waits for the next agent: a plan that came
   * now would end the wait.
   */
  hold(holdMs: number): Promise<void> {
    return this.#enqueue(() => {
      this.#isHeld = true;
      if (this.#isApplied) this.#parts.datapath.hold(holdMs);
    });
  }

  state(): State {
    return this.#state;
  }

  plan(): Plan {
    return this.#plan;
  }

  unready(): readonly string[] {
    const missing: string[] = [];
    const { source } = this.#state;
    if (!source.ready) missing.push(source.failure ?? "the first complete read of the source");
    else if (!this.#isApplied) missing.push("the first plan in the kernel");
    if (this.#failure !== undefined) missing.push(this.#failure);
    return missing;
  }

  datapath(): DatapathView {
    const { datapath } = this.#parts;
    return {
      revision: datapath.revision,
      counters: datapath.counters(),
      maps: datapath.usage(),
      shortages: datapath.shortages,
      failures: [...datapath.failures].map(([pod, reason]) => ({ pod, reason })),
    };
  }

  relay(): RelayView {
    const { relay, datapath } = this.#parts;
    const silent = datapath.silentWorkers;
    return {
      workers: relay.workers().map((worker) => ({
        ...worker,
        silent: silent.includes(worker.index),
      })),
    };
  }

  identity(): IdentityView {
    const { authority } = this.#parts;
    const { failure } = authority;
    return {
      issuer: authority.issuer,
      roots: authority.roots,
      svids: this.#certified().flatMap((workload) => {
        const svid = this.#svidOf(workload);
        if (!svid) return [];
        const { spiffeId, subject, fingerprint, notBeforeMs, notAfterMs } = svid;
        return [{ pod: workload.key, spiffeId, subject, fingerprint, notBeforeMs, notAfterMs }];
      }),
      ...(failure !== undefined && { failure }),
    };
  }

  async issuePodCertificate({ pod, ttlMs }: PodCertificateRequest): Promise<PodCertificate> {
    const workload = this.#state.workloads.get(pod);
    if (!workload?.local || !workload.live || workload.hostNetwork) {
      const where = workload && !workload.local ? `: it lives on node "${workload.node}"` : "";
      throw new NotFoundError(`Cannot find pod "${pod}" on this node${where}`, {
        object: `pod ${pod}`,
      });
    }
    const { authority } = this.#parts;
    const svid = await authority.mint(workload.spiffeId, certificateNames(workload), ttlMs);
    return { ...svid, bundlePem: authority.bundlePem };
  }

  stop(): void {
    this.#parts.stop();
  }

  async #reconcile(): Promise<void> {
    const { datapath, authority, relay } = this.#parts;
    const state = this.#state;
    if (this.#isHeld || (!state.source.ready && !this.#isApplied)) return;
    const plan = compile(state);
    await authority.nodeIs(state.nodes.get(this.config.node)?.uid ?? "");
    // First the relay, which makes its listeners; then the kernel, which steers to them.
    const changed = datapath.find(plan) || !this.#isApplied || !diffPlans(this.#plan, plan).empty;
    await this.#haveCertificates();
    const revision = datapath.revision + (changed ? 1 : 0);
    relay.update(relaySnapshot({
      revision,
      state,
      plan,
      pods: datapath.pods.values(),
      trustDomain: authority.trustDomain,
      bundlePem: authority.bundlePem,
      svidOf: (workload) => this.#svidOf(workload),
    }));
    if (changed) {
      await Promise.race([relay.applied(revision), delay(RELAY_PATIENCE_MS)]);
      datapath.apply(plan);
    }
    relay.settled();
    this.#plan = plan;
    this.#isApplied = true;
    await this.#announce();
  }

  /** Makes the certificates that are missing: an enrolled pod's first connection needs one. */
  async #haveCertificates(): Promise<void> {
    const { authority } = this.#parts;
    const requests = this.#certified().map((workload) => ({
      spiffeId: workload.spiffeId,
      names: certificateNames(workload),
    }));
    authority.want(requests);
    await Promise.allSettled(
      requests.map(({ spiffeId, names }) => authority.svidFor(spiffeId, names)),
    );
  }

  async #announce(): Promise<void> {
    const { config, authority } = this.#parts;
    const announcement = {
      node: config.node,
      uid: this.#state.nodes.get(config.node)?.uid ?? "",
      issuerFingerprint: authority.issuer.fingerprint,
      datapathVersion: DATAPATH_VERSION,
      ready: true,
    };
    const print = JSON.stringify(announcement);
    if (print === this.#announced) return;
    await announceNode(config.source.nodesDirectory, announcement);
    this.#announced = print;
  }

  /** Live pods of this node that need a certificate. */
  #certified(): Workload[] {
    return [...this.#state.workloads.values()].filter((workload) =>
      workload.local && workload.live && workload.certified
    );
  }

  #svidOf(workload: Workload): Svid | undefined {
    return this.#parts.authority.peek(workload.spiffeId, certificateNames(workload));
  }

  #enqueue(step: () => void | Promise<void>): Promise<void> {
    this.#work = this.#work.then(step).then(
      () => void (this.#failure = undefined),
      (error) => {
        const failure = formatError(error);
        if (failure !== this.#failure) this.#parts.log.error("step-failed", { error });
        this.#failure = failure; // `repair` tries again
      },
    );
    return this.#work;
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => Deno.unrefTimer(setTimeout(resolve, ms)));
}
