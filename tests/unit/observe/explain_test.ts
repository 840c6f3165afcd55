/**
 * Explanations on the manifests of `tests/cli` and the seed's policy, against golden screens.
 * WEFT_GOLDEN=update writes the screens anew.
 *
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { explanationText } from "@/src/cli/explain_text.ts";
import { applyChanges, type Change, type PodObject, type State } from "@/src/model/mod.ts";
import { explain, type Explanation, parseExplainQuery } from "@/src/observe/mod.ts";
import { sourceFolder, stateOf } from "./world.ts";

const GOLDEN = new URL("../../golden/explain/", import.meta.url).pathname;

let open: State;
let strict: State;
const folders: string[] = [];

before(async () => {
  const [withPolicy, without] = await Promise.all(
    [true, false].map((policy) => sourceFolder({ policy })),
  );
  assert.ok(withPolicy && without);
  folders.push(withPolicy, without);
  [strict, open] = await Promise.all([stateOf(withPolicy), stateOf(without)]);
});
after(() => Promise.all(folders.map((folder) => Deno.remove(folder, { recursive: true }))));

/** Asks in the words of the command line: "from to port protocol". */
function ask(state: State, words: string): Explanation {
  const [from = "", to = "", port = "80", protocol = "TCP"] = words.split(" ");
  return explain(state, parseExplainQuery({ from, to, port, protocol }));
}

/** The State with a pod changed. */
function withPod(state: State, key: string, change: (pod: PodObject) => PodObject): State {
  const stored = state.objects.Pod.get(key);
  assert.ok(stored);
  const put: Change = { type: "put", object: change(stored.object), origin: stored.origin };
  return applyChanges(state, [put]);
}

const enrolled = (pod: PodObject): PodObject => ({
  ...pod,
  labels: new Map([...pod.labels, ["mesh.cilium.io/enrolled", "true"]]),
});

