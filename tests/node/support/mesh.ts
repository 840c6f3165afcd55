/**
 * A testbed for tests of the mesh: pods in a few words, changes that are in force when they return,
 * and clients whose answers are values.
 *
 * Invariant: nothing here waits for a time to pass; what is waited for is seen (a revision of the
 * plan, a line of output), within a deadline.
 *
 * @module
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { StatusReport } from "@/src/observe/report.ts";
import { eventually } from "@/tests/support/waiting.ts";
import { type ExecResult, Testbed } from "@/tests/testbed/mod.ts";
import { HABITS } from "./habits.ts";
import { LiveConnection } from "./live.ts";

/** A pod, as far as tests say it. */
export interface PodSpec {
  readonly name: string;
  readonly namespace?: string;
  readonly node?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly serviceAccount?: string;
  /** `hello` serves the page of the seed, `talker` has the ports of HABITS, `idle` none */
  readonly runs?: "hello" | "talker" | "idle";
  /** of the hello page */
  readonly ports?: readonly number[];
}

const DENO = [Deno.execPath(), "run", "-A", "--quiet", "--no-config", "--no-lock"];

/** A Pod document. */
export function pod(spec: PodSpec): string {
  const { name, namespace = "default", node, labels, annotations, serviceAccount } = spec;
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace, labels: { app: name, ...labels }, annotations },
    spec: {
      ...(node !== undefined && { nodeName: node }),
      ...(serviceAccount !== undefined && { serviceAccountName: serviceAccount }),
      containers: [container(spec)],
    },
  });
}

/** A label that brings a pod into the mesh. */
export const ENROLLED = { "mesh.cilium.io/enrolled": "true" } as const;
/** An annotation for a pod that speaks TLS itself. */
export const OWN_CERTIFICATE = { "mesh.cilium.io/own-certificate": "true" } as const;

/** A CiliumServiceMeshPolicy for the pods with a label `app`. */
export function policy(
  app: string,
  mode: "STRICT" | "PERMISSIVE" | "DISABLE",
  more: { readonly ports?: Readonly<Record<number, string>>; readonly sameNode?: string } = {},
): string {
  const portOverrides = Object.entries(more.ports ?? {}).map(([port, override]) => ({
    port: Number(port),
    protocol: "TCP",
    mode: override,
  }));
  return JSON.stringify({
    apiVersion: "cilium.io/v2alpha1",
    kind: "CiliumServiceMeshPolicy",
    metadata: { name: `${app}-mesh` },
    spec: {
      target: { selector: { matchLabels: { app } } },
      mtls: {
        mode,
        ...(portOverrides.length > 0 && { portOverrides }),
        ...(more.sameNode !== undefined && { sameNode: more.sameNode }),
      },
    },
  });
}

/** A Service for the pods with a label `app`, of both families. */
export function service(
  app: string,
  ports: readonly Readonly<Record<string, unknown>>[],
  name = app,
): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name },
    spec: { selector: { app }, ipFamilyPolicy: "RequireDualStack", ports },
  });
}

/** What a client of `dialer.ts` says. */
export interface Answer {
  readonly error?: string;
  readonly text?: string;
  readonly peer?: { readonly hostname: string; readonly port: number };
  readonly local?: { readonly hostname: string; readonly port: number };
  readonly connectMs?: number;
  readonly firstMs?: number;
  readonly sent?: string;
  readonly answered?: string;
  readonly size?: number;
  readonly hash?: string;
  readonly elapsedMs?: number;
  readonly served?: number;
  readonly failed?: number;
  readonly first?: string;
}

/** A testbed with agents. */
export class Mesh implements AsyncDisposable {
  readonly bed: Testbed;
  readonly nodes: readonly string[];
  readonly #runDirs = new Map<string, string>();

  /** Brings one up, with these documents. */
  static async up(options: {
    readonly documents: readonly string[];
    readonly nodes?: number;
    readonly agentArgs?: readonly string[];
  }): Promise<Mesh> {
    const source = await Deno.makeTempDir({ prefix: "weft-node-test-" });
    try {
      await Deno.writeTextFile(`${source}/world.yaml`, options.documents.join("\n---\n"));
      const { nodes = 1, agentArgs = [] } = options;
      const bed = await Testbed.up({ source, nodes, agentArgs });
      return new Mesh(bed, (await bed.describe()).nodes);
    } finally {
      await Deno.remove(source, { recursive: true });
    }
  }

  private constructor(
    bed: Testbed,
    nodes: readonly { readonly name: string; readonly runDir: string }[],
  ) {
    this.bed = bed;
    this.nodes = nodes.map(({ name }) => name);
    for (const { name, runDir } of nodes) this.#runDirs.set(name, runDir);
  }

  /** `weft status -o json`, from the agent's socket. */
  async status(node: string): Promise<StatusReport> {
    const client = Deno.createHttpClient({
      proxy: { transport: "unix", path: `${this.#runDirs.get(node)}/weft.sock` },
    });
    try {
      const response = await fetch("http://localhost/status", { client });
      return await response.json() as StatusReport;
    } finally {
      client.close();
    }
  }

