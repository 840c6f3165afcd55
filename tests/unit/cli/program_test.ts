/**
 * The commands, run in this process: what they print and how they exit, with and without an agent.
 *
 * @module
 */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import manifest from "@/deno.json" with { type: "json" };
import type { CliEnv } from "@/src/cli/env.ts";
import { runProgram } from "@/src/cli/mod.ts";
import { openLog } from "@/src/log.ts";
import type { State } from "@/src/model/mod.ts";
import { type Explanation, Observer, serveAgent } from "@/src/observe/mod.ts";
import { metricsText } from "@/src/observe/metrics.ts";
import { VERSION } from "@/src/version.ts";
import { sourceFolder, stateOf, TestAgent } from "../observe/world.ts";

/** Runs `weft …` in this process. */
async function weft(words: string | readonly string[], options: RunOptions = {}) {
  let out = "";
  let err = "";
  const env: CliEnv = {
    out: (text) => {
      out += text;
      options.onOut?.(out);
    },
    err: (text) => void (err += text),
    getenv: () => undefined,
    columns: undefined,
    signal: options.signal ?? new AbortController().signal,
    status: 0,
  };
  const args = typeof words === "string" ? words.split(" ").filter((word) => word !== "") : words;
  const status = await runProgram(args, env);
  return { status, out, err };
}

interface RunOptions {
  readonly signal?: AbortSignal;
  readonly onOut?: (out: string) => void;
}

let folder: string;
let state: State;
let runDir: string;

before(async () => {
  folder = await sourceFolder({ policy: true });
  state = await stateOf(folder);
});
after(() => Deno.remove(folder, { recursive: true }));
beforeEach(async () => {
  runDir = await Deno.makeTempDir({ prefix: "weft-run." });
});
afterEach(() => Deno.remove(runDir, { recursive: true }));

describe("weft", () => {
  it("prints its version, which is that of deno.json", async () => {
    assert.deepEqual(await weft("--version"), { status: 0, out: `${VERSION}\n`, err: "" });
    assert.equal(VERSION, manifest.version);
  });

  it("teaches: every command has a description, and its help an example", async () => {
    const { out, status } = await weft("--help");
    assert.equal(status, 0);
    for (
      const command of ["check", "run", "status", "policy", "monitor", "identity", "uninstall"]
    ) {
      assert.match(out, new RegExp(`^  ${command}\\b.* {2}\\w`, "m"), command);
    }
    assert.match(out, /Exit status:\n {2}0/);
    const helps = await Promise.all(
      ["run", "status", "check", "monitor", "uninstall", "policy explain", "identity list"]
        .map((command) => weft(`${command} --help`)),
    );
    for (const help of helps) assert.match(help.out, /Examples:\n {2}weft /, help.out);
  });

  const misuses: [string, RegExp][] = [
    ["", /Usage: weft/],
    ["stauts", /^weft: unknown command "stauts"\nweft: hint: did you mean status\?\n/],
    ["status --runn-dir x", /^weft: unknown option "--runn-dir"\nweft: hint: did you mean/],
    ["run", /^weft: required option "--source <dir>" not specified\n/],
    ["run --source /x --workers 99", /^weft: cannot use "--workers": /],
    ["status -o yaml", /Allowed choices are text, json/],
    ["policy explain --from a --to b --source /tmp", /^weft: cannot explain without "port"/],
  ];
  for (const [words, message] of misuses) {
    it(`exits 2 on "weft ${words}" and says why`, async () => {
      const { status, out, err } = await weft(words);
      assert.equal(status, 2);
      assert.equal(out, "");
      assert.match(err, message);
    });
  }

  it("prints a unit whose words survive systemd, and CRDs that kubectl would take", async () => {
    const unit = await weft(["install", "systemd", "--source", "/etc/my 100%"]);
    assert.match(unit.out, /^ExecStart=\/usr\/local\/bin\/weft run --source "\/etc\/my 100%%"$/m);
    const crds = (await weft("install crds")).out.split("\n---\n");
    assert.equal(crds.length, 2);
    for (const crd of crds) assert.match(crd, /^kind: CustomResourceDefinition$/m);
  });

  it("ends quietly when nobody reads its answer any more", async () => {
    const onOut = () => {
      throw new Deno.errors.BrokenPipe("gone");
    };
    const { status, err } = await weft(
      `policy explain --from outside --to backend --port 80 \
--source ${folder}`.replaceAll(/\s+/g, " "),
      { onOut },
    );
    assert.equal(status, 0);
    assert.equal(err, "");
  });
});

