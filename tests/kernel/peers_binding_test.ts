/**
 * The issuer binding, each rule broken in turn in a real handshake: a certificate counts only if
 * the node that issued it is the node of the peer's address, and only for the pod there. Whose an
 * address is comes from objects, through the product's own model and compiler.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { after, before, beforeEach, describe, it } from "node:test";
import { compile } from "@/src/compile/mod.ts";
import type { ModelObject } from "@/src/model/mod.ts";
import { relaySnapshot } from "@/src/snapshot.ts";
import { node, pod, policy, weftNode, worldOf } from "@/tests/unit/model/world.ts";
import type { TestIdentity } from "@/tests/unit/relay/certificates.ts";
import { nodeIssuerName, oddIssuer, oddLeaf } from "./peers_certificates.ts";
import { CLIENT_ID, endOf, SERVER_ID, soon, Stage, untilCount } from "./peers_stage.ts";
import { TlsPeer } from "./peers_tls.ts";
import { CLIENT_ADDRESS, SERVER_ADDRESS } from "./relay_rig.ts";

const EXTERNAL_ID = "spiffe://cluster.local/external/x";
const OTHER_ID = "spiffe://cluster.local/ns/a/sa/other";
const ENROLLED = { "mesh.cilium.io/enrolled": "true" };
/** Of nobody in the rig, so that an object can have it. */
const ELSEWHERE = "10.77.1.99";

const N1 = node({ name: "n1", uid: "uid-n1", podCidrs: ["10.77.1.0/24"] });
const N2 = node({ name: "n2", uid: "uid-n2", podCidrs: ["10.77.2.0/24"] });
const client = pod({
  namespace: "a",
  name: "client",
  node: "n1",
  serviceAccount: "client",
  addresses: [CLIENT_ADDRESS],
  labels: ENROLLED,
});
const server = pod({
  namespace: "b",
  name: "server",
  node: "n2",
  serviceAccount: "server",
  addresses: [SERVER_ADDRESS],
  labels: ENROLLED,
});
const AROUND: readonly ModelObject[] = [
  N2,
  weftNode({ name: "n1" }),
  weftNode({ name: "n2" }),
  policy({ namespace: "b" }),
  policy({ namespace: "a" }),
];
const WORLD: readonly ModelObject[] = [N1, client, server, ...AROUND];

