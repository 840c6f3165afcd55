/**
 * The world of the observe and cli tests: the manifests of `tests/cli/manifests` and the seed's own
 * policy as a State of node-1 or node-2, and an agent's view of it.
 *
 * @module
 */
import { compile } from "@/src/compile/mod.ts";
import { parseConfig } from "@/src/config.ts";
import { stateOfFiles } from "@/src/cli/files.ts";
import { applyChanges, type Change, emptyState, type State } from "@/src/model/mod.ts";
import type { AgentView, PodCertificateRequest } from "@/src/observe/mod.ts";
import { COUNTERS } from "@/src/relay/messages.ts";

const MANIFESTS = new URL("../../cli/manifests/", import.meta.url).pathname;
const SEED_POLICY = new URL("../../seed/policy.yaml", import.meta.url).pathname;

/** A folder with the manifests and, if wanted, the seed's policy; remove it yourself. */
export async function sourceFolder(options: { policy: boolean }): Promise<string> {
  const directory = await Deno.makeTempDir({ prefix: "weft-source." });
  const files = [...Deno.readDirSync(MANIFESTS)].map(({ name }) => `${MANIFESTS}${name}`);
  if (options.policy) files.push(SEED_POLICY);
  await Promise.all(files.map((file) => {
    const name = file.slice(file.lastIndexOf("/") + 1);
    return Deno.copyFile(file, `${directory}/${name}`);
  }));
  return directory;
}

/** The folder's objects as the agent of a node derives them, all nodes announced. */
export async function stateOf(directory: string, node = "node-1"): Promise<State> {
  const files = await stateOfFiles(directory);
  const announced = [...files.nodes.keys()].map((name): Change => ({
    type: "put",
    object: {
      kind: "WeftNode",
      namespace: "",
      name,
      uid: "",
      labels: new Map(),
      node: name,
      nodeUid: "",
      issuerFingerprint: "ab".repeat(32),
      datapathVersion: "1",
      ready: true,
    },
    origin: {},
  }));
  const config = { ...files.config, node };
  return applyChanges(emptyState(config), [...putsOf(files), ...announced, {
    type: "source",
    ready: true,
  }]);
}

/** What would make the State again. */
export function putsOf(state: State): Change[] {
  return Object.values(state.objects).flatMap((table) =>
    [...table.values()].map(({ object, origin }): Change => ({ type: "put", object, origin }))
  );
}

/** A running agent's view, of a real State; what it was asked for is in `asked`. */
export class TestAgent implements AgentView {
  readonly config;
  readonly startedMs: number = Date.now() - 60_000;
  readonly counters: number[] = new Array(80).fill(0);
  readonly asked: PodCertificateRequest[] = [];
  stopped = false;
  current: State;
  missing: string[] = [];
  failures: { pod: string; reason: string }[] = [];
  shortages: { map: string; entriesMax: number; sentence: string }[] = [];

  constructor(state: State, runDir: string) {
    this.current = state;
    this.config = parseConfig({
      source: "/etc/weft",
      node: state.config.node,
      runDir,
      stateDir: `${runDir}/state`,
      bpffs: `${runDir}/bpf`,
      cgroup: "/sys/fs/cgroup",
      trustDomain: "cluster.local",
      systemNamespace: "kube-system",
      enroll: "label",
      defaultMode: "PERMISSIVE",
      sameNode: "encrypt",
      svidTtl: "1h",
      workers: 1,
      logLevel: "info",
    });
  }

  state = () => this.current;
  plan = () => compile(this.current);
  unready = () => this.missing;
  stop = () => void (this.stopped = true);

  datapath = () => ({
    revision: 7,
    counters: this.counters,
    maps: [{ name: "addresses", entries: 5, entriesMax: 65_536 }],
    shortages: this.shortages,
    failures: this.failures,
  });

  relay = () => {
    const counters = Object.fromEntries(COUNTERS.map((name) => [name, 0]));
    const typed = counters as Record<typeof COUNTERS[number], number>;
    return { workers: [{ index: 0, running: true, revision: 7, counters: typed, failures: 0 }] };
  };

  identity = () => ({
    issuer: {
      subject: "CN=node-1",
      fingerprint: "cd".repeat(32),
      notBeforeMs: 0,
      notAfterMs: 9e12,
    },
    roots: [{ subject: "CN=root", fingerprint: "ef".repeat(32), notBeforeMs: 0, notAfterMs: 9e12 }],
    svids: [],
  });

  issuePodCertificate = (request: PodCertificateRequest) => {
    this.asked.push(request);
    return Promise.resolve({
      spiffeId: "spiffe://cluster.local/ns/default/sa/default",
      notAfterMs: 9e12,
      chainPem: "",
      keyPem: "",
      bundlePem: "",
    });
  };
}
