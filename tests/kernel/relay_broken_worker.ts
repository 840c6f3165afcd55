/**
 * The relay's worker with a defect: its next snapshots make it fail, as many as the variable
 * FAULTS of its name says.
 *
 * @module
 */

import { WorkerRelay } from "@/src/relay/worker_relay.ts";

const apply = WorkerRelay.prototype.apply;

WorkerRelay.prototype.apply = function (snapshot) {
  const variable = `FAULTS_${self.name}`;
  const left = Number(Deno.env.get(variable) ?? 0); // the environment is the process's
  Deno.env.set(variable, String(left - 1));
  if (left > 0) throw new TypeError("Cannot go on\nhere");
  apply.call(this, snapshot);
};

await import("@/src/relay/worker.ts");