describe("an identity that is bound to its address", () => {
  let stage: Stage;
  before(async () => {
    stage = await Stage.open();
    await believe(WORLD);
  });
  beforeEach(() => stage.hush());
  after(() => stage[Symbol.asyncDispose]());

  /** Both relays learn what the product's model makes of these objects. */
  async function believe(objects: readonly ModelObject[]): Promise<void> {
    const state = worldOf(objects, { node: "n2" });
    const { trustDomain, bundlePem } = stage.rig.snapshot;
    const { peers, cidrs } = relaySnapshot({
      revision: 0,
      state,
      plan: compile(state),
      pods: [],
      trustDomain,
      bundlePem,
      svidOf: () => undefined,
    });
    await stage.rig.update({ peers, cidrs });
  }

  /** Runs a test in a world of its own, and goes back to the usual one. */
  async function within(objects: readonly ModelObject[], test: () => Promise<void>): Promise<void> {
    await believe(objects);
    stage.hush();
    try {
      await test();
    } finally {
      await believe(WORLD);
    }
  }

  /** The server's relay answers the application's bytes to who shows this. */
  async function assertAccepted(identity: TestIdentity): Promise<void> {
    using peer = stage.peer({ identity, protocols: [] });
    await soon(peer.handshake(), "handshake");
    peer.write("good");
    const ended = peer.outcome.then(({ alert, end }) => `${end}, alert ${alert}`);
    assert.equal(await soon(Promise.race([peer.received(4), ended]), "answer"), "good");
  }

  async function assertRefused(
    identity: TestIdentity,
    reason: string,
    alert: number | undefined,
  ): Promise<void> {
    using peer = stage.peer({ identity, protocols: [] });
    peer.handshake().catch(() => {});
    const outcome = await soon(peer.outcome, "end of the client's connection");
    assert.equal(outcome.alert, alert, outcome.detail);
    await stage.objection(reason);
    assert.deepEqual(stage.strayBytes, []);
  }

  /** The client's relay dials a server that shows this; its application must get nothing. */
  async function assertServerRefused(
    identity: TestIdentity,
    reason: string,
    alert: number,
  ): Promise<void> {
    const { app, rogue } = await dialRogue(identity);
    const [seen, ended] = await Promise.all([soon(rogue.outcome, "end"), endOf(app)]);
    assert.equal(seen.alert, alert, seen.detail);
    assert.equal(seen.text, "", "nothing of the application was sent");
    assert.equal(ended, "ECONNRESET");
    await stage.objectionToServer(reason);
    rogue[Symbol.dispose]();
  }

  /** An application of the client pod says a secret; the server that gets its dial is ours. */
  async function dialRogue(
    identity: TestIdentity,
    ticketKey?: Uint8Array<ArrayBuffer>,
  ): Promise<{ app: Socket; rogue: TlsPeer }> {
    const { app, socket } = await stage.dialRogue();
    const options = { side: "server", identity, protocols: ["weft/1"] } as const;
    return { app, rogue: new TlsPeer(socket, { ...options, ...(ticketKey && { ticketKey }) }) };
  }

  const issuers = () => stage.rig.identities.issuers;

  it("is accepted from its pod's address, issued by that address's node", async () => {
    await assertAccepted(await oddLeaf([issuers().n1], CLIENT_ID));
  });

  it("is refused if another node has issued it, on both sides", async () => {
    await assertRefused(await oddLeaf([issuers().n2], CLIENT_ID), "wrong-node", 46);
    await assertServerRefused(await oddLeaf([issuers().n1], SERVER_ID), "wrong-node", 46);
  });

  it("is refused if the root itself has issued it", async () => {
    await assertRefused(await oddLeaf([issuers().root], CLIENT_ID), "wrong-node", 46);
    await assertServerRefused(await oddLeaf([issuers().root], SERVER_ID), "wrong-node", 46);
  });

  it("is refused if a node of that name, but not this Node object, has issued it", async () => {
    await within([{ ...N1, uid: "uid-of-its-successor" }, client, server, ...AROUND], async () => {
      await assertRefused(await oddLeaf([issuers().n1], CLIENT_ID), "wrong-node", 46);
    });
  });

  it("is refused if it names another pod of the right node, on both sides", async () => {
    await assertRefused(await oddLeaf([issuers().n1], OTHER_ID), "wrong-identity", 46);
    const other = "spiffe://cluster.local/ns/b/sa/other";
    await assertServerRefused(await oddLeaf([issuers().n2], other), "wrong-identity", 46);
  });

  it("is refused from another pod's address", async () => {
    const moved = { ...client, addresses: [ELSEWHERE] };
    const there = pod({ ...client, name: "there", serviceAccount: "there", labels: ENROLLED });
    await within([N1, moved, there, server, ...AROUND], async () => {
      await assertRefused(await oddLeaf([issuers().n1], CLIENT_ID), "wrong-identity", 46);
    });
  });

  it("is refused from a pod's address where nobody is known", async () => {
    await within([N1, { ...client, addresses: [ELSEWHERE] }, server, ...AROUND], async () => {
      await assertRefused(await oddLeaf([issuers().n1], CLIENT_ID), "unknown-identity", undefined);
    });
  });

  it("is refused if the address lies in no pod CIDR of the pod's node", async () => {
    const narrow = node({ name: "n1", uid: "uid-n1", podCidrs: ["10.99.0.0/24"] });
    await within([narrow, client, server, ...AROUND], async () => {
      await assertRefused(await oddLeaf([issuers().n1], CLIENT_ID), "address-conflict", undefined);
    });
  });

  it("is refused while two live pods list the address", async () => {
    const twin = pod({ ...client, name: "twin", labels: ENROLLED });
    await within([N1, client, twin, server, ...AROUND], async () => {
      await assertRefused(await oddLeaf([issuers().n1], CLIENT_ID), "address-conflict", undefined);
    });
  });

  it("is refused from a disputed address also where a port is PERMISSIVE", async () => {
    const twin = pod({ ...client, name: "twin", labels: ENROLLED });
    const loose = [N2, weftNode({ name: "n1" }), weftNode({ name: "n2" })];
    await within([N1, client, twin, server, ...loose], async () => {
      using peer = stage.peer({ identity: await oddLeaf([issuers().n1], CLIENT_ID) });
      peer.handshake().catch(() => {});
      const { alert } = await soon(peer.outcome, "end of the client's connection");
      assert.equal(alert, 40);
      await stage.objection("address-conflict");
      assert.deepEqual(stage.strayBytes, []);
    });
  });

  it("is refused from a pod's address if it is an external one, on both sides", async () => {
    const { external } = issuers();
    await assertRefused(await oddLeaf([external], EXTERNAL_ID), "wrong-node", 46);
    await assertRefused(await oddLeaf([external], CLIENT_ID), "wrong-node", 46);
    await assertServerRefused(await oddLeaf([external], EXTERNAL_ID), "wrong-node", 46);
  });

  it("is refused if it is an external one that a node has issued", async () => {
    await assertRefused(await oddLeaf([issuers().n1], EXTERNAL_ID), "wrong-identity", 46);
  });

  /** The client's address is of no pod and no node. */
  const OUTSIDE = [
    node({ name: "n1", uid: "uid-n1", podCidrs: ["10.99.0.0/24"] }),
    { ...client, addresses: ["10.99.0.2"] },
    server,
    ...AROUND,
  ];

  it("is accepted from outside if it is an external one", async () => {
    await within(OUTSIDE, async () => {
      await assertAccepted(await oddLeaf([issuers().external], EXTERNAL_ID));
    });
  });

  it("is refused from outside if a node has issued it", async () => {
    await within(OUTSIDE, async () => {
      await assertRefused(await oddLeaf([issuers().n1], CLIENT_ID), "wrong-node", 46);
      await assertRefused(await oddLeaf([issuers().n1], EXTERNAL_ID), "wrong-node", 46);
    });
  });

  it("is refused from outside if the external issuer names a pod", async () => {
    await within(OUTSIDE, async () => {
      await assertRefused(await oddLeaf([issuers().external], CLIENT_ID), "wrong-identity", 46);
    });
  });

  /** The client's address is its node's own: its pods come from there behind SNAT. */
  const BEHIND_SNAT = [
    { ...N1, addresses: [CLIENT_ADDRESS] },
    { ...client, addresses: [ELSEWHERE] },
    server,
    ...AROUND,
  ];

  it("is accepted from its node's own address", async () => {
    await within(BEHIND_SNAT, async () => {
      await assertAccepted(await oddLeaf([issuers().n1], CLIENT_ID));
    });
  });

  it("is refused from a node's address if another node has issued it, or no node", async () => {
    await within(BEHIND_SNAT, async () => {
      await assertRefused(await oddLeaf([issuers().n2], CLIENT_ID), "wrong-node", 46);
      await assertRefused(await oddLeaf([issuers().external], EXTERNAL_ID), "wrong-node", 46);
    });
  });

  it("is refused from a node's address if no pod there has the ServiceAccount", async () => {
    await within(BEHIND_SNAT, async () => {
      await assertRefused(await oddLeaf([issuers().n1], OTHER_ID), "wrong-identity", 46);
      await assertRefused(await oddLeaf([issuers().n1], SERVER_ID), "wrong-identity", 46);
    });
  });

  it("is refused below an issuer that a node's issuer has made, on both sides", async () => {
    const { n1, n2 } = issuers();
    const forgedN1 = await oddIssuer(n2, nodeIssuerName("n1"));
    const forgedN2 = await oddIssuer(n1, nodeIssuerName("n2"));
    await assertRefused(await oddLeaf([forgedN1, n2], CLIENT_ID), "certificate-untrusted", 48);
    const shown = await oddLeaf([forgedN2, n1], SERVER_ID);
    await assertServerRefused(shown, "certificate-untrusted", 48);
  });

  it("is refused below an issuer that has expired, on both sides", async () => {
    const { root } = issuers();
    const old = { notAfterMs: Date.now() - 60_000 };
    const [n1, n2] = [
      await oddIssuer(root, nodeIssuerName("n1"), old),
      await oddIssuer(root, nodeIssuerName("n2"), old),
    ];
    await assertRefused(await oddLeaf([n1], CLIENT_ID), "certificate-expired", 45);
    await assertServerRefused(await oddLeaf([n2], SERVER_ID), "certificate-expired", 45);
  });

  describe("and a session that is resumed", () => {
    /** Opens a session, changes the world, resumes, and expects an end without any byte. */
    async function assertResumptionRefused(
      objects: readonly ModelObject[],
      reason: string,
    ): Promise<void> {
      using first = stage.peer({ protocols: [] });
      await soon(first.handshake(), "handshake");
      first.write("good");
      await soon(first.received(4), "answer");
      const { pointer } = first.session();
      first.socket.end();
      await soon(first.outcome, "end of the first connection");
      await within(objects, async () => {
        using next = stage.peer({ protocols: [], session: pointer });
        await soon(next.handshake(), "handshake");
        assert.equal(next.resumed, true);
        next.write("stolen");
        const { text } = await soon(next.outcome, "end of the resumed connection");
        assert.equal(text, "");
        await stage.objection(reason);
      });
      assert.deepEqual(stage.strayBytes, []);
    }

    it("is refused once the pod at the address is another", async () => {
      const other = { ...client, serviceAccount: "other" };
      await assertResumptionRefused([N1, other, server, ...AROUND], "wrong-identity");
    });

    it("is refused once the address lives on another node", async () => {
      const wide = node({ name: "n3", uid: "uid-n3", podCidrs: ["10.77.1.0/24"] });
      const moved = { ...client, node: "n3" };
      await assertResumptionRefused([wide, moved, server, ...AROUND], "wrong-node");
    });

    it("is refused once the address is a node's and the ServiceAccount has no pod there", async () => {
      const bare = { ...N1, addresses: [CLIENT_ADDRESS] };
      await assertResumptionRefused([bare, server, ...AROUND], "wrong-identity");
    });

    it("is refused once the certificate has expired", async () => {
      const wallMs = 2 * 3_600_000;
      using first = stage.peer({ protocols: [] });
      await soon(first.handshake(), "handshake");
      first.write("good");
      await soon(first.received(4), "answer");
      await stage.rig.server.passTime({ wallMs });
      try {
        using next = stage.peer({ protocols: [], session: first.session().pointer });
        await soon(next.handshake(), "handshake");
        assert.equal(next.resumed, true);
        next.write("stolen");
        assert.equal((await soon(next.outcome, "end of the resumed connection")).text, "");
        await stage.objection("certificate-expired");
      } finally {
        await stage.rig.server.passTime({ wallMs: -wallMs });
      }
      assert.deepEqual(stage.strayBytes, []);
    });

    it("is not offered to a server at whose address another pod is now", async () => {
      const ticketKey = crypto.getRandomValues(new Uint8Array(80));
      for (const isResumed of [false, true]) {
        // deno-lint-ignore no-await-in-loop -- a test does one thing after the other
        const { app, rogue } = await dialRogue(stage.rig.identities.server, ticketKey);
        // deno-lint-ignore no-await-in-loop
        assert.match(await soon(rogue.received(OPEN_BYTES + 6), "stream"), /secret$/);
        assert.equal(rogue.resumed, isResumed);
        rogue.write(OPENED); // behind it the client looks for its ticket
        app.resetAndDestroy();
        // deno-lint-ignore no-await-in-loop
        await soon(rogue.received(OPEN_BYTES + 6 + 5), "reset of the stream");
        rogue.end(); // without close_notify OpenSSL would throw the session away
        // deno-lint-ignore no-await-in-loop
        await soon(rogue.outcome, "end of the tunnel");
        rogue[Symbol.dispose]();
        // deno-lint-ignore no-await-in-loop
        await untilCount(stage.rig.client, "tunnels_open", 0);
      }
      await within([N1, client, { ...server, serviceAccount: "other" }, ...AROUND], async () => {
        const { app, rogue } = await dialRogue(stage.rig.identities.server, ticketKey);
        const [seen] = await Promise.all([soon(rogue.outcome, "end"), endOf(app)]);
        assert.equal(rogue.resumed, false);
        assert.equal(seen.text, "");
        assert.equal(seen.alert, 46);
        await stage.objectionToServer("wrong-identity");
        rogue[Symbol.dispose]();
      });
    });
  });
});

/** OPEN with its fields, and the header of the DATA behind it. */
const OPEN_BYTES = 15 + 5;
const OPENED = Uint8Array.of(2, 0, 0, 0, 0);
