/**
 * The testbed itself, without agents: what it makes works, and nothing of it stays.
 *
 * @module
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { eventually } from "@/tests/support/waiting.ts";
import { Testbed } from "@/tests/testbed/mod.ts";
import { tearDown } from "@/tests/testbed/commands.ts";
import { cgroup2Mount } from "@/tests/testbed/state.ts";

const SCRIPT = fileURLToPath(import.meta.resolve("@/scripts/testbed"));
const SEED = fileURLToPath(import.meta.resolve("@/tests/seed"));

const POD_THAT_NEVER_LISTENS = `apiVersion: v1
kind: Pod
metadata: { name: never }
spec:
  containers: [{ name: never, command: [sleep, "1000"], ports: [{ containerPort: 1 }] }]
`;

describe("a testbed", () => {
  it("serves the hello page to pods, nodes and the outside, by both families", async () => {
    await using bed = await Testbed.up({ source: SEED, nodes: 2, agents: false });
    const backend = await bed.pod("default/backend");
    const frontend = await bed.pod("default/frontend");
    assert.notEqual(frontend.node, backend.node);
    for (const from of ["default/frontend", backend.node, "outside"]) {
      for (const address of backend.addresses) {
        // deno-lint-ignore no-await-in-loop -- the log is to be in this order
        const { page } = await get(bed, from, address);
        assert.match(page, /^Server address: .*:80\nServer name: backend-\w{5}\nDate: .*\n/);
        assert.match(page, /\nURI: \/some\/path\nRequest ID: [0-9a-f]{32}\n$/);
      }
    }
    const clients = (await Deno.readTextFile(backend.log)).trim().split("\n")
      .map((line) => line.split(" ")[0]);
    const { outside } = await bed.describe();
    assert.deepEqual(clients.slice(0, 2), frontend.addresses);
    assert.deepEqual(clients.slice(4), outside.addresses);
  });

  it("routes to pods without a bridge, too", async () => {
    await using bed = await Testbed.up({ source: SEED, agents: false, podLink: "ptp" });
    const { addresses } = await bed.pod("default/backend");
    const pages = await Promise.all(
      ["default/frontend", "node-1", "outside"].flatMap((from) =>
        addresses.map((address) => get(bed, from, address))
      ),
    );
    assert.deepEqual(pages.map(({ code }) => code), [0, 0, 0, 0, 0, 0]);
  });

  it("gives a pod its name, its cgroup, its addresses and the cluster's DNS", async () => {
    await using bed = await Testbed.up({ source: SEED, agents: false });
    const pod = await bed.pod("default/backend");
    const { stdout } = await bed.exec("default/backend", [
      ...["sh", "-c", "hostname; cat /etc/resolv.conf /proc/self/cgroup; ip -o addr show eth0"],
    ]);
    assert.match(stdout, new RegExp(`^${pod.name}\n`));
    assert.match(stdout, /^search default.svc.cluster.local .*\nnameserver 10.96.0.10$/m);
    assert.ok(stdout.includes(`0::${pod.cgroup.slice(cgroup2Mount().length)}\n`));
    for (const address of pod.addresses) assert.ok(stdout.includes(` ${address}/`), address);
    const source = (await bed.describe()).source;
    const document = await Deno.readTextFile(`${source}/pod-default-${pod.name}.yaml`);
    assert.ok(document.includes(`mesh.cilium.io/netns: ${pod.netns}`));
    assert.match(document, /type: Ready\n\s+status: "True"/);
  });

  it("passes streams and exit status of a command through", async () => {
    await using bed = await Testbed.up({ agents: false });
    const script = "cat; echo problem >&2; exit 7";
    const direct = await bed.exec("outside", ["sh", "-c", script], { stdin: "in" });
    assert.deepEqual(direct, { code: 7, stdout: "in", stderr: "problem\n" });
    const viaScript = runTestbed(bed.directory, ["exec", "node-1", "--", "sh", "-c", script], "in");
    assert.deepEqual(await viaScript, direct);
  });

  it("says that it captures when it does, and loses no packet", async () => {
    await using bed = await Testbed.up({ source: SEED, nodes: 2, agents: false });
    const { addresses: [address] } = await bed.pod("default/backend");
    await using wire = await bed.capture("node-1");
    await using none = await bed.capture("node-1", { filter: "tcp port 81" });
    await get(bed, "default/frontend", address ?? "");
    assert.ok(await wire.contains("Server name: backend"));
    assert.ok(!await none.contains("Server name: backend"));
    const query = { fields: ["ip.src", "tcp.flags.syn", "tcp.flags.fin"], filter: "tcp" } as const;
    const packets = await wire.packets(query);
    const count = (flag: "tcp.flags.syn" | "tcp.flags.fin") =>
      packets.filter((packet) => /^(1|True)$/.test(packet[flag][0] ?? "")).length;
    assert.deepEqual([count("tcp.flags.syn"), count("tcp.flags.fin")], [2, 2]);
  });
});

describe("apply and delete", () => {
  it("scale a Deployment and remove what it had", async () => {
    await using bed = await Testbed.up({ source: SEED, agents: false });
    const [first] = (await bed.describe()).pods;
    await bed.applyYaml(deployment({ replicas: 3 }));
    const { pods } = await bed.describe();
    assert.equal(pods.filter(({ name }) => name.startsWith("backend-")).length, 3);
    assert.ok(pods.some(({ name }) => name === first?.name));
    assert.ok((await Promise.all(pods.map(({ addresses }) => get(bed, "outside", addresses[0]))))
      .every(({ code }) => code === 0));
    await bed.deleteYaml(deployment({ replicas: 3 }));
    const left = (await bed.describe()).pods;
    assert.deepEqual(left.map(({ name }) => name.split("-")[0]), ["frontend"]);
    const links = await bed.exec("node-1", ["ip", "-br", "link", "show", "type", "veth"]);
    assert.equal(links.stdout.trim().split("\n").length, 2);
  });

  it("change labels in place and replace a pod whose containers changed", async () => {
    await using bed = await Testbed.up({ source: SEED, agents: false });
    const before = await bed.pod("default/backend");
    await bed.applyYaml(deployment({ label: 'mesh.cilium.io/enrolled: "true"' }));
    const { source } = await bed.describe();
    assert.equal((await bed.pod("default/backend")).name, before.name);
    const document = await Deno.readTextFile(`${source}/pod-default-${before.name}.yaml`);
    assert.match(document, /mesh.cilium.io\/enrolled: "true"/);
    await bed.applyYaml(deployment({ port: 8080 }));
    const after = await bed.pod("default/backend");
    assert.notEqual(after.name, before.name);
    assert.equal((await get(bed, "outside", `${after.addresses[0]}:8080`)).code, 0);
    assert.notEqual((await get(bed, "outside", before.addresses[0])).code, 0);
    await assert.rejects(Deno.stat(`${source}/pod-default-${before.name}.yaml`));
  });

  it("keep a Service's address and leave the text of other documents alone", async () => {
    await using bed = await Testbed.up({ source: SEED, agents: false });
    const { source } = await bed.describe();
    const before = await Deno.readTextFile(`${source}/frontend.yaml`);
    assert.match(before, /clusterIPs:\n\s+- 10\.96\./);
    const text = await Deno.readTextFile(`${SEED}/frontend.yaml`);
    const outcomes = await bed.applyYaml(text);
    assert.deepEqual(outcomes.map(({ what }) => what), ["unchanged", "unchanged"]);
    assert.equal(await Deno.readTextFile(`${source}/frontend.yaml`), before);
    const policy = await Deno.readTextFile(`${SEED}/policy.yaml`);
    assert.equal(await Deno.readTextFile(`${source}/policy.yaml`), policy);
  });

  it("run a container's own command, and say why one that ends is not ready", async () => {
    await using bed = await Testbed.up({ agents: false });
    const pod = (command: string) =>
      `apiVersion: v1
kind: Pod
metadata: { name: echo, labels: { app: echo } }
spec:
  containers:
  - name: echo
    command: [sh, -c, '${command}']
    env: [{ name: NODE, valueFrom: { fieldRef: { fieldPath: spec.nodeName } } }]
    ports: [{ containerPort: 7000 }]
`;
    await bed.applyYaml(pod('while :; do echo "on $NODE" | nc -l -p 7000 -N; done'));
    const { addresses: [address = ""] } = await bed.pod("default/echo");
    const answer = await bed.exec("outside", ["nc", "-w", "2", address, "7000"]);
    assert.equal(answer.stdout, "on node-1\n");
    await assert.rejects(bed.applyYaml(pod("echo no such thing; exit 1")), /no such thing/);
  });

  it("refuse what is not YAML, by name, and change nothing", async () => {
    await using bed = await Testbed.up({ agents: false });
    await assert.rejects(bed.applyYaml("kind: [Pod"), /Cannot parse "the text": /);
    await assert.rejects(bed.applyYaml("kind: Pod\n"), /lacks kind or metadata.name/);
  });

  it("let DNS answer for a Service, and for a headless one with its pods", async () => {
    await using bed = await Testbed.up({ source: SEED, agents: false });
    const { addresses } = await bed.pod("default/backend");
    await bed.applyYaml(`apiVersion: v1
kind: Service
metadata: { name: every }
spec: { clusterIP: None, selector: { app: backend }, ports: [{ port: 80 }] }
`);
    assert.deepEqual(await lookUp(bed, "every.default.svc.cluster.local"), addresses);
    const service = await lookUp(bed, "backend.default.svc.cluster.local");
    assert.match(service.join(" "), /^10\.96\.\d+\.\d+ fd00:10:96::\w+$/);
  });
});

describe("the agents of a testbed", () => {
  it("are ready when it is, make Services work, and can be killed and started again", async () => {
    await using bed = await Testbed.up({ nodes: 2 });
    await bed.apply(`${SEED}/backend.yaml`, `${SEED}/frontend.yaml`);
    // Applied is written; in force it is when the agents have read it.
    await eventually("the name is known", async () => {
      const page = await bed.exec("default/frontend", ["curl", "-s", "-m", "5", "http://backend"]);
      return /Server name: backend-/.test(page.stdout);
    });
    await bed.kill("node-1", "KILL");
    assert.equal((await bed.weft("node-1", ["status"])).code, 3);
    assert.equal((await bed.weft("node-2", ["status"])).code, 0);
    await assert.rejects(bed.kill("node-1", "KILL"), /it is not running/);
    await bed.start("node-1");
    assert.equal((await bed.weft("node-1", ["status"])).code, 0);
  });

  it("fail to come up with the end of their log", async () => {
    const up = Testbed.up({ agentArgs: ["--default-mode", "SOMETIMES"] });
    await assert.rejects(up, /Cannot start the agent of "node-1".*\n.*--default-mode/);
  });
});

describe("down", () => {
  it("leaves nothing, and a second testbed untouched", async () => {
    await using other = await Testbed.up({ source: SEED, agents: false });
    const bed = await Testbed.up({ source: SEED, nodes: 2, agents: false });
    const id = await readId(bed.directory);
    await using _capture = await bed.capture("node-1");
    const escape = "setsid -f sleep 1000 </dev/null >/dev/null 2>&1";
    assert.equal((await bed.exec("default/backend", ["sh", "-c", escape])).code, 0);
    assert.ok((await traces(bed.directory, id)).length > 10);
    await bed.down();
    assert.deepEqual(await traces(bed.directory, id), []);
    const { addresses: [address] } = await other.pod("default/backend");
    assert.equal((await get(other, "default/frontend", address)).code, 0);
  });

  it("clears up after an up that was killed, at any moment", async () => {
    const directory = await Deno.makeTempDir({ dir: "/run", prefix: "weft-testbed-" });
    let halfWay = 0;
    const start = performance.now();
    await startTestbed(directory, ["up", "--no-agent", "--source", SEED]).output();
    const wholeMs = performance.now() - start;
    assert.equal((await runTestbed(directory, ["down"])).code, 0);
    for (let delayMs = wholeMs * 0.2; delayMs < wholeMs; delayMs += wholeMs / 12) {
      const up = startTestbed(directory, ["up", "--no-agent", "--source", SEED]);
      // deno-lint-ignore no-await-in-loop -- one after the other, in the same directory
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      killIfAlive(up, "SIGKILL");
      // deno-lint-ignore no-await-in-loop
      const [id] = await Promise.all([readId(directory).catch(() => "none"), up.output()]);
      // deno-lint-ignore no-await-in-loop
      if ((await traces(directory, id)).length > 1) halfWay++;
      // deno-lint-ignore no-await-in-loop
      await tearDown(directory);
      // deno-lint-ignore no-await-in-loop
      assert.deepEqual(await traces(directory, id), [], `killed after ${delayMs} ms`);
    }
    assert.ok(halfWay > 2, "the delays do not meet the time that up takes");
  });

  it("clears up after an up that was killed before it had an id", async () => {
    const directory = await Deno.makeTempDir({ dir: "/run", prefix: "weft-testbed-" });
    await Deno.writeTextFile(`${directory}/id`, "");
    await tearDown(directory);
    await assert.rejects(Deno.stat(directory), Deno.errors.NotFound);
  });

  it("happens by itself when up is interrupted", async () => {
    const directory = await Deno.makeTempDir({ dir: "/run", prefix: "weft-testbed-" });
    const folder = await Deno.makeTempDir();
    await Deno.writeTextFile(`${folder}/pod.yaml`, POD_THAT_NEVER_LISTENS);
    const up = startTestbed(directory, ["up", "--no-agent", "--source", folder]);
    await eventually(
      "a pod has been started",
      async () =>
        (await Deno.readTextFile(`${directory}/state.json`).catch(() => "")).includes('"never"'),
    );
    const id = await readId(directory);
    assert.ok((await traces(directory, id)).length > 3);
    up.kill("SIGTERM");
    assert.equal((await up.output()).code, 143);
    assert.deepEqual(await traces(directory, id), []);
    await Deno.remove(folder, { recursive: true });
  });

  it("follows the death of the process that made the testbed", async () => {
    const script = `import { Testbed } from "@/tests/testbed/mod.ts";
      const bed = await Testbed.up({ source: ${JSON.stringify(SEED)}, agents: false });
      await Deno.stdout.write(new TextEncoder().encode(bed.directory));
      await new Promise(() => setInterval(() => {}, 1000));`;
    const stdio = { stdin: "piped", stdout: "piped", stderr: "inherit" } as const;
    const config = fileURLToPath(import.meta.resolve("@/deno.json"));
    const args = ["run", "-A", "--config", config, "-"];
    const child = new Deno.Command(Deno.execPath(), { args, ...stdio }).spawn();
    await new Blob([script]).stream().pipeTo(child.stdin);
    const reader = child.stdout.getReader();
    const directory = new TextDecoder().decode((await reader.read()).value);
    const id = await readId(directory);
    child.kill("SIGKILL");
    await Promise.all([reader.cancel(), child.status]);
    await eventually("all of it is gone", async () => (await traces(directory, id)).length === 0);
  });
});

/** Everything on this machine that bears the testbed's name. */
async function traces(directory: string, id: string): Promise<string[]> {
  const names = async (path: string) =>
    (await Array.fromAsync(Deno.readDir(path))).map(({ name }) => `${path}/${name}`);
  const mounts = (await Deno.readTextFile("/proc/self/mounts")).split("\n");
  const found = [
    ...await names(cgroup2Mount()),
    ...await names("/run/netns").catch(() => []),
    ...await names("/run"),
    ...mounts,
  ].filter((name) => name.includes(`weft-testbed-${id}`) || name.includes(directory));
  const processes = await Promise.all((await names("/proc")).map(async (path) => {
    if (!/\d$/.test(path)) return [];
    const groups = await Deno.readTextFile(`${path}/cgroup`).catch(() => "");
    // The cgroup of a process that is dead but not yet collected is named "… (deleted)".
    return groups.includes(`weft-testbed-${id}`) && !groups.includes("(deleted)") ? [path] : [];
  }));
  return [...found, ...processes.flat()].toSorted();
}

