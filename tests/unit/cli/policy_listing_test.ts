/**
 * `weft policy listing`: each pod's program, with the rules that made it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { CliEnv } from "@/src/cli/env.ts";
import { runProgram } from "@/src/cli/mod.ts";
import { cnp, labelled, pod, toPorts } from "../../golden/policies_world.ts";

let file: string;

before(() => {
  file = Deno.makeTempFileSync({ prefix: "weft-listing.", suffix: ".yaml" });
  const objects = [
    pod("default/server", { labels: { app: "server" }, ip: "10.0.0.1" }),
    pod("default/server-2", { labels: { app: "server" }, ip: "10.0.0.2" }),
    pod("default/client", { labels: { app: "client" }, ip: "10.0.0.3" }),
    cnp("p", {
      endpointSelector: labelled({ app: "server" }),
      ingress: [{ fromEndpoints: [labelled({ app: "client" })], toPorts: toPorts("80", "TCP") }],
    }),
  ];
  Deno.writeTextFileSync(file, objects.map((one) => JSON.stringify(one)).join("\n---\n"));
});
after(() => Deno.removeSync(file));

async function weft(...args: string[]) {
  let [out, err] = ["", ""];
  const env: CliEnv = {
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    getenv: () => undefined,
    columns: undefined,
    signal: new AbortController().signal,
    status: 0,
  };
  const status = await runProgram(["policy", "listing", "--objects", file, ...args], env);
  return { status, out, err };
}

describe("weft policy listing", () => {
  it("shows the program of a pod, with those that share it and the rule of each part", async () => {
    const { status, out, err } = await weft("--pod", "default/server");
    assert.deepEqual({ status, err }, { status: 0, err: "" });
    assert.match(out, /^# pod default\/server, pod default\/server-2: 1 rule, \d+ slots\n {5}0: /);
    assert.match(out, /; peers of CiliumNetworkPolicy default\/p spec\.ingress\[0\]\n/);
    assert.match(out, /; allow: CiliumNetworkPolicy default\/p spec\.ingress\[0\]\n/);
    assert.match(out, /; default-deny\n/);
  });

  it("shows all programs where no pod is named", async () => {
    const { out } = await weft();
    const heads = out.split("\n").filter((line) => line.startsWith("# "));
    assert.equal(heads.length, 3, "of the servers, of the client, and of a host");
  });

  it("says so where there is no such pod", async () => {
    const { status, out, err } = await weft("--pod", "default/none");
    assert.deepEqual({ status, out }, { status: 4, out: "" });
    assert.match(err, /no such pod/);
  });
});
