/**
 * The certificate authority of one node, as its agent uses it.
 *
 * In: a state directory, and which SPIFFE IDs the node's pods have. Out: SVIDs that hold, the trust
 * bundle, and word of every change. Invariants: keys of SVIDs exist in memory only, and files that
 * cannot be used leave what was loaded before in force, and say so in `failure`.
 *
 * Files are watched, so a node issuer or a bundle that is copied over the old one takes effect at
 * once: every SVID is then made anew. Where this machine holds the root too, the issuer renews
 * itself at half of its life; where it does not, `failure` names the command to run. An issuer that
 * has expired issues nothing: SVIDs end with it and the relay refuses, which is the safe side.
 *
 * @module
 */

import { formatError } from "../errors.ts";
import { type AlternativeNames, issueSvid, type Svid } from "./issue.ts";
import {
  describeCredentials,
  foreignUid,
  isRootHere,
  type IssuerView,
  manualRenewal,
  type NodeIssuerView,
  type NodePlace,
  openCredentials,
  reloadCredentials,
  renewCredentials,
} from "./node_issuer.ts";
import { activeBundlePem } from "./store/bundle.ts";
import { areSameCredentials, type Credentials, STATE_FILES } from "./store/credentials.ts";
import { FileWatch } from "./store/watch.ts";
import { SvidCache, type SvidRequest } from "./svid_cache.ts";

/** How a node's authority is opened. */
export interface AuthorityConfig extends NodePlace {
  readonly svidTtlMs: number;
  /** @default {Date.now} */
  readonly now?: () => number;
  /** @default {Math.random} */
  readonly random?: () => number;
}

/** What changed; the authority has the new values already. */
export interface AuthorityChange {
  /** SVIDs that were made or renewed. */
  readonly svids: readonly Svid[];
  readonly issuer: boolean;
  readonly bundle: boolean;
}

/** Opens the authority of a node; throws a `CertificateError` when its files cannot be used. */
export async function openAuthority(config: AuthorityConfig): Promise<Authority> {
  const credentials = await openCredentials(config, (config.now ?? Date.now)());
  const authority = new Authority(
    config,
    credentials,
    await describeCredentials(credentials, config),
  );
  await authority.tick();
  authority.start();
  return authority;
}

/** Issues SVIDs for the pods of one node. */
export class Authority implements AsyncDisposable {
  readonly #config: AuthorityConfig;
  readonly #now: () => number;
  readonly #svids: SvidCache;
  readonly #listeners = new Set<(change: AuthorityChange) => void>();
  #credentials: Credentials;
  #views: { readonly issuer: NodeIssuerView; readonly roots: readonly IssuerView[] };
  #bundlePem: string;
  #problems: Readonly<Record<string, string>> = {};
  #retryIssuerMs = -Infinity;
  #work: Promise<void> = Promise.resolve();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #watch: FileWatch | undefined;
  #isClosed = false;

