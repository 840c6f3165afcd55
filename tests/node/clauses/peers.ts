/**
 * Peers that misbehave: what they do before they are known, once they are known, and as servers.
 * Whom a certificate lets in is in `peers_identity.ts`.
 *
 * @module
 */

import type { Clause } from "./clause.ts";
import { peerIdentities } from "./peers_identity.ts";

type Row = readonly [promise: string, test: string, find: string, put: string];

/** Promises of one suite, by the file that the mutation changes. */
function rows(test: string, suite: string, file: string, list: readonly Row[]): Clause[] {
  return list.map(([promise, name, find, put]) => ({
    promise,
    test: { file: `tests/kernel/${test}`, name: [suite, name] },
    mutation: { file, find, put },
  }));
}

const AT_HANDSHAKE = [
  "peers_handshake_test.ts",
  "a client that misbehaves in its handshake",
] as const;
const IN_SESSION = ["peers_session_test.ts", "a client that misbehaves once it is known"] as const;
const AS_SERVER = ["peers_server_test.ts", "a server that misbehaves"] as const;

const SERVER_TUNNEL = "src/relay/path/server_tunnel.ts";
const CLIENT_TUNNEL = "src/relay/path/client_tunnel.ts";
const TUNNEL = "src/relay/path/tunnel.ts";
const SHOP = "src/relay/shop.ts";
const CONTEXT = "ffi/tls/context.ts";
const CONNECTION = "ffi/tls/connection.ts";
const FRAMES = "src/relay/path/frames.ts";

const HANDSHAKE_DEADLINE = "shop.deadlines.handshake.set(this, shop.loop.nowMs);";
const AGAIN = 'if (step === "again") return this.flush();';
const FAILED = '    this.#keepFaults();\n    return "failed";';
const ON_FIN = 'else if (count === 0) this.#user.onBroken("the peer closed the connection");';
const BROKEN_TLS = "if (hasBrokenTls(this.#tunnel.tls.faults)) return this.onMalformed(detail);";
const BARREN = "this.#barren > BARREN_BYTES_MAX";
const DEPTH = "const CHAIN_DEPTH_MAX = 3;";
const VERSION = "this.#control(SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_3_VERSION);";

const THOUSAND = "is ended by the deadline if 1,000 never finish, and others are served meanwhile";

/** A step that gives up where `condition` holds. */
function givesUpIf(condition: string): string {
  return `if (step === "again") return ${condition} ? this.#user.onHandshakeFailed() : this.flush();`;
}

const HANDSHAKES: readonly Clause[] = [
  ...rows(...AT_HANDSHAKE, SERVER_TUNNEL, [
    [
      "A client that stalls before its first byte is ended by a deadline.",
      "is ended by a deadline if it says nothing",
      HANDSHAKE_DEADLINE,
      "",
    ],
    [
      "A client that stalls behind its ClientHello is ended by a deadline.",
      "is ended by a deadline if it stalls behind its ClientHello",
      HANDSHAKE_DEADLINE,
      "",
    ],
    [
      "Garbage instead of a ClientHello is refused as not TLS.",
      "is refused by name if it sends garbage instead of a ClientHello",
      "if (!helloSeen || this.#tunnel.firstByte !== TLS_HANDSHAKE_RECORD) {",
      "if (false) {",
    ],
    [
      "1,000 handshakes that never finish are ended by a deadline.",
      THOUSAND,
      HANDSHAKE_DEADLINE,
      "",
    ],
  ]),
  ...rows(...AT_HANDSHAKE, SHOP, [
    [
      "One byte a second does not put the deadline of a handshake off.",
      "is ended by the same deadline if it sends one byte a second",
      "handshake: new Deadlines(10_000)",
      "handshake: new Deadlines(60_000)",
    ],
  ]),
  ...rows(...AT_HANDSHAKE, TUNNEL, [
    [
      "A client that resets is let go, and the event says so.",
      "is let go if it resets",
      "else if (count !== -Errno.EAGAIN) {",
      "else if (false) {",
    ],
    [
      "A client that half-closes in its handshake is let go.",
      "is let go if it half-closes",
      ON_FIN,
      "else if (count === 0) {}",
    ],
    [
      "A huge ClientHello that is in order is served.",
      "is served if its ClientHello is huge, but in order",
      AGAIN,
      givesUpIf("this.received > 16_384"),
    ],
    [
      "A ClientHello in segments of one byte is served.",
      "is served if its ClientHello comes in segments of one byte",
      AGAIN,
      givesUpIf("this.received > 0 && this.received < 100"),
    ],
    [
      "A ClientHello in records of one byte is served.",
      "is served if its ClientHello comes in records of one byte",
      AGAIN,
      givesUpIf("this.received > 5000"),
    ],
    [
      "1,000 handshakes that never finish take a bounded memory.",
      THOUSAND,
      "  received = 0;\n",
      "  received = 0;\n  readonly waste = new Uint8Array(1 << 18).fill(1);\n",
    ],
  ]),
  ...rows(...AT_HANDSHAKE, CONNECTION, [
    [
      "A ClientHello of 16 MiB is refused at its header.",
      "is refused at the header of a ClientHello of 16 MiB",
      FAILED,
      '    return "again";',
    ],
    [
      "A certificate message beyond 100 KiB is refused.",
      "is refused for a certificate message beyond 100 KiB",
      FAILED,
      '    return "again";',
    ],
  ]),
  ...rows(...AT_HANDSHAKE, CONTEXT, [
    [
      "A certificate chain of 100 is refused.",
      "is refused for a certificate chain of 100, without delay to others",
      DEPTH,
      "const CHAIN_DEPTH_MAX = 300;",
    ],
    [
      "No version of TLS that knows renegotiation is spoken.",
      "is refused for TLS 1.2, where it could renegotiate",
      VERSION,
      "",
    ],
  ]),
  ...rows(...AT_HANDSHAKE, "src/relay/pods.ts", [
    [
      "Others are served while 1,000 handshakes do not finish.",
      THOUSAND,
      "        this.#give(fd);",
      "        if (this.#shop.live.size > 1000) this.#shop.loop.close(fd);\n" +
      "        else this.#give(fd);",
    ],
  ]),
  ...rows(...AT_HANDSHAKE, "src/relay/path/linger.ts", [
    [
      "The descriptors of 1,000 handshakes that never finished return.",
      THOUSAND,
      "    shop.deadlines.linger.set(this, shop.loop.nowMs);\n",
      "",
    ],
  ]),
];