  /** Makes a change, and waits until every agent has brought it to its kernel. */
  async change(action: () => Promise<unknown>, nodes = this.nodes): Promise<void> {
    const revisions = () =>
      Promise.all(nodes.map(async (node) => (await this.status(node)).datapath.revision));
    const before = await revisions();
    await action();
    await eventually("the change is in force", async () => {
      const now = await revisions();
      return now.every((revision, index) => revision > (before[index] ?? 0));
    });
  }

  /** Applies documents, and waits until they are in force. */
  async apply(...documents: string[]): Promise<void> {
    await this.change(() => this.bed.applyYaml(documents.join("\n---\n")));
  }

  /** Deletes what documents name, and waits until that is in force. */
  async delete(...documents: string[]): Promise<void> {
    await this.change(() => this.bed.deleteYaml(documents.join("\n---\n")));
  }

  /** Addresses of a pod: IPv4, IPv6. */
  async addresses(podName: string): Promise<readonly [string, string]> {
    const { addresses } = await this.bed.pod(podName);
    const [v4, v6] = addresses;
    assert.ok(v4 !== undefined && v6 !== undefined, `${podName} has not both families`);
    return [v4, v6];
  }

  /** Runs `dialer.ts` in a place, to its end. */
  async dial(
    place: string,
    what: string,
    host: string,
    port: number,
    more: string | number = "",
    timeoutMs = 30_000,
  ): Promise<Answer> {
    const command = dialer(what, host, port, more);
    const { stdout, stderr, code } = await this.bed.exec(place, command, { timeoutMs });
    const line = stdout.trim().split("\n").at(-1) ?? "";
    if (line === "") return { error: `status ${code}: ${stderr.trim()}` };
    return JSON.parse(line) as Answer;
  }

  /** Asks an application at each of its addresses who it takes the place for. */
  askAll(place: string, addresses: readonly string[]): Promise<Answer[]> {
    return Promise.all(
      addresses.map((address) => this.dial(place, "send", address, HABITS.who, 100)),
    );
  }

  /** Opens a connection that stays. */
  async hold(place: string, host: string, port: number = HABITS.echo): Promise<LiveConnection> {
    return await LiveConnection.open(this.bed, place, dialer("hold", host, port));
  }

  /** What `curl` says of URLs, each "000 7", with the status of HTTP and its own. */
  async curl(
    place: string,
    urls: readonly string[],
    args: readonly string[] = [],
  ): Promise<string[]> {
    const loop = "args=$1; shift; for url; do curl -g -s -m 5 -o /dev/null $args " +
      `-w '%{http_code} ' "$url"; echo $?; done`;
    const { stdout } = await this.bed.exec(place, [
      "sh",
      "-c",
      loop,
      "sh",
      args.join(" "),
      ...urls,
    ]);
    return stdout.trim().split("\n");
  }

  /** Runs weft's command line against an agent. */
  weft(node: string, ...args: string[]): Promise<ExecResult> {
    return this.bed.weft(node, args);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.bed[Symbol.asyncDispose]();
  }
}

/** The URL of an address. */
export function url(address: string, port = 80, path = "/"): string {
  return `http://${address.includes(":") ? `[${address}]` : address}:${port}${path}`;
}

/** Fails unless every answer, of a client that spoke to the habit `who`, is the application's. */
export function assertServed(answers: readonly Answer[], who = "it"): void {
  for (const { answered, text, error } of answers) {
    assert.match(answered ?? text ?? `${who} is refused: ${error}`, /^{"client":/);
  }
}

/**
 * Fails if the application answered. A relay that refuses may end the connection instead of
 * resetting it.
 */
export function assertRefused(answers: readonly Answer[], who = "it"): void {
  for (const { answered, error } of answers) {
    const what = error ?? (answered === "" ? "end" : `${who} is served: ${answered}`);
    assert.match(what, /^(ConnectionRefused|ConnectionReset|BrokenPipe|end)$/);
  }
}

/** The command line of `dialer.ts`. */
export function dialer(
  what: string,
  host: string,
  port: number,
  more: string | number = "",
): string[] {
  return [...DENO, file("./dialer.ts"), what, host, String(port), String(more)];
}

function container({ runs = "idle", ports = [80] }: PodSpec): Record<string, unknown> {
  switch (runs) {
    case "hello":
      return { name: "app", ports: ports.map((containerPort) => ({ containerPort })) };
    case "talker": {
      const listens = Object.values(HABITS).map((containerPort) => ({ containerPort }));
      return { name: "app", command: [...DENO, file("./talker.ts")], ports: listens };
    }
    case "idle":
      return { name: "app", command: ["sleep", "100000"] };
  }
}

function file(name: string): string {
  return fileURLToPath(import.meta.resolve(name));
}
