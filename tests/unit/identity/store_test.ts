/**
 * The root's and the node's directories, whole and damaged.
 *
 * @module
 */
import { afterEach, beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { join } from "node:path";
import { CertificateError } from "@/src/errors.ts";
import {
  initCa,
  openCa,
  readCredentials,
  readIssued,
  writeCredentials,
} from "@/src/identity/mod.ts";

const NOW_MS = Date.parse("2030-01-01T00:00:00Z");
const DAY_MS = 86_400_000;

let home: string;
beforeEach(async () => {
  home = await Deno.makeTempDir({ prefix: "weft-identity-" });
});
afterEach(async () => {
  await Deno.remove(home, { recursive: true });
});

async function expectRefusal(work: Promise<unknown>, message: RegExp): Promise<void> {
  await assert.rejects(work, (error: unknown) => {
    assert.ok(error instanceof CertificateError, String(error));
    assert.match(error.message, message);
    return true;
  });
}

async function modeOf(path: string): Promise<number> {
  return ((await Deno.stat(path)).mode ?? 0) & 0o777;
}

describe("initCa()", () => {
  it("makes a root, an external issuer and a bundle, keys closed to others", async () => {
    const directory = join(home, "deep/ca");
    const ca = await initCa(directory, { trustDomain: "mesh.example", nowMs: NOW_MS });
    assert.equal(ca.trustDomain, "mesh.example");
    const names = [...Deno.readDirSync(directory)].map(({ name }) => name).sort();
    assert.deepEqual(names, [
      "bundle.pem",
      "external.crt",
      "external.key",
      "root.crt",
      "root.key",
    ]);
    assert.equal(await modeOf(join(directory, "root.key")), 0o600);
    assert.equal(await modeOf(join(directory, "external.key")), 0o600);
    assert.equal(await modeOf(directory), 0o700);
  });

  it("never writes over what is there, and leaves nothing beside it", async () => {
    const directory = join(home, "ca");
    await initCa(directory, { trustDomain: "one", nowMs: NOW_MS });
    const before = Deno.readTextFileSync(join(directory, "root.crt"));
    await expectRefusal(
      initCa(directory, { trustDomain: "two", nowMs: NOW_MS }),
      /ca": it is not empty, and a root is never written over/,
    );
    assert.equal(Deno.readTextFileSync(join(directory, "root.crt")), before);
    assert.deepEqual([...Deno.readDirSync(home)].map(({ name }) => name), ["ca"]);
  });

  it("uses a directory that is there but empty", async () => {
    const directory = join(home, "ca");
    await Deno.mkdir(directory);
    await initCa(directory, { trustDomain: "one", nowMs: NOW_MS });
    assert.equal((await openCa(directory)).trustDomain, "one");
  });
});

describe("openCa()", () => {
  it("names a key that is missing, of another root, or not PEM", async () => {
    const directory = join(home, "ca");
    await initCa(directory, { trustDomain: "one", nowMs: NOW_MS });
    const other = join(home, "other");
    await initCa(other, { trustDomain: "one", nowMs: NOW_MS });
    const key = join(directory, "root.key");
    await Deno.copyFile(join(other, "root.key"), key);
    await expectRefusal(openCa(directory), /root\.key": it is not the key of ".*root\.crt"/);
    await Deno.writeTextFile(key, "nonsense");
    await expectRefusal(openCa(directory), /root\.key": it holds no private key/);
    await Deno.remove(key);
    await expectRefusal(openCa(directory), /root\.key": it does not exist/);
  });

  it("accepts a bundle of two roots, and refuses one without its own", async () => {
    const directory = join(home, "ca");
    const other = join(home, "other");
    await initCa(directory, { trustDomain: "one", nowMs: NOW_MS });
    await initCa(other, { trustDomain: "one", nowMs: NOW_MS });
    const bundle = join(directory, "bundle.pem");
    const [own, next] = [directory, other].map((each) =>
      Deno.readTextFileSync(join(each, "root.crt"))
    );
    await Deno.writeTextFile(bundle, `${own}${next}${own}`);
    assert.equal((await openCa(directory)).roots.length, 2);
    await Deno.writeTextFile(bundle, next ?? "");
    await expectRefusal(openCa(directory), /bundle\.pem": it does not hold ".*root\.crt"/);
  });
});

describe("Ca", () => {
  it("writes down what it issues", async () => {
    const ca = await initCa(join(home, "ca"), { trustDomain: "one", nowMs: NOW_MS });
    const { signer } = await ca.issueNode({ node: "node-a", nowMs: NOW_MS });
    const { svid } = await ca.issueExternal({ name: "crm", nowMs: NOW_MS });
    const issued = await readIssued(join(home, "ca"));
    assert.deepEqual(issued.map(({ kind, serial }) => [kind, serial]), [
      ["node-issuer", signer.certificate.serial],
      ["external", svid.serial],
    ]);
    assert.equal(await modeOf(join(home, "ca/issued.jsonl")), 0o600);
  });

  it("refuses a node whose name OpenSSL could take for another's", async () => {
    const ca = await initCa(join(home, "ca"), { trustDomain: "one", nowMs: NOW_MS });
    await Promise.all(
      ["Node-A", "node a", "", "node-a ", "a..b", "nöde"].map((node) =>
        expectRefusal(ca.issueNode({ node, nowMs: NOW_MS }), /DNS name in lower case/)
      ),
    );
  });

  it("renews the external issuer when it is at half of its life", async () => {
    const directory = join(home, "ca");
    const ca = await initCa(directory, { trustDomain: "one", nowMs: NOW_MS });
    const issuer = () => Deno.readTextFileSync(join(directory, "external.crt"));
    const first = issuer();
    await ca.issueExternal({ name: "crm", nowMs: NOW_MS + 40 * DAY_MS });
    assert.equal(issuer(), first);
    const { svid } = await ca.issueExternal({ name: "crm", nowMs: NOW_MS + 50 * DAY_MS });
    assert.notEqual(issuer(), first);
    assert.ok(svid.chainPem.endsWith(issuer()));
  });

  it("issues nothing once the root has expired", async () => {
    const ca = await initCa(join(home, "ca"), { trustDomain: "one", nowMs: NOW_MS });
    const late = NOW_MS + 3651 * DAY_MS;
    await expectRefusal(ca.issueNode({ node: "a", nowMs: late }), /it expired at 2039-12/);
  });
});

describe("readCredentials()", () => {
  const state = () => join(home, "state");

  beforeEach(async () => {
    const ca = await initCa(join(home, "ca"), { trustDomain: "one", nowMs: NOW_MS });
    await writeCredentials(
      state(),
      await ca.issueNode({ node: "node-a", uid: "u-1", nowMs: NOW_MS }),
    );
  });

  it("reads what was written, and null where nothing was", async () => {
    const credentials = await readCredentials(state());
    assert.equal(credentials?.nodeName, "node-a");
    assert.equal(credentials?.nodeUid, "u-1");
    assert.equal(credentials?.trustDomain, "one");
    assert.equal(await modeOf(join(state(), "issuer.key")), 0o600);
    assert.equal(await readCredentials(join(home, "nowhere")), null);
  });

  it("refuses a key that others may read", async () => {
    await Deno.chmod(join(state(), "issuer.key"), 0o640);
    await expectRefusal(
      readCredentials(state()),
      /issuer\.key": it is open to others: its mode is 0640, wanted 0600/,
    );
  });

  for (const name of ["issuer.crt", "issuer.key", "bundle.pem"]) {
    it(`refuses to go on without ${name}`, async () => {
      await Deno.remove(join(state(), name));
      await expectRefusal(
        readCredentials(state()),
        new RegExp(`${name}": it does not exist, though`),
      );
    });

    it(`refuses ${name} cut short anywhere`, async () => {
      const path = join(state(), name);
      const text = Deno.readTextFileSync(path);
      for (const share of [0, 0.1, 0.5, 0.9]) {
        Deno.writeTextFileSync(path, text.slice(0, Math.floor(text.length * share)));
        // deno-lint-ignore no-await-in-loop -- one file, cut ever later
        await expectRefusal(readCredentials(state()), new RegExp(`${name}": `));
      }
    });
  }

  it("refuses an issuer of another root, and a leaf in its place", async () => {
    const other = await initCa(join(home, "other"), { trustDomain: "one", nowMs: NOW_MS });
    const root = Deno.readTextFileSync(join(home, "other/root.crt"));
    Deno.writeTextFileSync(join(state(), "bundle.pem"), root);
    await expectRefusal(readCredentials(state()), /no root of ".*bundle\.pem" has signed it/);
    assert.ok(other.root.isCa);
  });

  it("refuses a bundle of another trust domain", async () => {
    await initCa(join(home, "other"), { trustDomain: "two", nowMs: NOW_MS });
    const roots = ["ca", "other"].map((each) =>
      Deno.readTextFileSync(join(home, each, "root.crt"))
    );
    Deno.writeTextFileSync(join(state(), "bundle.pem"), roots.join(""));
    await expectRefusal(readCredentials(state()), /its trust domain is "two": wanted "one"/);
  });

  it("refuses an intermediate that is not a node's", async () => {
    for (const suffix of ["crt", "key"]) {
      Deno.copyFileSync(join(home, `ca/external.${suffix}`), join(state(), `issuer.${suffix}`));
    }
    await expectRefusal(readCredentials(state()), /"O=weft external issuer" is no node issuer/);
  });

  it("finds the key of a replacement that was interrupted between its renames", async () => {
    const ca = await openCa(join(home, "ca"));
    const next = join(home, "next");
    await writeCredentials(next, await ca.issueNode({ node: "node-a", nowMs: NOW_MS }));
    await Deno.rename(join(next, "issuer.key"), join(state(), "issuer.key.next"));
    assert.equal((await readCredentials(state()))?.nodeUid, "u-1");
    await Deno.rename(join(next, "issuer.crt"), join(state(), "issuer.crt"));
    assert.equal((await readCredentials(state()))?.nodeUid, "node-a");
    await Deno.remove(join(state(), "issuer.key"));
    assert.equal((await readCredentials(state()))?.nodeUid, "node-a");
  });
});