  /** Use `openAuthority`. */
  constructor(
    config: AuthorityConfig,
    credentials: Credentials,
    views: { readonly issuer: NodeIssuerView; readonly roots: readonly IssuerView[] },
  ) {
    this.#config = config;
    this.#now = config.now ?? Date.now;
    this.#credentials = credentials;
    this.#views = views;
    this.#bundlePem = activeBundlePem(credentials.roots, this.#now());
    this.#svids = new SvidCache({
      issue: (request) => this.mint(request.spiffeId, request.names),
      issuerEndMs: () => this.#credentials.issuer.certificate.notAfterMs,
      now: this.#now,
      random: config.random ?? Math.random,
    });
  }

  get trustDomain(): string {
    return this.#credentials.trustDomain;
  }

  /** The roots that hold now, as PEM; empty when none does, and then nobody can be verified. */
  get bundlePem(): string {
    return this.#bundlePem;
  }

  get issuer(): NodeIssuerView {
    return this.#views.issuer;
  }

  get roots(): readonly IssuerView[] {
    return this.#views.roots;
  }

  /** SVIDs that hold now. */
  get svids(): readonly Svid[] {
    return this.#svids.all;
  }

  /** What a person has to look at, or undefined. */
  get failure(): string | undefined {
    const problems = Object.values(this.#problems);
    return problems.length === 0 ? undefined : problems.join("; ");
  }

  /** An SVID that holds now, from memory or new; everyone who asks alike gets the same. */
  svidFor(spiffeId: string, names?: AlternativeNames): Promise<Svid> {
    return this.#svids.get(requestOf(spiffeId, names)).finally(() => this.#arm());
  }

  /** The SVID, if one is there already; for a snapshot that must not wait. */
  peek(spiffeId: string, names?: AlternativeNames): Svid | undefined {
    return this.#svids.peek(requestOf(spiffeId, names));
  }

  /**
   * Says which SVIDs are wanted from now on: others are forgotten, missing ones made, all renewed
   * in time. Listeners hear when they are there.
   */
  want(requests: readonly SvidRequest[]): void {
    const missing = this.#svids.retain(requests);
    if (missing.length === 0) return;
    void this.#enqueue(async () => {
      const results = await Promise.allSettled(missing.map((each) => this.#svids.get(each)));
      const svids = results.flatMap((each) => each.status === "fulfilled" ? [each.value] : []);
      this.#report("svid", results.find((each) => each.status === "rejected")?.reason);
      if (svids.length > 0) this.#emit({ svids, issuer: false, bundle: false });
    });
  }

  /** A certificate with a key of its own, not kept: what `weft cert issue --pod` hands out. */
  mint(spiffeId: string, names?: AlternativeNames, lifetimeMs?: number): Promise<Svid> {
    return issueSvid(this.#credentials.issuer, {
      spiffeId,
      ...(names === undefined ? {} : { names }),
      nowMs: this.#now(),
      lifetimeMs: lifetimeMs ?? this.#config.svidTtlMs,
    });
  }

  /** Calls back after every change, until disposed. */
  onChange(listener: (change: AuthorityChange) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** Renews what is due now. The authority's own timer calls it; it never rejects. */
  tick(): Promise<void> {
    return this.#enqueue(async () => {
      await this.#renewIssuer();
      this.#refreshBundle();
      const { renewed, failure } = await this.#svids.renewDue();
      if (failure !== undefined || renewed.length > 0) this.#report("svid", failure);
      if (renewed.length > 0) this.#emit({ svids: renewed, issuer: false, bundle: false });
    });
  }

  /**
   * Says by which UID the cluster knows this node. An issuer of another is replaced where the root
   * is here; elsewhere the root's machine has to make one, unless it was made without any.
   */
  nodeIs(uid: string): Promise<void> {
    const { nodeUid, nodeName } = this.#credentials;
    if (uid === "" || uid === nodeUid) return Promise.resolve(this.#report("uid", undefined));
    return this.#enqueue(async () => {
      try {
        if (await isRootHere(this.#config)) {
          await this.#adopt(
            await renewCredentials(
              this.#config,
              { ...this.#credentials, nodeUid: uid },
              this.#now(),
            ),
          );
        } else if (nodeUid !== nodeName) {
          const { stateDirectory } = this.#config;
          return this.#report("uid", foreignUid(this.#views.issuer, uid, stateDirectory));
        }
        this.#report("uid", undefined);
      } catch (error) {
        this.#report("uid", error);
      }
    });
  }

  /** Reads the files again and takes over what is new in them. The watch calls it. */
  reload(): Promise<void> {
    return this.#enqueue(async () => {
      try {
        const next = await reloadCredentials(this.#config);
        if (!areSameCredentials(this.#credentials, next)) await this.#adopt(next);
        this.#report("files", undefined);
      } catch (error) {
        this.#report("files", error);
      }
    });
  }

  /** Begins to watch the files and the clock. */
  start(): void {
    const files = new Set<string>(Object.values(STATE_FILES));
    this.#watch ??= new FileWatch(this.#config.stateDirectory, files, () => this.reload());
    this.#arm();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#listeners.clear();
    await this.#watch?.[Symbol.asyncDispose]();
    await this.#work;
  }

  /** One thing at a time, in order. Never rejects: what fails is in `failure` and in the log. */
  #enqueue(task: () => Promise<void>): Promise<void> {
    this.#work = this.#work.then(task)
      .catch((error) => this.#report("authority", error))
      .finally(() => this.#arm());
    return this.#work;
  }

  #arm(): void {
    clearTimeout(this.#timer);
    if (this.#isClosed || this.#watch === undefined) return;
    const dueMs = this.#svids.nextRenewalMs - this.#now();
    const delayMs = Math.min(Math.max(dueMs, DELAY_MS_MIN), DELAY_MS_MAX);
    this.#timer = setTimeout(() => void this.tick(), delayMs);
    Deno.unrefTimer(this.#timer);
  }

  async #renewIssuer(): Promise<void> {
    const { issuer } = this.#views;
    const nowMs = this.#now();
    if (nowMs < issuer.renewMs) return this.#report("issuer", undefined);
    try {
      if (!(await isRootHere(this.#config))) {
        const { stateDirectory } = this.#config;
        return this.#report("issuer", manualRenewal(issuer, stateDirectory, nowMs));
      }
      if (nowMs < this.#retryIssuerMs) return;
      this.#retryIssuerMs = nowMs + ISSUER_RETRY_MS;
      await this.#adopt(await renewCredentials(this.#config, this.#credentials, nowMs));
      this.#report("issuer", undefined);
    } catch (error) {
      this.#report("issuer", error);
    }
  }

  async #adopt(next: Credentials): Promise<void> {
    const before = { bundlePem: this.#bundlePem, fingerprint: this.#views.issuer.fingerprint };
    this.#views = await describeCredentials(next, this.#config);
    this.#credentials = next;
    this.#bundlePem = activeBundlePem(next.roots, this.#now());
    const { issuer, roots } = this.#views;
    this.#config.log.info("credentials-loaded", {
      issuer: issuer.fingerprint,
      notAfter: new Date(issuer.notAfterMs).toISOString(),
      roots: roots.map((root) => root.fingerprint),
    });
    const isNewIssuer = issuer.fingerprint !== before.fingerprint;
    if (isNewIssuer) this.#svids.expireAll();
    const { renewed, failure } = await this.#svids.renewDue();
    this.#report("svid", failure);
    const bundle = this.#bundlePem !== before.bundlePem;
    this.#emit({ svids: renewed, issuer: isNewIssuer, bundle });
  }

  /** A root that has expired meanwhile leaves the bundle. */
  #refreshBundle(): void {
    const bundlePem = activeBundlePem(this.#credentials.roots, this.#now());
    if (bundlePem === this.#bundlePem) return;
    this.#bundlePem = bundlePem;
    this.#emit({ svids: [], issuer: false, bundle: true });
  }

  /** Remembers what is wrong with one concern, and logs it when it is news. */
  #report(concern: string, problem: unknown): void {
    const text = problem === undefined ? undefined : formatError(problem);
    if (this.#problems[concern] === text) return;
    const { [concern]: _, ...others } = this.#problems;
    this.#problems = text === undefined ? others : { ...others, [concern]: text };
    if (text === undefined) this.#config.log.info("identity-recovered", { concern });
    else this.#config.log.warn("identity-problem", { concern, problem: text });
  }

  #emit(change: AuthorityChange): void {
    for (const listener of this.#listeners) listener(change);
  }
}

/**
 * The clock is looked at this often, for it may be set, and the kernel tells only who holds a timer
 * descriptor. Meanwhile a pod whose certificate does not hold any more is refused.
 */
const DELAY_MS_MAX = 1000;
const DELAY_MS_MIN = 500;
const ISSUER_RETRY_MS = 60_000;

function requestOf(spiffeId: string, names: AlternativeNames | undefined): SvidRequest {
  return names === undefined ? { spiffeId } : { spiffeId, names };
}
