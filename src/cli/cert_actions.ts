/**
 * What `weft cert issue` does, and what it says about it.
 *
 * @module
 */
import { UsageError } from "../errors.ts";
import { EXTERNAL_ISSUER_LIFETIME_MS, openCa, writeEndpoint } from "../identity/mod.ts";
import { pathSegmentFault } from "../model/mod.ts";
import type { PodCertificate, PodCertificateRequest } from "../observe/mod.ts";
import { expiryDate } from "./ca_actions.ts";
import { AgentClient } from "./client.ts";
import { table } from "./text.ts";

/** Asks the agent for a pod's certificate. */
export async function issueToPod(
  options: {
    readonly pod: string;
    readonly out: string;
    readonly runDirectory: string;
    readonly lifetimeMs?: number;
  },
): Promise<string> {
  const { pod, out, lifetimeMs } = options;
  if (!/^[^/]+\/[^/]+$/.test(pod)) {
    throw new UsageError(`Cannot use the pod "${pod}": wanted "NAMESPACE/NAME"`);
  }
  using client = await AgentClient.open(options.runDirectory);
  const request: PodCertificateRequest = {
    pod,
    ...(lifetimeMs === undefined ? {} : { ttlMs: lifetimeMs }),
  };
  const answer = await client.post<PodCertificate>("/cert-issue", request);
  await writeEndpoint(out, answer);
  return summary(out, answer, `good from the addresses of pod ${pod} only`);
}

/** Issues a certificate to something outside the cluster. */
export async function issueToOutside(
  options: {
    readonly name: string;
    readonly out: string;
    readonly caDirectory: string;
    readonly lifetimeMs?: number;
  },
): Promise<string> {
  const { name, out, lifetimeMs } = options;
  const fault = pathSegmentFault(name);
  if (fault !== null) {
    throw new UsageError(`Cannot use the name "${name}": wanted letters, digits, ".", "-" or "_"`);
  }
  if (lifetimeMs !== undefined && lifetimeMs > EXTERNAL_ISSUER_LIFETIME_MS) {
    const days = EXTERNAL_ISSUER_LIFETIME_MS / 86_400_000;
    throw new UsageError(`Cannot issue for that long: at most "${days}d"`);
  }
  const ca = await openCa(options.caDirectory);
  const { svid, bundlePem } = await ca.issueExternal({
    name,
    nowMs: Date.now(),
    ...(lifetimeMs === undefined ? {} : { lifetimeMs }),
  });
  await writeEndpoint(out, { ...svid, bundlePem });
  return summary(out, svid, "good from addresses of no pod and no node");
}

function summary(
  out: string,
  { spiffeId, notAfterMs }: { readonly spiffeId: string; readonly notAfterMs: number },
  scope: string,
): string {
  const rows = [
    ["SPIFFE ID", spiffeId],
    ["valid until", expiryDate(notAfterMs, Date.now())],
    ["scope", scope],
  ];
  return `Issued a certificate into ${out}\n${table(rows, "  ")}\n` +
    `curl --cert ${out}/tls.crt --key ${out}/tls.key --cacert ${out}/ca.crt https://HOST:PORT\n`;
}
