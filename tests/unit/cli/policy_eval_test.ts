/**
 * `weft policy eval` and `weft policy validate`: what they print, in which order, and how they
 * exit.
 *
 * @module
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { CliEnv } from "@/src/cli/env.ts";
import { runProgram } from "@/src/cli/mod.ts";
import { ccnp, cnp, type Document, labelled, pod, tcp } from "../../golden/policies_world.ts";

let folder: string;

before(async () => {
  folder = await Deno.makeTempDir({ prefix: "weft-eval." });
});
after(() => Deno.remove(folder, { recursive: true }));

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
  const status = await runProgram(args, env);
  return {
    status,
    err,
    out,
    lines: out.split("\n").filter(Boolean).map((line) => JSON.parse(line)),
  };
}

/** Writes a file into the folder and gives its path. */
function file(name: string, text: string): string {
  const path = `${folder}/${name}`;
  Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  Deno.writeTextFileSync(path, text);
  return path;
}

function yaml(documents: readonly Document[]): string {
  return documents.map((document) => JSON.stringify(document)).join("\n---\n");
}

function jsonLines(queries: readonly unknown[]): string {
  return queries.map((query) => `${JSON.stringify(query)}\n`).join("");
}

const PODS = [
  pod("default/server", { labels: { app: "server" }, ip: "10.0.0.1" }),
  pod("default/a", { labels: { app: "a" }, ip: "10.0.0.2" }),
  pod("default/b", { labels: { app: "b" }, ip: "10.0.0.3" }),
];
const POLICY = cnp("p", {
  endpointSelector: labelled({ app: "server" }),
  ingress: [{ fromEndpoints: [labelled({ app: "a" })] }],
});

describe("weft policy eval", () => {
  it("answers each query on a line of its own, in order, from files and folders", async () => {
    const objects = file("one/pods.yaml", yaml(PODS));
    file("two/nested/policy.json", JSON.stringify(POLICY));
    const queries = file(
      "q.jsonl",
      jsonLines([
        tcp("default/a", "default/server", 80),
        tcp("default/b", "default/server", 80),
        tcp("default/server", "default/b", 80),
      ]),
    );
    const run = await weft(
      "policy",
      "eval",
      "--objects",
      objects,
      `${folder}/two`,
      "--queries",
      queries,
    );
    assert.equal(run.err, "");
    assert.equal(run.status, 0);
    assert.deepEqual(run.lines, [
      {
        verdict: "allow",
        rule: {
          kind: "CiliumNetworkPolicy",
          namespace: "default",
          name: "p",
          path: "spec.ingress[0]",
        },
      },
      { verdict: "deny", direction: "ingress", reason: "default-deny" },
      { verdict: "allow" },
    ]);
  });

  it("puts an error in the place of what cannot be answered, and exits with 1", async () => {
    const objects = file("errors.yaml", yaml(PODS));
    const flow = JSON.stringify(tcp("default/a", "default/b", 80));
    const queries = file("errors.jsonl", `${flow}\n{"from": \n\n{"from": {}}\n${flow}\n`);
    const run = await weft("policy", "eval", "--objects", objects, "--queries", queries);
    assert.equal(run.status, 1);
    assert.deepEqual(run.lines.map((line) => line.verdict ?? typeof line.error), [
      "allow",
      "string",
      "string",
      "allow",
    ]);
  });

  it("takes one array of queries, too", async () => {
    const objects = file("array.yaml", yaml(PODS));
    const flow = tcp("default/a", "default/b", 80);
    const queries = file("array.json", JSON.stringify([flow, flow], undefined, 2));
    const run = await weft("policy", "eval", "--objects", objects, "--queries", queries);
    assert.deepEqual(run.lines, [{ verdict: "allow" }, { verdict: "allow" }]);
  });

  it("names an invalid policy on standard error; it enforces nothing", async () => {
    const bad = cnp("bad", { endpointSelector: {}, ingress: [{ fromRequires: [{}] }] });
    const objects = file("invalid.yaml", yaml([...PODS, bad]));
    const queries = file("invalid.jsonl", jsonLines([tcp("default/b", "default/server", 80)]));
    const run = await weft("policy", "eval", "--objects", objects, "--queries", queries);
    assert.equal(run.status, 0);
    assert.deepEqual(run.lines, [{ verdict: "allow" }]);
    const [place, ...rest] = run.err.split(": CiliumNetworkPolicy ");
    assert.equal(place, `weft: ${objects}:7`);
    assert.match(rest.join(), /^default\/bad: spec\.ingress\[0\]\.fromRequires was removed/);
  });

  it("enforces always or never where it is told to", async () => {
    const objects = file("modes.yaml", yaml([...PODS, POLICY]));
    const queries = file(
      "modes.jsonl",
      jsonLines([
        tcp("default/b", "default/server", 80),
        tcp("default/a", "default/b", 80),
      ]),
    );
    const verdicts = async (mode: string) => {
      const args = ["--objects", objects, "--queries", queries, "--enforcement", mode];
      return (await weft("policy", "eval", ...args)).lines.map(({ verdict }) => verdict);
    };
    assert.deepEqual(await verdicts("default"), ["deny", "allow"]);
    assert.deepEqual(await verdicts("always"), ["deny", "deny"]);
    assert.deepEqual(await verdicts("never"), ["allow", "allow"]);
  });

  it("refuses files that are not there, and engines and modes that it does not know", async () => {
    const objects = file("there.yaml", yaml(PODS));
    const queries = file("there.jsonl", "");
    const ask = async (...args: string[]) => (await weft("policy", "eval", ...args)).status;
    assert.equal(await ask("--objects", objects, "--queries", queries), 0);
    assert.equal(await ask("--objects", `${folder}/absent`, "--queries", queries), 2);
    assert.equal(await ask("--objects", objects, "--queries", `${folder}/absent`), 2);
    assert.equal(await ask("--objects", objects, "--queries", queries, "--engine", "x"), 2);
    assert.equal(await ask("--objects", objects, "--queries", queries, "--enforcement", "x"), 2);
    assert.equal(await ask("--objects", objects), 2);
  });
});