describe("without an agent", () => {
  it("status, monitor and identity list exit 3 and say how to start one", async () => {
    const commands = ["status", "monitor", "identity list", "policy list"];
    const results = await Promise.all(commands.map((each) => weft(`${each} --run-dir ${runDir}`)));
    for (const { status, err } of results) {
      assert.equal(status, 3);
      assert.match(err, /^weft: no agent answers at ".*weft\.sock"$/m);
      assert.match(err, /^weft: hint: .*weft run --source/m);
    }
  });

  it("status says what still enforces", async () => {
    const bpffs = `${runDir}/bpf`;
    await Deno.mkdir(`${bpffs}/links`, { recursive: true });
    const empty = await weft(`status --run-dir ${runDir} --bpffs ${bpffs}`);
    assert.match(empty.err, /^weft: nothing is pinned/);
    await Deno.writeTextFile(`${bpffs}/links/pod-1-to`, "");
    const pinned = await weft(`status --run-dir ${runDir} --bpffs ${bpffs}`);
    assert.match(pinned.err, /\(1 links, 0 maps\) still enforces/);
    const json = await weft(`status -o json --run-dir ${runDir} --bpffs ${bpffs}`);
    assert.equal(JSON.parse(json.out).pinned.links, 1);
  });

  it("uninstall does its work and can be repeated", async () => {
    const words = `uninstall --run-dir ${runDir}/r --bpffs ${runDir}/bpf --state-dir ${runDir}/s`;
    await Deno.mkdir(`${runDir}/r`);
    const [first, second] = [await weft(words), await weft(words)];
    assert.deepEqual([first.status, second.status], [0, 0], first.err + second.err);
    await assert.rejects(Deno.stat(`${runDir}/r`), Deno.errors.NotFound);
  });

  it("uninstall --purge removes keys, but nothing that is not weft's", async () => {
    const stateDir = `${runDir}/s`;
    await Deno.mkdir(`${stateDir}/ca`, { recursive: true });
    await Deno.writeTextFile(`${stateDir}/issuer.key`, "key");
    await Deno.writeTextFile(`${stateDir}/last-good-policies.json`, "{}");
    await Deno.writeTextFile(`${stateDir}/notes`, "mine");
    const words = `uninstall --run-dir ${runDir}/r --bpffs ${runDir}/bpf --state-dir ${stateDir}`;
    assert.equal((await weft(words)).status, 0);
    assert.ok(await Deno.stat(`${stateDir}/issuer.key`));
    await Deno.writeTextFile(`${stateDir}/last-good-policies.json`, "{}");
    assert.equal((await weft(`${words} --purge`)).status, 0);
    const left = [...Deno.readDirSync(stateDir)].map(({ name }) => name);
    assert.deepEqual(left, ["notes"]);
  });
});

