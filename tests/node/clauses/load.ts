/**
 * Load and leaks: many, long, short and stuck connections, and many pods.
 *
 * @module
 */
import { type Clause, testsOf } from "./clause.ts";

const SLOW = "behind 500 readers that do not read";

const relay = testsOf("tests/node/load_test.ts", "the relay under load");
const crowd = testsOf("tests/node/crowd_test.ts", "a node of 100 pods");

/** What holds under load. */
export const load: readonly Clause[] = [
  {
    promise: "200 concurrent connections all stand and are all answered",
    test: relay("holds 200 connections open at once, and answers each of them"),
    mutation: {
      file: "bpf/maps.h",
      find: "MAP_HASH(connections, struct weft_conn_key, struct weft_conn_row, 524288);",
      put: "MAP_HASH(connections, struct weft_conn_key, struct weft_conn_row, 64);",
    },
  },
  {
    promise: "1 GiB to a STRICT pod arrives with its checksum",
    test: relay("carries 1 GiB to a STRICT pod without a wrong byte"),
    mutation: {
      file: "src/relay/path/plain_socket.ts",
      find: "from += Math.max(sent, 0);",
      put: "from += 0;",
    },
  },
  {
    promise: "1 GiB from a STRICT pod arrives with its checksum",
    test: relay("carries 1 GiB from a STRICT pod without a wrong byte"),
    mutation: {
      file: "src/relay/path/plain_socket.ts",
      find: "room.set(bytes.subarray(from, end));",
      put: "room.set(bytes.subarray(start, start + end - from));",
    },
  },
  {
    promise: "of 10,000 short connections none fails",
    test: relay("serves 10,000 short connections, every one"),
    mutation: {
      file: "src/relay/path/pool.ts",
      find: "if (tunnel !== undefined) this.remove(tunnel);",
      put: "",
    },
  },
  {
    promise: "10,000 short connections leave no descriptor open",
    test: relay("keeps no descriptor and no row of 10,000 short connections through the mesh"),
    mutation: {
      file: "src/relay/path/plain_socket.ts",
      find: "    this.#watch.close();\n",
      put: "    this.#watch.mute();\n",
    },
  },
  {
    promise: "10,000 short connections leave no row in a map",
    test: relay("keeps no descriptor and no row of 10,000 short connections beside the mesh"),
    mutation: {
      file: "bpf/conntrack.h",
      find: "	if (bpf_map_delete_elem(&connections, key) == 0)\n",
      put: "	if (key->local_port == 0 && bpf_map_delete_elem(&connections, key) == 0)\n",
    },
  },
  {
    promise: "resident memory has no slope over five rounds of 10,000 connections",
    test: relay("comes to five rounds of 10,000 short connections over which it does not grow"),
    mutation: {
      file: "src/relay/path/outbound.ts",
      find: "    this.#shop.live.delete(this);\n",
      put: "",
    },
  },
  {
    promise: "500 slow readers behind fast writers need bounded memory",
    test: relay(SLOW, "needs no more memory than two backlogs and a TLS session each"),
    mutation: {
      file: "src/relay/io/workspace.ts",
      find: "this.#stock.pop() ?? new Uint8Array(BACKLOG_BYTES)",
      put: "new Uint8Array(16 * BACKLOG_BYTES).fill(1)",
    },
  },
  {
    promise: "500 slow readers keep nobody else from being served",
    test: relay(SLOW, "serves others meanwhile"),
    mutation: {
      file: "src/relay/path/plain_socket.ts",
      find: "      const sent = send(this.fd, this.#view(bytes, start), end - start);\n",
      put: "      let sent = 0;\n" +
        "      while (sent < end - start) sent += Math.max(0, send(this.fd, " +
        "bytes.subarray(start + sent, end), end - start - sent));\n",
    },
  },
  {
    promise: "what a slow reader was sent goes on when it reads",
    test: relay(SLOW, "goes on when they read"),
    mutation: {
      file: "src/relay/path/stream.ts",
      find: "    this.#tunnel.resume();\n",
      put: "",
    },
  },
  {
    promise: "100 pods of one node are all reachable",
    test: crowd("serves each of them at both of its addresses to a pod of the mesh"),
    mutation: {
      file: "src/relay/io/door.ts",
      find: "const index = (slot * 2 +",
      put: "const index = ((slot % 64) * 2 +",
    },
  },
  {
    promise: "100 pods of one node are all guarded",
    test: crowd("guards each of them against plaintext from outside"),
    mutation: {
      file: "src/load/pod_set.ts",
      find: "        attachPod(pod, this.#hooks);\n",
      put: "        if (pod.slot <= 64) attachPod(pod, this.#hooks);\n",
    },
  },
];
