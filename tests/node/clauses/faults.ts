/**
 * Faults: what holds when the agent is mistreated, and when what it stands on gives way.
 *
 * @module
 */
import { type Clause, type Mutation, testsOf } from "./clause.ts";
import { fileFaults } from "./faults_files.ts";

const DIRECTORY = "src/watch/directory/directory.ts";
const AUTHORITY = "src/identity/authority.ts";

const life = testsOf(
  "tests/node/faults_life_test.ts",
  "an agent that is mistreated fifty times under load",
);
const around = testsOf("tests/node/faults_agent_test.ts", "an agent around which things fail");
const stopped = testsOf("tests/node/faults_stopped_test.ts", "an agent that is stopped for long");
const silent = testsOf(
  "tests/kernel/datapath_silence_test.ts",
  "relay workers of which one tells nothing of itself",
);
const uninstalled = testsOf(
  "tests/node/faults_uninstall_test.ts",
  "uninstall leaves nothing behind",
);
const clocks = testsOf("tests/node/faults_time_test.ts", "the clock of an agent");

function clock(how: string): Clause["test"] {
  return clocks(`${how}: what can be kept is kept, certificates hold, nothing opens`);
}

/** Takes every packet for one that no process of the node has sent. */
const NODE_IS_NOBODY: Mutation = {
  file: "bpf/judge.h",
  find: "	if (!skb->sk || skb->ingress_ifindex)\n		return 0;",
  put: "	if (1)\n		return 0;",
};

/** Takes a worker for alive whenever it told of itself last. */
const SILENT_OR_NOT: Mutation = {
  file: "bpf/relay.h",
  find: "	return beat && bpf_ktime_get_ns() - beat < (__u64)conf->silence_ms * 1000000;",
  put: "	return beat != conf->silence_ms;",
};

/** Hands a connection to the relay whether somebody listens or not. */
const LISTENING_OR_NOT: Mutation = {
  file: "bpf/judge.h",
  find: "		return WEFT_REASON_NOT_LISTENING;",
  put: "		return 0;",
};

const underLoad: readonly Clause[] = [
  {
    promise: "Killed, stopped or restarted under load, no connection attempt is left hanging",
    test: life("leaves no connection attempt without an outcome"),
    mutation: {
      file: "bpf/lookup.bpf.c",
      find: "		return drop(WEFT_REASON_AGENT_DOWN);\n	row->state",
      put: "		return SK_PASS;\n	row->state",
    },
  },
  {
    promise: "A client that uses its port again is refused, not left waiting, without an agent",
    test: around("refuses a client that uses its port again while no agent is there"),
    mutation: {
      file: "bpf/from_pod.h",
      find: "	if (is_bare_ack(p) && is_undecided(row))",
      put: "	if (0)",
    },
  },
  {
    promise: "Between its deaths the agent serves all 200 connections again",
    test: life("serves the mesh between its deaths"),
    mutation: {
      file: "src/relay/pods.ts",
      find: "    for (const listener of this.#listeners) listener.offer(slot);",
      put: "",
    },
  },
  {
    promise: "No packet of the mesh is in plaintext, whatever happens to the agent",
    test: life("lets nothing of the mesh be read on a wire"),
    mutation: {
      file: "src/compile/decide.ts",
      find: '({ verdict: "relay", fallback: "refuse", reason })',
      put: '({ verdict: "relay", fallback: "direct", reason })',
    },
  },
  {
    promise: "No verdict changes: who was refused is refused while the agent is dead or stopped",
    test: life("never serves who was refused before"),
    mutation: {
      file: "bpf/lookup.bpf.c",
      find: "	if (!(row->flags & WEFT_CONN_FALLBACK))",
      put: "	if (0)",
    },
  },
  {
    promise: "The host's own connections, old and new, are untouched throughout",
    test: life("does not touch the host's own connections, and serves its new ones"),
    mutation: NODE_IS_NOBODY,
  },
];