async function readId(directory: string): Promise<string> {
  return await Deno.readTextFile(`${directory}/id`);
}

async function get(
  bed: Testbed,
  from: string,
  host: string | undefined,
): Promise<{ code: number; page: string }> {
  const name = host?.includes(":") && !host.includes(".") ? `[${host}]` : host;
  const url = `http://${name}/some/path`;
  const { code, stdout } = await bed.exec(from, ["curl", "-s", "-m", "2", "-g", url]);
  return { code, page: stdout };
}

/** Asks the DNS server itself, from its own network, for both families. */
async function lookUp(bed: Testbed, name: string): Promise<string[]> {
  const script = `echo nameserver 192.0.2.53 >"$1"; mount --bind "$1" /etc/resolv.conf
    getent ahostsv4 "$2" | grep STREAM; getent ahostsv6 "$2" | grep STREAM`;
  const file = `${bed.directory}/resolv.conf`;
  const command = ["unshare", "--mount", "sh", "-c", script, "sh", file, name];
  const { stdout } = await bed.exec("outside", command);
  return stdout.trim().split("\n").map((line) => line.split(" ")[0] ?? "");
}

function deployment(
  { replicas = 1, label = "", port = 80 }: { replicas?: number; label?: string; port?: number },
): string {
  return `apiVersion: apps/v1
kind: Deployment
metadata:
  name: backend
spec:
  replicas: ${replicas}
  selector: { matchLabels: { app: backend } }
  template:
    metadata:
      labels:
        app: backend
        ${label}
    spec:
      containers:
      - name: backend
        image: nginxdemos/hello:plain-text
        ports:
        - containerPort: ${port}
`;
}

function startTestbed(directory: string, args: readonly string[]): Deno.ChildProcess {
  return new Deno.Command(SCRIPT, {
    args: [...args],
    env: { WEFT_TESTBED: directory },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

async function runTestbed(
  directory: string,
  args: readonly string[],
  stdin = "",
): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = startTestbed(directory, args);
  const [{ code, stdout, stderr }] = await Promise.all([
    child.output(),
    new Blob([stdin]).stream().pipeTo(child.stdin),
  ]);
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

function killIfAlive(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch {
    // It has ended already.
  }
}
