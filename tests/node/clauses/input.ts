/**
 * Input that nobody means well with: documents, requests, bytes and packets, by seeded fuzzers.
 *
 * @module
 */
import { type Clause, testsOf } from "./clause.ts";

const unit = testsOf("tests/unit/fuzz_test.ts");

const YAML = unit(
  "the directory source",
  "reads or rejects every damaged document, with its place and cause",
);
const CLI = unit(
  "the agent's socket",
  "answers the next good request after any bad one, and names the cause of a bad one",
);
const TLS: Clause["test"] = {
  file: "tests/kernel/relay_fuzz_test.ts",
  name: [
    "the relay, sent damaged bytes",
    "refuses or cuts, keeps nothing, and serves the next good connection",
  ],
};

const PACKETS: Clause["test"] = {
  file: "tests/kernel/fuzz_packets_test.ts",
  name: ["the guard, sent odd packets", "judges each soundly, and counts what it drops"],
};

/** What holds for every input. */
export const input: readonly Clause[] = [
  {
    promise: "a seed makes the same cases again, each without those before it",
    test: unit("a fuzzer", "makes the same cases of the same seed, each without those before it"),
    mutation: {
      file: "tests/fuzz/random.ts",
      find: "await body(new Random(seed, index), index);",
      put: "await body(new Random(seed, Date.now() + index), index);",
    },
  },
  {
    promise: "no document crashes the directory source",
    test: YAML,
    mutation: {
      file: "src/watch/directory/document.ts",
      find: 'return brokenFile("is not UTF-8 text");',
      put: 'throw new TypeError("is not UTF-8 text");',
    },
  },
  {
    promise: "documents are read in bounded time and memory",
    test: YAML,
    mutation: {
      file: "src/watch/directory/document.ts",
      find: "document.toJS({ maxAliasCount: YAML_ALIASES_MAX })",
      put: "document.toJS({ maxAliasCount: -1 })",
    },
  },
  {
    promise: "a rejected document is named with file, line and reason",
    test: YAML,
    mutation: {
      file: "src/watch/directory/record.ts",
      find: "      line: document.lineOf(path),\n",
      put: "",
    },
  },
  {
    promise: "no request breaks the agent's socket",
    test: CLI,
    mutation: {
      file: "src/observe/server.ts",
      find:
        'if (url === null) return failure(400, `Host and path make no URL: "${request.url}"`, "usage");',
      put: "if (url === null) throw new TypeError();",
    },
  },
  {
    promise: "requests are served in bounded memory",
    test: CLI,
    mutation: {
      file: "src/observe/server.ts",
      find: "if (!(length <= BODY_BYTES_MAX)) {",
      put: "if (!(length > 0)) {",
    },
  },
  {
    promise: "a request that is refused learns why",
    test: CLI,
    mutation: {
      file: "src/observe/server.ts",
      find: "return failure(404, `No such request: ${request.method} ${url.pathname}`);",
      put: 'return failure(404, "");',
    },
  },
  {
    promise: "no bytes make the relay throw",
    test: TLS,
    mutation: {
      file: "src/relay/path/frames.ts",
      find:
        "if (type >= FrameType.OPEN && type <= FrameType.RAW && length <= lengthMax) return true;",
      put: "if (type >= FrameType.OPEN && type <= FrameType.RAW) return true;",
    },
  },
  {
    promise: "a peer that breaks the rules within a record keeps no connection to the application",
    test: TLS,
    mutation: {
      file: "src/relay/path/server_tunnel.ts",
      find: "    if (this.#tunnel.closed) return; // by a frame before it in the same record\n",
      put: "",
    },
  },
  {
    promise: "TLS bytes are read in bounded memory",
    test: TLS,
    mutation: {
      file: "ffi/tls/connection.ts",
      find: "    SSL.SSL_free(this.#ssl);\n",
      put: "",
    },
  },
  {
    promise: "a refused handshake names its cause",
    test: TLS,
    mutation: {
      file: "src/relay/path/server_tunnel.ts",
      find: 'this.#refuse("handshake-failed", describeFaults(faults));',
      put: 'this.#refuse("handshake-failed");',
    },
  },
  {
    promise: "no packet passes the guard to a STRICT pod that no relay has",
    test: PACKETS,
    mutation: {
      file: "bpf/to_pod.h",
      find: "	if (parsed == PARSED_FRAGMENT && strict)",
      put: "	if (0)",
    },
  },
  {
    promise: "a packet that the guard drops is counted once, under its cause",
    test: PACKETS,
    mutation: {
      file: "bpf/judge.h",
      find: "#define SHOT 2 ",
      put: "#define SHOT PASS ",
    },
  },
];