const silence: readonly Clause[] = [
  {
    promise: "Stopped for longer than some seconds, the agent refuses new connections: agent-down",
    test: stopped("makes the kernel refuse what would wait for it, as agent-down"),
    mutation: SILENT_OR_NOT,
  },
  {
    promise: "A stopped agent that goes on serves again, and keeps the connections that it had",
    test: stopped("serves again when it goes on, and so do the connections that it had"),
    mutation: {
      file: "src/relay/worker_relay.ts",
      find: "      door.beat(worker);",
      put: "",
    },
  },
  {
    promise: "`weft status` says that the agent is stopped, which process it is, and what to do",
    test: stopped("is named by `weft status`, with its process and what to do"),
    mutation: {
      file: "src/cli/client.ts",
      find: "await unanswered(this.#path)",
      put: "unreachable(this.#path, error)",
    },
  },
  {
    promise: "While a worker is stuck, the others get what would have waited for it",
    test: silent("for what a pod opens", "the other is chosen while worker 0 is silent"),
    mutation: {
      file: "bpf/relay.h",
      find: "			continue;",
      put: "			return NULL;",
    },
  },
  {
    promise: "With all workers stuck, what comes to a STRICT pod is refused: agent-down",
    test: silent(
      "for what comes to a pod",
      "nobody is when both are silent: refused at once, agent-down",
    ),
    mutation: SILENT_OR_NOT,
  },
  {
    promise: "With all workers stuck, PERMISSIVE is reached in plaintext, as without an agent",
    test: silent(
      "lets PERMISSIVE be reached in plaintext when both are silent, as without an agent",
    ),
    mutation: SILENT_OR_NOT,
  },
  {
    promise: "A new worker is there at once, whatever one that was killed has left",
    test: silent(
      "for what a pod opens",
      "one that offers its listeners is there at once, whatever was left of another",
    ),
    mutation: {
      file: "src/relay/io/door.ts",
      find: "    this.beat(worker); // first:",
      put: "    //",
    },
  },
  {
    promise: "All workers get a share of what comes in, whatever ports the clients choose",
    test: silent(
      "for what comes to a pod",
      "both are chosen while both live, also when a few signs of life are late",
    ),
    mutation: {
      file: "bpf/lookup.bpf.c",
      find: "	return (conn->remote.word[3] ^ conn->remote_port) * 2654435761u >> 16;",
      put: "	return bpf_ntohs(conn->remote_port);",
    },
  },
];

const resources: readonly Clause[] = [
  {
    promise: "Out of descriptors, the agent refuses new connections at once, and recovers",
    test: around("out of descriptors refuses at once, says so, does not spin, and recovers"),
    mutation: {
      file: "src/relay/pods.ts",
      find: "    const spare = spareDescriptor();",
      put: "    const spare = Infinity;",
    },
  },
  {
    promise: "Out of descriptors, `weft status` says so",
    test: around("out of descriptors refuses at once, says so, does not spin, and recovers"),
    mutation: {
      file: "src/observe/report.ts",
      find: "  if (short !== undefined) problems.push(short);",
      put: "",
    },
  },
  {
    promise: "With a full disk the agent goes on enforcing and issuing, and recovers",
    test: around("with a full disk enforces and issues, says so, and recovers"),
    mutation: {
      file: "src/watch/directory/last_good.ts",
      find: "      if (problem === this.#unwritable) return;",
      put: "      throw error;",
    },
  },
  {
    promise: "With a full disk, `weft status` says so",
    test: around("with a full disk enforces and issues, says so, and recovers"),
    mutation: {
      file: DIRECTORY,
      find: "    this.#problem ??= this.#lastGood.problem;",
      put: "",
    },
  },
];

