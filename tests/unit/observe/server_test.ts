/**
 * The agent's socket, asked over a real one.
 *
 * @module
 */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { AgentClient } from "@/src/cli/client.ts";
import { SUBSCRIBERS_MAX } from "@/src/observe/feed.ts";
import { openLog } from "@/src/log.ts";
import type { State } from "@/src/model/mod.ts";
import {
  type Explanation,
  type FeedItem,
  type IdentityReport,
  Observer,
  serveAgent,
  type StatusReport,
} from "@/src/observe/mod.ts";
import { sourceFolder, stateOf, TestAgent } from "./world.ts";

const log = openLog({ write: () => {} });
let folder: string;
let state: State;
let runDir: string;
let view: TestAgent;
let observer: Observer;
let server: AsyncDisposable;
let client: AgentClient;

before(async () => {
  folder = await sourceFolder({ policy: true });
  state = await stateOf(folder);
});
after(() => Deno.remove(folder, { recursive: true }));

beforeEach(async () => {
  runDir = await Deno.makeTempDir({ prefix: "weft-run." });
  view = new TestAgent(state, runDir);
  observer = new Observer({ state: view.state, counters: () => view.counters });
  server = serveAgent({ view, observer, log });
  client = await AgentClient.open(runDir);
});
afterEach(async () => {
  client[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
  observer[Symbol.dispose]();
  await Deno.remove(runDir, { recursive: true });
});

/** One refusal, as the relay reports it. */
function refuse(pod = "default/backend-0"): void {
  observer.onRelayEvents([{
    timeMs: Date.now(),
    stage: "inbound",
    verdict: "refuse",
    reason: "no-certificate",
    source: "192.0.2.1",
    sourcePort: 4000,
    target: pod === "default/backend-0" ? "10.244.2.3" : "10.244.1.2",
    targetPort: 80,
    pod,
  }]);
}

describe("the agent's socket", () => {
  it("is root's alone, in a directory of root's alone", async () => {
    const mode = async (path: string) => (await Deno.stat(path)).mode ?? 0;
    assert.equal(await mode(`${runDir}/weft.sock`) & 0o777, 0o600);
    assert.equal(await mode(runDir) & 0o777, 0o700);
    assert.equal(await mode(`${runDir}/agent.json`) & 0o777, 0o600);
  });

  it("answers /status with what is in force", async () => {
    const report = await client.get<StatusReport>("/status");
    assert.equal(report.healthy, true);
    assert.equal(report.node, "node-1");
    assert.deepEqual(
      report.policies.map(({ name, mode, pods, line }) => [name, mode, pods, line]),
      [
        ["default/backend-mtls", "STRICT", ["default/backend-0"], 12],
      ],
    );
    assert.deepEqual(report.pods.map(({ name }) => name), ["default/frontend-0", "default/own"]);
    assert.deepEqual(report.nodes.map(({ announced }) => announced), [true, true]);
    assert.deepEqual(report.refusals, []);
  });

  it("is not healthy when something is missing, and says what", async () => {
    view.missing = ["the first plan in the kernel"];
    view.failures = [{ pod: "default/own", reason: "its namespace is gone" }];
    view.current = { ...state, source: { ready: true, failure: "the directory has vanished" } };
    const report = await client.get<StatusReport>("/status");
    assert.equal(report.healthy, false);
    assert.equal(report.ready, false);
    assert.match(report.problems.join("\n"), /first plan.*\n.*has vanished.*\n.*default\/own/);
  });

  it("counts refusals in /status", async () => {
    view.counters[9] = 4;
    refuse();
    const { refusals } = await client.get<StatusReport>("/status");
    assert.deepEqual(refusals.map(({ reason, total, lastMinute }) => [reason, total, lastMinute]), [
      ["mtls-required", 4, 4],
      ["no-certificate", 1, 1],
    ]);
  });

  it("answers /identities with every pod that has one, and no key", async () => {
    const rows = await client.get<IdentityReport[]>("/identities");
    assert.deepEqual(rows.map(({ pod, node }) => [pod, node]), [
      ["default/backend-0", "node-2"],
      ["default/own", "node-1"],
    ]);
    assert.doesNotMatch(JSON.stringify(rows), /keyPem|PRIVATE/);
  });

  it("answers /explain as the files alone would", async () => {
    const query = { from: "default/frontend", to: "default/backend", port: "80" };
    const explanation = await client.get<Explanation>("/explain", query);
    assert.equal(explanation.reason, "mtls-required");
  });

  it("says what is wrong with a request", async () => {
    await assert.rejects(client.get("/explain", { from: "a", to: "b" }), { code: "usage" });
    await assert.rejects(client.get("/explain", { from: "a/b", to: "c", port: "1" }), {
      code: "request",
      status: 404,
      message: 'Cannot find pod "a/b"',
    });
    await assert.rejects(client.get("/nothing"), { status: 404 });
    await assert.rejects(client.get("/events", { reason: "because" }), { code: "usage" });
  });

  it("streams what was, then what happens, to whom it concerns", async () => {
    refuse();
    const lines = client.lines("/events", { follow: "true", pod: "default/backend-0" });
    const first = JSON.parse((await lines.next()).value) as FeedItem;
    assert.ok(first.type === "event" && first.event.id === 1);
    refuse("default/frontend-0");
    observer.feed.lose(2, "kernel");
    refuse();
    const second = JSON.parse((await lines.next()).value) as FeedItem;
    assert.deepEqual(second, { type: "lost", count: 2, where: "kernel" });
    const third = JSON.parse((await lines.next()).value) as FeedItem;
    assert.ok(third.type === "event" && third.event.id === 3);
    assert.equal(third.event.target.pod, "default/backend-0");
    await lines.return(undefined);
  });

  it("ends streams when the agent ends", async () => {
    refuse();
    const lines = client.lines("/events", { follow: "true" });
    await lines.next();
    await server[Symbol.asyncDispose]();
    assert.equal((await lines.next()).done, true);
  });

  it("issues certificates to exact requests only", async () => {
    await client.post("/cert-issue", { pod: "default/own", ttlMs: 60_000 });
    assert.deepEqual(view.asked, [{ pod: "default/own", ttlMs: 60_000 }]);
    const wrong = [{}, { pod: "own" }, { pod: "a/b", ttl: 5 }, { pod: "a/b", ttlMs: 0 }, [], "x"];
    for (const body of wrong) {
      // deno-lint-ignore no-await-in-loop -- one after the other
      await assert.rejects(client.post("/cert-issue", body), { code: "usage" });
    }
    await assert.rejects(client.post("/cert-issue", { pod: "a/b".repeat(2000) }), {
      code: "usage",
      message: /at most 4096 bytes/,
    });
    assert.equal(view.asked.length, 1);
  });

  it("lets go of a reader that leaves", async () => {
    refuse();
    const left = client.lines("/events", { follow: "true" });
    await left.next();
    await left.return(undefined);
    const all = Array.from(
      { length: SUBSCRIBERS_MAX },
      () => client.lines("/events", { follow: "true" }),
    );
    await Promise.all(all.map((lines) => lines.next()));
    await assert.rejects(client.lines("/events", { follow: "true" }).next(), { status: 503 });
    await Promise.all(all.map((lines) => lines.return(undefined)));
  });

  it("ends the agent on request", async () => {
    await client.post("/stop", {});
    assert.equal(view.stopped, true);
  });

  it("serves metrics", async () => {
    const http = Deno.createHttpClient({
      proxy: { transport: "unix", path: `${runDir}/weft.sock` },
    });
    const response = await fetch("http://127.0.0.1/metrics", { client: http });
    assert.match(response.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
    assert.match(await response.text(), /^weft_ready 1$/m);
    http.close();
  });
});

describe("a run directory", () => {
  it("has one agent", () => {
    assert.throws(() => serveAgent({ view, observer, log }), {
      code: "in-use",
      message: /another agent is using it/,
    });
  });

  it("is taken over when its agent was killed", async () => {
    await server[Symbol.asyncDispose]();
    Deno.writeTextFileSync(`${runDir}/weft.sock`, "left behind");
    server = serveAgent({ view, observer, log });
    using next = await AgentClient.open(runDir);
    assert.equal((await next.get<StatusReport>("/status")).node, "node-1");
  });

  it("without an agent is unreachable, at once", async () => {
    await server[Symbol.asyncDispose]();
    await assert.rejects(AgentClient.open(runDir), { code: "unreachable", how: "absent" });
  });
});

describe("--metrics-addr", () => {
  it("serves /metrics over TCP, and nothing else", async () => {
    const directory = await Deno.makeTempDir({ prefix: "weft-run." });
    let port = 0;
    const told = openLog({ write: (line) => port = JSON.parse(line).port ?? port });
    const agent = new TestAgent(state, directory);
    const config = { ...agent.config, metrics: { hostname: "127.0.0.1", port: 0 } };
    const other = Object.assign(Object.create(agent), { config });
    const serving = serveAgent({ view: other, observer, log: told });
    const page = await fetch(`http://127.0.0.1:${port}/metrics`);
    assert.match(await page.text(), /weft_refused_total/);
    const refused = await fetch(`http://127.0.0.1:${port}/status`);
    assert.equal(refused.status, 404);
    await refused.body?.cancel();
    await serving[Symbol.asyncDispose]();
    await Deno.remove(directory, { recursive: true });
  });
});
