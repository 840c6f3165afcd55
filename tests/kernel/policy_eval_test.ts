/**
 * `weft policy eval` with the compiled programs: what they answer, and that they are never replaced
 * in silence where the kernel cannot be used.
 *
 * @module
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { openDescriptors } from "@/ffi/fd.ts";
import type { CliEnv } from "@/src/cli/env.ts";
import { runProgram } from "@/src/cli/mod.ts";
import { cnp, labelled, pod, tcp, toPorts } from "../golden/policies_world.ts";

let folder: string;

before(() => {
  folder = Deno.makeTempDirSync({ prefix: "weft-eval." });
  const objects = [
    pod("default/server", { labels: { app: "server" }, ip: "10.0.0.1" }),
    pod("default/a", { labels: { app: "a" }, ip: "10.0.0.2" }),
    pod("default/b", { labels: { app: "b" }, ip: "10.0.0.3" }),
    cnp("p", {
      endpointSelector: labelled({ app: "server" }),
      ingress: [
        { fromEndpoints: [labelled({ app: "a" })], toPorts: toPorts("80", "TCP") },
        { toPorts: toPorts("81", "TCP", { rules: { http: [{ path: "/" }] } }) },
      ],
      ingressDeny: [{ toPorts: toPorts("82", "TCP") }],
    }),
  ];
  const yaml = objects.map((one) => JSON.stringify(one)).join("\n---\n");
  Deno.writeTextFileSync(`${folder}/objects.yaml`, yaml);
  const queries = [
    tcp("default/a", "default/server", 80),
    tcp("default/b", "default/server", 80),
    tcp("default/b", "default/server", 81, { http: { method: "GET", path: "/" } }),
    tcp("default/a", "default/server", 82),
    tcp("default/server", "default/a", 1),
    tcp("default/none", "default/server", 80),
  ];
  Deno.writeTextFileSync(`${folder}/queries`, queries.map((one) => JSON.stringify(one)).join("\n"));
});
after(() => Deno.removeSync(folder, { recursive: true }));

function args(engine: string): string[] {
  const files = ["--objects", `${folder}/objects.yaml`, "--queries", `${folder}/queries`];
  return ["policy", "eval", ...files, "--engine", engine];
}

async function evaluate(engine: string) {
  let [out, err] = ["", ""];
  const env: CliEnv = {
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    getenv: () => undefined,
    columns: undefined,
    signal: new AbortController().signal,
    status: 0,
  };
  const status = await runProgram(args(engine), env);
  return { status, err, answers: out.split("\n").filter(Boolean).map((line) => JSON.parse(line)) };
}

const RULE = { kind: "CiliumNetworkPolicy", namespace: "default", name: "p" };

describe("weft policy eval --engine kernel", () => {
  it("decides by the programs: with the rule, and without the payload", async () => {
    const { status, err, answers } = await evaluate("kernel");
    assert.deepEqual(answers, [
      { verdict: "allow", rule: { ...RULE, path: "spec.ingress[0]" } },
      { verdict: "deny", direction: "ingress", reason: "default-deny" },
      { verdict: "deny", direction: "ingress", reason: "l7-unavailable" },
      {
        verdict: "deny",
        direction: "ingress",
        reason: "policy-denied",
        rule: { ...RULE, path: "spec.ingressDeny[0]" },
      },
      { verdict: "allow" },
      { error: 'pod "default/none" does not exist' },
    ]);
    assert.deepEqual({ status, err }, { status: 1, err: "" }); // 1: the last could not be answered
  });

  it("leaves no program and no map behind", async () => {
    await evaluate("kernel");
    assert.deepEqual(openDescriptors().map(({ label }) => label), []);
  });

  it("exits with 3 and says why where programs cannot be loaded", async () => {
    const main = new URL("../../main.ts", import.meta.url).pathname;
    for (const engine of ["kernel", "both"]) {
      const deno = [Deno.execPath(), "run", "-A", "--no-check", main, ...args(engine)];
      // deno-lint-ignore no-await-in-loop -- a few
      const { code, stdout, stderr } = await new Deno.Command("setpriv", {
        args: ["--bounding-set=-all", "--inh-caps=-all", ...deno],
      }).output();
      const text = new TextDecoder();
      assert.equal(code, 3);
      assert.match(text.decode(stderr), /^weft: cannot use the kernel: .*EPERM.*needs root/m);
      assert.equal(text.decode(stdout), "");
    }
  });
});

describe("weft policy eval --engine both", () => {
  it("answers as the reference where the kernel does not contradict it", async () => {
    const [reference, both] = await Promise.all([evaluate("reference"), evaluate("both")]);
    assert.deepEqual(both.answers, reference.answers);
    assert.deepEqual(both.answers[2], {
      verdict: "allow",
      rule: { ...RULE, path: "spec.ingress[1]" },
    });
    assert.equal(both.err, "");
  });
});
