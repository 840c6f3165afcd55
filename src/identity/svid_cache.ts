/**
 * The SVIDs of a node's pods, in memory only.
 *
 * In: which SPIFFE IDs are wanted, with which names. Out: an SVID that holds now, the same for
 * everyone who asks, until it is renewed. Invariant: for one request at most one certificate is
 * being made at a time, and none that was signed by an issuer since replaced is kept.
 *
 * @module
 */

import { type AlternativeNames, canonicalNames, type Svid } from "./issue.ts";
import { isValidAt, svidRenewalMs } from "./lifetimes.ts";

/** Which SVID is wanted: two pods of one ServiceAccount may have different names. */
export interface SvidRequest {
  readonly spiffeId: string;
  readonly names?: AlternativeNames;
}

/** What the cache needs of its owner. */
export interface SvidCacheOptions {
  readonly issue: (request: SvidRequest) => Promise<Svid>;
  /** When the current issuer ends: an SVID that ends with it is not worth renewing. */
  readonly issuerEndMs: () => number;
  readonly now: () => number;
  readonly random: () => number;
}

/** A renewal that failed is tried again after this long. */
const RETRY_MS = 10_000;

/** Keeps one SVID for each request. */
export class SvidCache {
  readonly #options: SvidCacheOptions;
  readonly #entries = new Map<string, Entry>();
  /** Grows whenever the issuer changes. */
  #epoch = 0;

  constructor(options: SvidCacheOptions) {
    this.#options = options;
  }

  /** An SVID that holds now; made on first use. */
  get(request: SvidRequest): Promise<Svid> {
    const entry = this.#entryOf(request);
    const held = this.#held(entry);
    return held === undefined ? this.#renew(entry) : Promise.resolve(held);
  }

  /** The SVID, if there is one that holds now. */
  peek(request: SvidRequest): Svid | undefined {
    const entry = this.#entries.get(keyOf(request));
    return entry === undefined ? undefined : this.#held(entry);
  }

  /** Forgets all but these, and returns those that have no certificate yet. */
  retain(requests: readonly SvidRequest[]): readonly SvidRequest[] {
    const wanted = new Map(requests.map((request) => [keyOf(request), request]));
    for (const key of this.#entries.keys()) if (!wanted.has(key)) this.#entries.delete(key);
    return [...wanted.values()].filter((request) => this.peek(request) === undefined);
  }

  /** Makes anew what is due; returns what was renewed and the first thing that went wrong. */
  async renewDue(): Promise<{ readonly renewed: readonly Svid[]; readonly failure?: unknown }> {
    const nowMs = this.#options.now();
    const due = [...this.#entries.values()].filter((entry) => this.#isDue(entry, nowMs));
    const results = await Promise.allSettled(due.map((entry) => this.#renew(entry)));
    const renewed = results.flatMap((each) => each.status === "fulfilled" ? [each.value] : []);
    const failed = results.find((each) => each.status === "rejected");
    return failed === undefined ? { renewed } : { renewed, failure: failed.reason };
  }

  /** Makes every SVID due: the issuer is another. */
  expireAll(): void {
    this.#epoch++;
    for (const entry of this.#entries.values()) entry.renewMs = -Infinity;
  }

  /** When `renewDue` has something to do next. */
  get nextRenewalMs(): number {
    let next = Infinity;
    for (const { renewMs } of this.#entries.values()) next = Math.min(next, renewMs);
    return next;
  }

  /** All that hold now. */
  get all(): readonly Svid[] {
    return [...this.#entries.values()].flatMap((entry) => this.#held(entry) ?? []);
  }

  /** Also one that does not hold yet: the clock was set back past its beginning. */
  #isDue({ renewMs, retryMs, svid }: Entry, nowMs: number): boolean {
    if (renewMs <= nowMs) return true;
    return svid !== undefined && nowMs < svid.notBeforeMs && !(nowMs < retryMs);
  }

  #held(entry: Entry): Svid | undefined {
    const { svid } = entry;
    return svid !== undefined && isValidAt(svid, this.#options.now()) ? svid : undefined;
  }

  #entryOf(request: SvidRequest): Entry {
    const key = keyOf(request);
    const found = this.#entries.get(key);
    if (found !== undefined) return found;
    const entry: Entry = {
      request,
      svid: undefined,
      pending: undefined,
      renewMs: Infinity,
      retryMs: -Infinity,
    };
    this.#entries.set(key, entry);
    return entry;
  }

  /** Joins the making of a new one that is under way, or begins it. */
  #renew(entry: Entry): Promise<Svid> {
    entry.pending ??= this.#issue(entry).finally(() => {
      entry.pending = undefined;
    });
    return entry.pending;
  }

  async #issue(entry: Entry): Promise<Svid> {
    const { issue, issuerEndMs, now, random } = this.#options;
    try {
      let epoch: number;
      let svid: Svid;
      do {
        epoch = this.#epoch;
        // deno-lint-ignore no-await-in-loop -- again only if the issuer changed meanwhile
        svid = await issue(entry.request);
      } while (epoch !== this.#epoch);
      entry.svid = svid;
      const isCapped = svid.notAfterMs >= issuerEndMs();
      entry.renewMs = isCapped ? Infinity : svidRenewalMs(svid, random());
      return svid;
    } catch (error) {
      entry.retryMs = now() + RETRY_MS;
      entry.renewMs = entry.retryMs;
      throw error;
    }
  }
}

interface Entry {
  readonly request: SvidRequest;
  svid: Svid | undefined;
  pending: Promise<Svid> | undefined;
  /** when it is due */
  renewMs: number;
  /** after a failure: not before this */
  retryMs: number;
}

function keyOf({ spiffeId, names }: SvidRequest): string {
  if (names === undefined) return spiffeId;
  const { dnsNames, addresses } = canonicalNames(names);
  return [spiffeId, dnsNames.join(","), addresses.join(",")].join(" ");
}