describe("with an agent", () => {
  let view: TestAgent;
  let observer: Observer;
  let server: AsyncDisposable;

  beforeEach(() => {
    view = new TestAgent(state, runDir);
    observer = new Observer({ state: view.state, counters: () => view.counters });
    server = serveAgent({ view, observer, log: openLog({ write: () => {} }) });
  });
  afterEach(async () => {
    await server[Symbol.asyncDispose]();
    observer[Symbol.dispose]();
  });

  it("status fits a screen and exits 0", async () => {
    view.counters[9] = 2;
    const { status, out } = await weft(`status --run-dir ${runDir}`);
    assert.equal(status, 0, out);
    assert.match(out, /^weft 0\.\d+\.\d+ on node node-1: healthy, up 1m/);
    assert.match(
      out,
      /default\/backend-mtls {2}STRICT {2}default: app=backend {2}1 pod {2}.*:12$/m,
    );
    assert.match(out, /default\/own .* own certificate {2}spiffe:.* has no certificate yet$/m);
    assert.match(out, /mtls-required {2}2 in the last minute {2}2 in all {2}the server is STRICT/);
    assert.ok(out.split("\n").length < 30);
  });

  it("status exits 1 when degraded and begins with the problem", async () => {
    view.failures = [{ pod: "default/own", reason: "its namespace is gone" }];
    const { status, out } = await weft(`status --run-dir ${runDir}`);
    assert.equal(status, 1);
    assert.match(out, /DEGRADED.*\n {2}! pod default\/own is NOT GUARDED/);
  });

  it("status names a relay worker that is dead, what it said, and what that means", async () => {
    const [worker] = view.relay().workers;
    assert.ok(worker);
    const dead = { running: false, failures: 6, lastError: "TypeError: Cannot go on" };
    view.relay = () => ({ workers: [worker, { ...worker, index: 1, ...dead }] });
    const { status, out } = await weft(`status --run-dir ${runDir}`);
    assert.equal(status, 1);
    assert.match(out, /: DEGRADED.*\n {2}! relay worker 1 has failed 6 times and is not running: /);
    assert.match(out, /its share of connections goes to the others, and is refused without any/);
    assert.match(out, /it said "TypeError: Cannot go on"/);
    assert.match(out, /^Relay: 1 of 2 workers running, /m);

    const metrics = await metricsText(view, observer);
    assert.match(metrics, /^weft_relay_worker_running\{worker="0"\} 1$/m);
    assert.match(metrics, /^weft_relay_worker_running\{worker="1"\} 0$/m);
  });

  it("status names a relay worker that is stuck, and what that means", async () => {
    const [worker] = view.relay().workers;
    assert.ok(worker);
    view.relay = () => ({ workers: [{ ...worker, silent: true }] });
    const { status, out } = await weft(`status --run-dir ${runDir}`);
    assert.equal(status, 1);
    assert.match(
      out,
      /: DEGRADED.*\n {2}! relay worker 0 is stuck: its connections wait, new ones/,
    );
  });

  it("status shows rejected documents with their place, and stays healthy", async () => {
    const rejection = {
      file: "/etc/weft/x.yaml",
      line: 3,
      path: "spec.mtls.mode",
      reason: 'must be one of "STRICT", "PERMISSIVE", "DISABLE"',
      code: "invalid" as const,
      kept: true,
    };
    view.current = { ...state, rejections: [rejection] };
    const { status, out } = await weft(`status --run-dir ${runDir}`);
    assert.equal(status, 0);
    assert.match(
      out,
      /rejected \/etc\/weft\/x\.yaml:3: spec\.mtls\.mode: must be one of.*stays in force/,
    );
  });

  it("finds the agent through WEFT_RUN_DIR", async () => {
    Deno.env.set("WEFT_RUN_DIR", runDir);
    try {
      const { out } = await weft("status -o json");
      assert.equal(JSON.parse(out).node, "node-1");
    } finally {
      Deno.env.delete("WEFT_RUN_DIR");
    }
  });

  it("explain answers the same from the agent as from the files", async () => {
    const words = "policy explain --from default/frontend --to default/backend --port 80 -o json";
    const [live, files] = await Promise.all([
      weft(`${words} --run-dir ${runDir}`),
      weft(`${words} --source ${folder}`),
    ]);
    assert.deepEqual([live.status, files.status], [1, 1]);
    const { notes: _a, ...one } = JSON.parse(live.out) as Explanation;
    const { notes: _b, ...other } = JSON.parse(files.out) as Explanation;
    assert.deepEqual(one, other);
  });

  it("explain exits 0 when allowed and 4 when an end does not exist", async () => {
    const allowed = await weft(
      `policy explain --from backend --to frontend --port 80 --run-dir ${runDir}`,
    );
    assert.equal(allowed.status, 0, allowed.err);
    const nobody = await weft(
      `policy explain --from backend --to nobody --port 80 --run-dir ${runDir}`,
    );
    assert.equal(nobody.status, 4);
    assert.equal(nobody.err, 'weft: cannot find pod or Service "default/nobody"\n');
  });

  it("identity list shows whose is whose", async () => {
    const { out } = await weft(`identity list --run-dir ${runDir}`);
    assert.match(out, /^POD +NODE +ADDRESSES +IDENTITY +CERTIFICATE\n/);
    assert.match(out, /^default\/backend-0 +node-2 +10\.244\.2\.3 .* on its own node$/m);
  });

  it("monitor prints events and gaps until it is interrupted", async () => {
    const stop = new AbortController();
    const refuse = () =>
      observer.onRelayEvents([{
        timeMs: Date.UTC(2026, 0, 1, 12, 0, 1, 250),
        stage: "inbound",
        verdict: "refuse",
        reason: "wrong-node",
        source: "10.244.1.2",
        sourcePort: 4000,
        target: "10.244.2.3",
        targetPort: 80,
        pod: "default/backend-0",
        peerId: "spiffe://cluster.local/ns/default/sa/default",
      }]);
    refuse();
    const { status, out } = await weft(`monitor --recent --run-dir ${runDir}`, {
      signal: stop.signal,
      onOut: (text) => {
        const lines = text.split("\n").length - 1;
        if (lines === 1) observer.feed.lose(3, "kernel");
        else stop.abort();
      },
    });
    assert.equal(status, 0);
    const [event, gap] = out.split("\n");
    assert.equal(
      event,
      "12:00:01.250 REFUSED default/frontend-0 (10.244.1.2) → default/backend-0:80 (10.244.2.3)" +
        " TCP at relay  wrong-node: the certificate was issued by a node on which the peer's" +
        " address does not live [spiffe://cluster.local/ns/default/sa/default]",
    );
    assert.match(gap ?? "", /^-- 3 events lost \(the kernel's ring was full\)/);
  });

  it("monitor exits 3 when the agent ends", async () => {
    observer.feed.publish({
      timeMs: 0,
      hook: "connect",
      verdict: "refuse",
      reason: "mtls-required",
      protocol: "TCP",
      source: { address: "10.244.1.2", port: 0 },
      target: { address: "10.244.2.3", port: 80 },
    });
    const { status, err } = await weft(`monitor --recent -o json --run-dir ${runDir}`, {
      onOut: () => void server[Symbol.asyncDispose](),
    });
    assert.equal(status, 3);
    assert.match(err, /the agent has ended/);
  });
});

describe("with an agent that is killed", () => {
  it("monitor says so and exits 3", async () => {
    const listener = Deno.listen({ transport: "unix", path: `${runDir}/weft.sock` });
    const killed = (async () => {
      for await (const connection of listener) {
        const request = await connection.read(new Uint8Array(4096));
        if (request === null) connection.close(); // it only looked whether somebody is there
        else {
          const head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
          await connection.write(new TextEncoder().encode(`${head}1\r\n\n\r\n`));
          connection.close();
          return;
        }
      }
    })();
    const { status, err } = await weft(`monitor --run-dir ${runDir}`);
    assert.equal(status, 3);
    assert.equal(err, "weft: the agent has ended\n");
    await killed;
  });
});

describe("completion", () => {
  const complete = async (...words: string[]) =>
    (await weft(["__complete", "--", ...words])).out.trim().split("\n");

  it("knows commands, options and choices from the commands themselves", async () => {
    assert.deepEqual(await complete("st"), ["status"]);
    assert.deepEqual(await complete("policy", ""), [
      "explain",
      "list",
      "eval",
      "validate",
      "listing",
    ]);
    assert.deepEqual(await complete("policy", "explain", "--p"), ["--port", "--protocol"]);
    assert.deepEqual(await complete("status", "-o", ""), ["text", "json"]);
    assert.deepEqual(await complete("monitor", "--reason", "mtls"), ["mtls-required"]);
    assert.deepEqual(await complete("completion", "f"), ["fish"]);
  });

  it("has a script for each shell, and names those that it has", async () => {
    const scripts = await Promise.all(["bash", "zsh", "fish"].map((s) => weft(`completion ${s}`)));
    for (const { out, status } of scripts) {
      assert.equal(status, 0);
      assert.match(out, /weft __complete --/);
    }
    assert.equal((await weft("completion tcsh")).status, 2);
  });

  it("works in a real bash", async () => {
    const { out } = await weft("completion bash");
    const script = `weft() { printf 'status\\n'; }\n${out}
COMP_WORDS=(weft st); COMP_CWORD=1; _weft; printf '%s' "\${COMPREPLY[@]}"`;
    const bash = new Deno.Command("bash", { args: ["-c", script] });
    assert.equal(new TextDecoder().decode((await bash.output()).stdout), "status");
  });
});