const SESSIONS: readonly Clause[] = [
  ...rows(...IN_SESSION, TUNNEL, [
    [
      "A client that floods with KeyUpdate is cut.",
      "is cut if it floods with KeyUpdate, and makes no memory grow",
      BARREN,
      "this.#barren > BARREN_BYTES_MAX * Infinity",
    ],
  ]),
  ...rows(...IN_SESSION, SERVER_TUNNEL, [
    [
      "A client that floods with empty records is cut.",
      "is cut if it floods with empty records",
      BROKEN_TLS,
      "",
    ],
    ["A client that renegotiates is cut.", "is cut if it renegotiates", BROKEN_TLS, ""],
    [
      "A client whose record is not what its key sealed is cut.",
      "is cut if its record is not what its key sealed",
      BROKEN_TLS,
      "",
    ],
    [
      "An OPEN without its fields cuts the client.",
      "is cut for an OPEN without its fields",
      'return this.onMalformed("OPEN without its fields");',
      "return;",
    ],
    [
      "An OPEN within a stream cuts the client.",
      "is cut for an OPEN within a stream",
      'if (this.#stream !== null) return this.onMalformed("OPEN within a stream");',
      "",
    ],
    [
      "A server's frame from a client cuts it.",
      "is cut for a frame that only servers send",
      "else this.onMalformed(`frame of type ${type} from a client`);",
      "",
    ],
    [
      "A client's half-close outside of TLS never looks like an end.",
      "cannot pass a cut off as an end: the application gets a reset",
      `${BROKEN_TLS}\n    this.#stream?.abort();`,
      "this.#stream?.endDown();",
    ],
    [
      "A client's reset reaches its application's connection.",
      "takes its own application's connection with it if it resets, and nothing else",
      `${BROKEN_TLS}\n    this.#stream?.abort();`,
      "this.#stream?.endDown();",
    ],
    [
      "A known client that stalls is ended by a deadline.",
      "is ended by a deadline if it has nothing to say",
      "this.#shop.deadlines.idleServer.set(this, this.#shop.loop.nowMs);",
      "",
    ],
    [
      "One byte now and then does not put that deadline off.",
      "is ended by the same deadline if it stalls within a frame, byte after byte",
      "if (this.#framed) this.#reader.feed(bytes, size, this);",
      "if (this.#framed) {\n      if (this.#stream === null) this.#waitForOpen();\n" +
      "      this.#reader.feed(bytes, size, this);\n    }",
    ],
  ]),
  ...rows(...IN_SESSION, FRAMES, [
    [
      "A frame of no known type cuts the client.",
      "is cut for a type that there is not",
      "&& type <= FrameType.RAW ",
      "",
    ],
    [
      "A frame beyond all bounds cuts the client.",
      "is cut for a length beyond all bounds",
      "&& length <= lengthMax",
      "",
    ],
  ]),
  ...rows(...IN_SESSION, CONTEXT, [
    [
      "0-RTT is off: no ticket allows it, and early bytes reach nobody.",
      "gets nothing for its 0-RTT: no ticket allows it, and what it sends early is dropped",
      "ssl.SSL_CTX_set_num_tickets(this.pointer, 1n);",
      'ssl.SSL_CTX_set_num_tickets(this.pointer, 1n);\n    Deno.dlopen("libssl.so.3", {\n' +
      '      SSL_CTX_set_max_early_data: { parameters: ["pointer", "u32"], result: "i32" },\n' +
      "    }).symbols.SSL_CTX_set_max_early_data(this.pointer, 16384);",
    ],
  ]),
  ...rows(...IN_SESSION, SHOP, [
    [
      "A known client that sends one byte a second is served at its pace.",
      "is served at its pace if it sends one byte a second",
      "idleServer: new Deadlines(90_000)",
      "idleServer: new Deadlines(2000)",
    ],
  ]),
];

