/**
 * Whether a live connection's peer could still prove itself, after a root has been removed.
 *
 * Time is left out: an established connection outlives its certificate, but not the trust in who
 * signed it. A resumed connection has no chain to show and cannot prove it: it ends.
 *
 * @module
 */

import type { TlsConnection } from "../../../ffi/tls/connection.ts";
import type { TrustStore } from "../../../ffi/tls/trust.ts";

export function isStillTrusted(tls: TlsConnection, roots: TrustStore): boolean {
  const { leaf, chain } = tls.peerChain;
  return leaf !== null && chain !== null && roots.verifies(leaf, chain);
}
