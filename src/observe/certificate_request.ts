/**
 * What `POST /cert-issue` accepts. Strict: a misspelt field must not mean its default.
 *
 * @module
 */
import { z } from "zod";
import { UsageError } from "../errors.ts";
import type { PodCertificateRequest } from "./view.ts";

const request = z.strictObject({
  pod: z.string().regex(/^[a-z0-9.-]+\/[a-z0-9.-]+$/, 'must be "namespace/name"'),
  ttlMs: z.int().min(1000).max(30 * 86_400_000).optional(),
});

/** Checks a body. */
export function parseCertificateRequest(body: unknown): PodCertificateRequest {
  const result = request.safeParse(body);
  if (!result.success) {
    throw new UsageError(`Cannot issue a certificate: ${z.prettifyError(result.error)}`);
  }
  const { pod, ttlMs } = result.data;
  return { pod, ...(ttlMs !== undefined && { ttlMs }) };
}