const SERVERS: readonly Clause[] = [
  ...rows(...AS_SERVER, CLIENT_TUNNEL, [
    [
      "A server that stalls is given up by a deadline.",
      "is given up by a deadline if it says nothing",
      HANDSHAKE_DEADLINE,
      "",
    ],
    [
      "A server that resets is given up, and the event says so.",
      "is given up if it resets",
      "errno === undefined || errno === Errno.ECONNRESET ?",
      "errno === undefined ?",
    ],
    [
      "A server that is no relay is told nothing.",
      "is given up if it is no relay: nothing is said to it",
      "if (tls.protocol !== PROTOCOL) {",
      "if (false) {",
    ],
    [
      "A server that floods with empty records is cut.",
      "is cut if it floods with empty records",
      "else if (hasBrokenTls(faults))",
      "else if (false)",
    ],
    [
      "A server that asks to renegotiate is cut.",
      "is cut if it asks to renegotiate",
      "else if (hasBrokenTls(faults))",
      "else if (false)",
    ],
    [
      "A client's frame from a server cuts it.",
      "is cut if its frames break the rules",
      "this.onMalformed(`frame of type ${type} from a server`);",
      "",
    ],
    [
      "A server's half-close outside of TLS never looks like an end.",
      "cannot pass a cut off as an end: the application gets a reset",
      '    if (this.#stream === null) return this.#close("abort");\n    this.#failStream();',
      "    this.#stream?.endDown();",
    ],
    [
      "A server's reset reaches the application.",
      "takes its application's connection with it if it resets",
      '    if (this.#stream === null) return this.#close("abort");\n    this.#failStream();',
      "    this.#stream?.endDown();",
    ],
  ]),
  ...rows(...AS_SERVER, SHOP, [
    [
      "A server that sends one byte a second is given up by the same deadline.",
      "is given up by the same deadline if it sends one byte a second",
      "handshake: new Deadlines(10_000)",
      "handshake: new Deadlines(60_000)",
    ],
  ]),
  ...rows(...AS_SERVER, TUNNEL, [
    [
      "A server that half-closes in its handshake is given up.",
      "is given up if it half-closes",
      ON_FIN,
      "else if (count === 0) {}",
    ],
    [
      "A server that answers with garbage is given up.",
      "is given up if it answers with garbage, or in plain text",
      "      this.#shop.space.ring.discardInput();\n      this.#user.onHandshakeFailed();",
      "      this.#shop.space.ring.discardInput();",
    ],
    [
      "A server's flight in segments of one byte is understood.",
      "is served if its flight comes in segments of one byte",
      AGAIN,
      givesUpIf("this.received > 0 && this.received < 100"),
    ],
    [
      "A server that floods with KeyUpdate is cut.",
      "is cut if it floods with KeyUpdate",
      BARREN,
      "this.#barren > BARREN_BYTES_MAX * Infinity",
    ],
  ]),
  ...rows(...AS_SERVER, CONNECTION, [
    [
      "A server's answer of 16 MiB is refused at its header.",
      "is given up at the header of an answer of 16 MiB",
      FAILED,
      '    return "again";',
    ],
  ]),
  ...rows(...AS_SERVER, CONTEXT, [
    [
      "A server that speaks no more than TLS 1.2 is given up.",
      "is given up if it speaks no more than TLS 1.2",
      VERSION,
      "",
    ],
    [
      "A server's certificate chain of 100 is refused.",
      "is given up for a certificate chain of 100",
      DEPTH,
      "const CHAIN_DEPTH_MAX = 300;",
    ],
  ]),
];

/** What holds whatever a peer does. */
export const peers: readonly Clause[] = [
  ...HANDSHAKES,
  ...SESSIONS,
  ...SERVERS,
  ...peerIdentities,
];
