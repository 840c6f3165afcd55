/**
 * Who may speak to a pod in which mode: every client, by both families, at once and in one table.
 *
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { HABITS } from "./support/habits.ts";
import {
  type Answer,
  assertRefused,
  assertServed,
  ENROLLED,
  Mesh,
  pod,
  policy,
} from "./support/mesh.ts";

const CLIENTS = {
  "an enrolled pod of another node": "default/enrolled-far",
  "an enrolled pod of the same node": "default/enrolled-near",
  "a plain pod of another node": "default/plain-far",
  "a plain pod of the same node": "default/plain-near",
  "the pod's own node": "node-1",
  "another node": "node-2",
  "a host outside": "outside",
} as const;

type Client = keyof typeof CLIENTS;

/** Whom STRICT serves. */
const STRICT_SERVES: ReadonlySet<Client> = new Set<Client>([
  "an enrolled pod of another node",
  "an enrolled pod of the same node",
  "the pod's own node",
]);

/** Who learns at `connect()` that STRICT refuses it. */
const REFUSED_IN_KERNEL = ["a plain pod of another node", "a plain pod of the same node"] as const;

describe("a mode", { timeout: 120_000 }, () => {
  let mesh: Mesh;

  before(async () => {
    mesh = await Mesh.up({
      nodes: 2,
      documents: [
        ...["strict", "permissive", "disable"].map((name) =>
          pod({ name, runs: "talker", node: "node-1" })
        ),
        pod({ name: "enrolled-near", labels: ENROLLED, node: "node-1" }),
        pod({ name: "enrolled-far", labels: ENROLLED, node: "node-2" }),
        pod({ name: "plain-near", node: "node-1" }),
        pod({ name: "plain-far", node: "node-2" }),
        policy("strict", "STRICT", { ports: { [HABITS.plain]: "DISABLE" } }),
        policy("permissive", "PERMISSIVE", { ports: { [HABITS.plain]: "STRICT" } }),
        policy("disable", "DISABLE"),
      ],
    });
  });

  after(() => mesh[Symbol.asyncDispose]());

  const listen = async (client: Client, name: string): Promise<Answer[]> => {
    const addresses = await mesh.addresses(`default/${name}`);
    return await Promise.all(
      addresses.map((address) => mesh.dial(CLIENTS[client], "read", address, HABITS.who)),
    );
  };
  // Who says nothing may wait ten seconds until the relay gives it up; who speaks is told at once.
  const ask = async (client: Client, name: string, port: number): Promise<Answer[]> => {
    const addresses = await mesh.addresses(`default/${name}`);
    return await Promise.all(
      addresses.map((address) => mesh.dial(CLIENTS[client], "send", address, port, 100)),
    );
  };

  for (const client of Object.keys(CLIENTS) as Client[]) {
    const allowed = STRICT_SERVES.has(client);

    it(`STRICT ${allowed ? "serves" : "refuses"} ${client}`, async () => {
      judge(await ask(client, "strict", HABITS.who), allowed);
    });

    it(`PERMISSIVE serves ${client}`, async () => {
      judge(await ask(client, "permissive", HABITS.who), true);
    });

    it(`DISABLE serves ${client}`, async () => {
      judge(await ask(client, "disable", HABITS.who), true);
    });

    it(`an override of a port opens it in a STRICT pod for ${client}`, async () => {
      judge(await ask(client, "strict", HABITS.plain), true);
    });

    it(`an override of a port ${allowed ? "leaves it open" : "closes it"} in a PERMISSIVE pod for ${client}`, async () => {
      judge(await ask(client, "permissive", HABITS.plain), allowed);
    });

    it(`shows the server of whatever mode the address of ${client}`, async () => {
      const home = await addressesOf(mesh, CLIENTS[client]);
      const names = allowed ? ["strict", "permissive", "disable"] : ["permissive", "disable"];
      const answers = await Promise.all(names.map((name) => listen(client, name)));
      for (const { text } of answers.flat()) {
        const { client: seen } = JSON.parse(text ?? "{}") as { client: string };
        assert.ok(home.includes(seen), `it saw ${seen}, which is none of ${home.join(" ")}`);
      }
    });

    it(`lets ${client} believe that it reached what it dialled`, async () => {
      const addresses = await mesh.addresses("default/permissive");
      const answers = await listen(client, "permissive");
      assert.deepEqual(
        answers.map(({ peer }) => [peer?.hostname, peer?.port]),
        addresses.map((address) => [address, HABITS.who]),
      );
    });
  }

  for (const client of REFUSED_IN_KERNEL) {
    it(`STRICT fails the connect() of ${client}`, async () => {
      const answers = await ask(client, "strict", HABITS.who);
      assert.deepEqual(answers.map(({ error }) => error), [
        "ConnectionRefused",
        "ConnectionRefused",
      ]);
    });
  }

  it("a pod reaches itself whatever its mode, and sees itself", async () => {
    const addresses = await mesh.addresses("default/strict");
    const answers = await Promise.all(
      addresses.map((address) => mesh.dial("default/strict", "read", address, HABITS.who)),
    );
    const seen = answers.map(({ text }) =>
      (JSON.parse(text ?? "{}") as { client?: string }).client
    );
    assert.deepEqual(seen, [...addresses]);
  });
});

function judge(answers: readonly Answer[], allowed: boolean): void {
  if (allowed) assertServed(answers);
  else assertRefused(answers);
}

/** All that an address of a client can be. */
async function addressesOf(mesh: Mesh, place: string): Promise<string[]> {
  if (place.includes("/")) return [...await mesh.addresses(place)];
  const { stdout } = await mesh.bed.exec(place, ["ip", "-o", "addr"]);
  return [...stdout.matchAll(/inet6? ([0-9a-f.:]+)\//g)].map(([, address]) => address ?? "");
}