/** The screen equals the golden file; WEFT_GOLDEN=update writes it. */
async function compare(name: string, explanation: Explanation): Promise<void> {
  const readLines = (file: string) => Deno.readTextFileSync(file).split("\n");
  const text = explanationText(explanation, 100, readLines)
    .replaceAll(/\/\S*\/weft-source\.\w+\//g, "SOURCE/");
  const path = `${GOLDEN}${name}.txt`;
  if (Deno.env.get("WEFT_GOLDEN") === "update") await Deno.writeTextFile(path, text);
  assert.equal(text, await Deno.readTextFile(path));
}

describe("explain, on the seed's policy", () => {
  it("shows on one screen why the plain client is refused", async () => {
    const explanation = ask(strict, "default/frontend default/backend");
    assert.equal(explanation.answer, "refused");
    assert.equal(explanation.reason, "mtls-required");
    const text = explanationText(explanation, 100);
    assert.ok(text.split("\n").length <= 32, "more than one screen");
    await compare("plain-client", explanation);
  });

  it("shows how the enrolled client is carried", async () => {
    const state = withPod(strict, "default/frontend-0", enrolled);
    const explanation = ask(state, "default/frontend default/backend");
    assert.equal(explanation.answer, "allowed");
    assert.equal(explanation.paths[0]?.transport, "mutual TLS");
    await compare("enrolled-client", explanation);
  });

  it("shows what the outside host is refused by", async () => {
    await compare("outside", ask(strict, "outside pod/backend"));
  });

  it("shows the condition of a pod with its own certificate", async () => {
    const explanation = ask(strict, "own backend");
    assert.equal(explanation.answer, "allowed");
    await compare("own-certificate", explanation);
  });

  it("shows what a Service without that port lacks", async () => {
    await compare("no-backend", ask(strict, "frontend backend 81"));
  });

  it("sends who asks about a Service without ports to the name behind it", () => {
    const service = strict.objects.Service.get("default/backend");
    assert.ok(service);
    const object = { ...service.object, ports: [] };
    const bare = applyChanges(strict, [{ type: "put", object, origin: service.origin }]);
    const [fix] = ask(bare, "frontend svc/backend").fixes;
    assert.match(fix?.sentence ?? "", /ExternalName, explain the name/);
  });

  it("names file, line and field of what decided", () => {
    const [path] = ask(strict, "frontend backend").paths;
    assert.match(path?.mode.file ?? "", /policy\.yaml$/);
    assert.equal(path?.mode.line, 12);
    assert.equal(path?.mode.path, "spec.mtls.mode");
  });
});

describe("explain", () => {
  it("allows plaintext where no policy is", () => {
    const explanation = ask(open, "frontend backend");
    assert.equal(explanation.answer, "allowed");
    assert.deepEqual(explanation.fixes, []);
  });

  const answers: [string, "allowed" | "refused", string][] = [
    ["node/node-2 pod/backend", "allowed", "none"],
    ["node/node-1 pod/backend", "refused", "not-tls"],
    ["frontend pod/backend 53 UDP", "refused", "not-authenticated"],
    ["backend frontend", "allowed", "none"],
    ["10.244.1.99 pod/backend", "refused", "unknown-identity"],
    ["frontend 10.244.2.99", "refused", "unknown-identity"],
    ["frontend 192.0.2.7 443", "allowed", "none"],
    ["2001:db8::1 fd00:244:2::3", "refused", "not-tls"],
    ["backend backend-0", "allowed", "none"],
    ["frontend 10.96.0.10", "refused", "mtls-required"],
  ];
  for (const [words, answer, reason] of answers) {
    it(`answers "${words}" with ${answer}, ${reason}`, () => {
      const explanation = ask(strict, words);
      assert.equal(explanation.answer, answer);
      assert.equal(explanation.reason, reason);
    });
  }

  it("says of each refusal what would make it work, and it does", () => {
    const refused = ask(strict, "frontend backend");
    assert.match(
      refused.fixes[0]?.sentence ?? "",
      /add the label mesh.cilium.io\/enrolled: "true"/,
    );
    const asProposed = withPod(strict, "default/frontend-0", enrolled);
    assert.equal(ask(asProposed, "frontend backend").answer, "allowed");

    const port = refused.fixes.find(({ path }) => path === "spec.mtls.portOverrides");
    assert.match(port?.sentence ?? "", /add \{port: 80, mode: PERMISSIVE\}/);
    const policy = strict.objects.MeshPolicy.get("default/backend-mtls");
    assert.ok(policy);
    const object = { ...policy.object, overrides: [{ port: 80, mode: "PERMISSIVE" as const }] };
    const opened = applyChanges(strict, [{ type: "put", object, origin: policy.origin }]);
    assert.equal(ask(opened, "frontend backend").answer, "allowed");

    const own = withPod(strict, "default/frontend-0", (pod) => ({ ...pod, ownCertificate: true }));
    assert.equal(ask(own, "frontend backend").answer, "allowed");
  });

  it("proposes to change the label where the pod has one already", () => {
    const out = withPod(strict, "default/frontend-0", (pod) => ({
      ...pod,
      labels: new Map([["mesh.cilium.io/enrolled", "false"]]),
    }));
    const { fixes } = ask(out, "frontend backend");
    assert.match(fixes[0]?.sentence ?? "", /change the label/);
    assert.ok(!fixes.some(({ sentence }) => sentence.includes("Namespace")));
  });

  it("refuses what a node without an agent would leak, and names the node", () => {
    const silent = applyChanges(withPod(strict, "default/frontend-0", enrolled), [{
      type: "delete",
      ref: { kind: "WeftNode", namespace: "", name: "node-2" },
    }]);
    const explanation = ask(silent, "frontend backend");
    assert.equal(explanation.reason, "peer-not-ready");
    assert.match(explanation.fixes[0]?.sentence ?? "", /node node-2/);
  });

  it("says so where the server's node enforces nothing", () => {
    const silent = applyChanges(strict, [{
      type: "delete",
      ref: { kind: "WeftNode", namespace: "", name: "node-2" },
    }]);
    const explanation = ask(silent, "outside pod/backend");
    assert.equal(explanation.answer, "allowed");
    assert.ok(explanation.paths[0]?.stages.some(({ outcome }) => outcome === "absent"));
  });

  it("depends where the backends of one Service differ", () => {
    const second = strict.objects.Pod.get("default/backend-0");
    const policy = strict.objects.MeshPolicy.get("default/backend-mtls");
    assert.ok(second && policy);
    const labels = new Map([["app", "backend"], ["track", "canary"]]);
    const object = { ...second.object, name: "backend-1", labels, addresses: ["10.244.2.4"] };
    const target = {
      namespace: "default",
      selector: { matchLabels: new Map([["track", "canary"]]), matchExpressions: [] },
    };
    const mixed = applyChanges(strict, [
      { type: "put", object, origin: {} },
      { type: "put", object: { ...policy.object, target }, origin: policy.origin },
    ]);
    const explanation = ask(mixed, "frontend svc/backend");
    assert.equal(explanation.answer, "mixed");
    assert.deepEqual(explanation.paths.map(({ answer }) => answer), ["allowed", "refused"]);
  });

  it("tells backends that end alike once", () => {
    const first = strict.objects.Pod.get("default/backend-0");
    assert.ok(first);
    const more = [4, 5, 6].map((last): Change => ({
      type: "put",
      object: { ...first.object, name: `backend-${last}`, addresses: [`10.244.2.${last}`] },
      origin: {},
    }));
    const { paths } = ask(applyChanges(strict, more), "frontend svc/backend");
    assert.equal(paths.length, 1);
    assert.equal(paths[0]?.also.length, 3);
  });

  it("names what is near when an end does not exist", () => {
    assert.throws(() => ask(strict, "frontend other/backend"), {
      code: "not-found",
      message: /Cannot find pod or Service "other\/backend"; there is "default\/backend-0"/,
    });
  });

  it("does not answer for ends of different families", () => {
    assert.throws(() => ask(strict, "192.0.2.7 fd00:244:2::3"), { code: "usage" });
  });

  it("refuses a port that is none", () => {
    for (const port of ["", "0", "65536", "http", "-1", "80.5"]) {
      const words = { from: "a", to: "b", port };
      assert.throws(() => parseExplainQuery(words), { code: "usage" }, port);
    }
  });
});