describe("weft policy validate", () => {
  it("reports each policy document on a line of its own, with what is wrong", async () => {
    file("check/a.yaml", `${yaml([POLICY, PODS[0] ?? {}])}\n---\n{ bad\n`);
    file("check/b.yaml", yaml([ccnp("c", { endpointSelector: {}, ingress: [{ x: 1 }] })]));
    const run = await weft("policy", "validate", "-o", "json", `${folder}/check`);
    assert.equal(run.status, 1);
    const message: string = run.lines[1].errors[0].message;
    assert.match(message, /^is not YAML: /);
    assert.deepEqual(run.lines, [
      {
        file: `${folder}/check/a.yaml`,
        kind: "CiliumNetworkPolicy",
        namespace: "default",
        name: "p",
        valid: true,
        errors: [],
      },
      {
        file: `${folder}/check/a.yaml`,
        kind: "",
        name: "",
        valid: false,
        errors: [{ path: "", message }],
      },
      {
        file: `${folder}/check/b.yaml`,
        kind: "CiliumClusterwideNetworkPolicy",
        name: "c",
        valid: false,
        errors: [{ path: "spec.ingress[0].x", message: 'unknown field "x"' }],
      },
    ]);
  });

  it("exits with 0 where all are valid, also in words", async () => {
    const path = file("valid.yaml", yaml([POLICY]));
    const run = await weft("policy", "validate", "-o", "json", path);
    assert.deepEqual([run.status, run.lines.length], [0, 1]);
    let out = "";
    const env = {
      out: (text: string) => void (out += text),
      err: () => {},
      getenv: () => undefined,
    };
    const rest = { columns: undefined, signal: new AbortController().signal, status: 0 as const };
    assert.equal(await runProgram(["policy", "validate", path], { ...env, ...rest }), 0);
    assert.equal(out, `${path}: CiliumNetworkPolicy default/p: valid\n`);
  });

  it("reads weft's own policy, too, and fails for a file that is not there", async () => {
    const own = {
      apiVersion: "cilium.io/v2alpha1",
      kind: "CiliumServiceMeshPolicy",
      metadata: { name: "m" },
      spec: { mtls: { mode: "STRICTEST" } },
    };
    const run = await weft("policy", "validate", "-o", "json", file("mesh.yaml", yaml([own])));
    assert.deepEqual(run.lines[0].errors.map(({ path }: { path: string }) => path), [
      "spec.mtls.mode",
    ]);
    assert.equal((await weft("policy", "validate", "-o", "json", `${folder}/absent`)).status, 1);
  });
});