const time: readonly Clause[] = [
  {
    promise: "A clock two hours ahead: certificates are made anew at once, nothing opens",
    test: clock("jumps two hours ahead"),
    mutation: {
      file: AUTHORITY,
      find: "const DELAY_MS_MAX = 1000;",
      put: "const DELAY_MS_MAX = 30_000;",
    },
  },
  {
    promise: "A clock two hours back: certificates that do not hold yet are made anew",
    test: clock("jumps two hours back"),
    mutation: {
      file: "src/identity/svid_cache.ts",
      find: "    return svid !== undefined && nowMs < svid.notBeforeMs && !(nowMs < retryMs);",
      put: "    return svid !== undefined && retryMs === Infinity;",
    },
  },
  {
    promise: "A clock two hours back: a root of just now holds",
    test: {
      file: "tests/unit/identity/faults_test.ts",
      name: [
        "a clock that jumps",
        "two hours back: what does not hold yet is made anew, from a root of just now",
      ],
    },
    mutation: {
      file: "src/identity/lifetimes.ts",
      find: "export const SIGNER_BACKDATE_MS = DAY_MS;",
      put: "export const SIGNER_BACKDATE_MS = BACKDATE_MS;",
    },
  },
  {
    promise: "A clock that jumps loses no connection that can be kept",
    test: clock("jumps two hours ahead"),
    mutation: {
      file: "src/relay/path/server_tunnel.ts",
      find: "this.#judge.recheck(svid, { nowMs: svid.notBeforeMs }); // outlives its certificate",
      put: "this.#judge.recheck(svid);",
    },
  },
  {
    promise: "Certificates of 20 seconds are renewed in time under a minute of traffic",
    test: around("renews certificates of 20 seconds in time: no connection is lost or refused"),
    mutation: {
      file: "src/identity/lifetimes.ts",
      find: "(0.5 + JITTER * (random - 0.5))",
      put: "(2 + JITTER * (random - 0.5))",
    },
  },
];

const probes: readonly Clause[] = [
  ...["off", "on"].map((how): Clause => ({
    promise: `The node's probes are served with bridge netfilter ${how}`,
    test: around("the node's probes", `are served with bridge netfilter ${how}`),
    mutation: NODE_IS_NOBODY,
  })),
  {
    promise: "A port on which nobody listens is refused, not accepted and reset",
    test: around(
      "a port on which nobody listens",
      "is refused, not accepted and reset, to outside",
    ),
    mutation: LISTENING_OR_NOT,
  },
];

const uninstall: readonly Clause[] = [
  {
    promise: "Uninstall leaves nothing behind after SIGKILL",
    test: uninstalled("after the agent was killed"),
    mutation: {
      file: "src/load/pins.ts",
      find: '    for (const directory of ["maps", "maps-next", "maps-old"]) {',
      put: '    for (const directory of ["maps-next", "maps-old"]) {',
    },
  },
  {
    promise: "Uninstall ends an agent that is stopped, and leaves nothing behind",
    test: uninstalled("while the agent is stopped"),
    mutation: {
      file: "src/cli/uninstall.ts",
      find: '    if (error.how === "broken") await endHolder(runDirectory);',
      put: "",
    },
  },
  {
    promise: "Uninstall leaves nothing behind while the source is gone",
    test: uninstalled("while the source is gone"),
    mutation: {
      file: "src/cli/uninstall.ts",
      find: '"weft.sock", "agent.json", "agent.json.next", "lock"]',
      put: '"weft.sock", "lock"]',
    },
  },
  {
    promise: "Uninstall leaves nothing behind while the state is broken",
    test: uninstalled("while the state is broken"),
    mutation: {
      file: "src/cli/uninstall.ts",
      find: 'const STATE_NAMES = ["issuer.crt", "issuer.key", "bundle.pem"];',
      put: 'const STATE_NAMES = ["issuer.crt", "issuer.key"];',
    },
  },
  {
    promise: "Uninstall leaves nothing behind after a start that was ended at any time",
    test: uninstalled("after a start that was ended at any time"),
    mutation: {
      file: "src/load/pins.ts",
      find: '    for (const directory of ["maps", "maps-next", "maps-old"]) {',
      put: '    for (const directory of ["maps-next", "maps-old"]) {',
    },
  },
];

/** What holds under faults. */
export const faults: readonly Clause[] = [
  ...underLoad,
  ...silence,
  ...resources,
  ...time,
  ...fileFaults,
  ...probes,
  ...uninstall,
];
