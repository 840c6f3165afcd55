/**
 * A node's authority over time, with a clock of the test's own and real files.
 *
 * @module
 */
import { afterEach, beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { join } from "node:path";
import { CertificateError } from "@/src/errors.ts";
import {
  type Authority,
  type AuthorityChange,
  type AuthorityConfig,
  initCa,
  openAuthority,
  openCa,
  parseCertificates,
  parseSvid,
  writeCredentials,
} from "@/src/identity/mod.ts";
import { rememberingLog } from "./support.ts";

const NOW_MS = Date.parse("2030-01-01T00:00:00Z");
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const WEB = "spiffe://one/ns/shop/sa/web";
const DB = "spiffe://one/ns/shop/sa/db";

let home: string;
let nowMs: number;
let lines: string[];
let stack: AsyncDisposableStack;

beforeEach(async () => {
  home = await Deno.makeTempDir({ prefix: "weft-authority-" });
  nowMs = NOW_MS;
  stack = new AsyncDisposableStack();
  stack.defer(() => Deno.remove(home, { recursive: true }));
});
afterEach(() => stack.disposeAsync());

async function open(changes: Partial<AuthorityConfig> = {}): Promise<Authority> {
  const remembering = rememberingLog();
  lines = remembering.lines;
  return stack.use(
    await openAuthority({
      stateDirectory: join(home, "state"),
      caDirectory: join(home, "ca"),
      node: "node-a",
      trustDomain: "one",
      svidTtlMs: 60 * MINUTE_MS,
      allowInit: true,
      log: remembering.log,
      now: () => nowMs,
      random: () => 0.5,
      ...changes,
    }),
  );
}

/** A node whose root is elsewhere. */
async function openRemote(): Promise<Authority> {
  const ca = await initCa(join(home, "elsewhere"), { trustDomain: "one", nowMs });
  await writeCredentials(join(home, "state"), await ca.issueNode({ node: "node-a", nowMs }));
  return await open({ allowInit: false });
}

function leafOf(chainPem: string) {
  const [leaf, issuer] = parseCertificates(chainPem, "chain");
  assert.ok(leaf !== undefined && issuer !== undefined);
  return { leaf, issuer, svid: parseSvid(leaf.der) };
}

describe("openAuthority()", () => {
  it("makes a root and an issuer for a single node, once", async () => {
    const first = await open();
    assert.equal(first.issuer.nodeName, "node-a");
    assert.equal(first.issuer.renewal, "automatic");
    assert.equal(first.failure, undefined);
    const second = await open();
    assert.equal(second.issuer.fingerprint, first.issuer.fingerprint);
    assert.equal(second.bundlePem, first.bundlePem);
  });

  it("makes nothing where it may not", async () => {
    await assert.rejects(open({ allowInit: false }), /This node has no issuer/);
    assert.deepEqual([...Deno.readDirSync(home)], []);
  });

  it("never replaces a root whose key is lost", async () => {
    await initCa(join(home, "ca"), { trustDomain: "one", nowMs });
    await Deno.remove(join(home, "ca/root.key"));
    await assert.rejects(open(), (error: unknown) => error instanceof CertificateError);
  });

  it("never replaces an issuer whose key is lost", async () => {
    await (await open())[Symbol.asyncDispose]();
    await Deno.remove(join(home, "state/issuer.key"));
    await assert.rejects(open(), /issuer\.key": it does not exist/);
  });

  it("refuses the issuer of another node or trust domain", async () => {
    await (await open())[Symbol.asyncDispose]();
    await assert.rejects(
      open({ node: "node-b" }),
      /issued for node "node-a": this node is "node-b"/,
    );
    await assert.rejects(open({ trustDomain: "two" }), /its trust domain is "one": wanted "two"/);
  });

  it("opens with an issuer that has expired, says so, and issues nothing", async () => {
    await (await openRemote())[Symbol.asyncDispose]();
    nowMs += 8 * DAY_MS;
    const authority = await open({ allowInit: false });
    assert.match(authority.failure ?? "", /expired at .* "weft ca issue-node node-a/);
    await assert.rejects(authority.svidFor(WEB), /Cannot sign with .*: it expired at/);
  });
});

describe("Authority.svidFor()", () => {
  it("issues an SVID that keeps the rules, signed by the node", async () => {
    const authority = await open();
    const held = await authority.svidFor(WEB, {
      dnsNames: ["web.shop", "web"],
      addresses: ["10.0.0.7", "fd00::7"],
    });
    const { leaf, issuer, svid } = leafOf(held.chainPem);
    assert.deepEqual(svid.faults, []);
    assert.equal(svid.spiffeId, WEB);
    assert.equal(svid.issuerName, "node-a");
    assert.deepEqual(leaf.dnsNames, ["web", "web.shop"]);
    assert.deepEqual(leaf.addresses, ["10.0.0.7", "fd00::7"]);
    assert.equal(leaf.authorityKeyId, issuer.subjectKeyId);
    assert.equal(issuer.pathLength, 0);
    assert.equal(held.notAfterMs, NOW_MS + 60 * MINUTE_MS);
    assert.equal(held.notBeforeMs, NOW_MS - 5 * MINUTE_MS);
  });

  it("makes one certificate for those who ask at the same time, and another per set of names", async () => {
    const authority = await open();
    const [one, two, other] = await Promise.all([
      authority.svidFor(WEB, { dnsNames: ["a", "b"], addresses: [] }),
      authority.svidFor(WEB, { dnsNames: ["b", "a", "a"], addresses: [] }),
      authority.svidFor(WEB, { dnsNames: ["c"], addresses: [] }),
    ]);
    assert.equal(one, two);
    assert.notEqual(one.serial, other.serial);
    assert.notEqual(one.keyPem, other.keyPem);
  });

  it("refuses what a node issuer may not sign", async () => {
    const authority = await open();
    const ids = ["spiffe://one/external/crm", "spiffe://one", "spiffe://one/x", "nonsense"];
    await Promise.all(ids.map((id) => assert.rejects(authority.svidFor(id), /Cannot issue/)));
    await assert.rejects(authority.svidFor("spiffe://two/ns/a/sa/b"), /trust domain "one" only/);
  });

  it("never outlives the issuer", async () => {
    const authority = await openRemote();
    nowMs = authority.issuer.notAfterMs - 10 * MINUTE_MS;
    const held = await authority.svidFor(WEB);
    assert.equal(held.notAfterMs, authority.issuer.notAfterMs);
    nowMs = authority.issuer.notAfterMs;
    assert.equal(authority.peek(WEB), undefined);
    await assert.rejects(authority.svidFor(WEB), CertificateError);
  });
});

describe("Authority.tick()", () => {
  it("renews at half of the life, keeps the old one until then, and says so", async () => {
    const authority = await open();
    const changes: AuthorityChange[] = [];
    authority.onChange((change) => changes.push(change));
    const first = await authority.svidFor(WEB);
    nowMs = NOW_MS + 29 * MINUTE_MS;
    await authority.tick();
    assert.equal(await authority.svidFor(WEB), first);
    nowMs = NOW_MS + 30 * MINUTE_MS;
    await authority.tick();
    const second = await authority.svidFor(WEB);
    assert.notEqual(second.serial, first.serial);
    assert.ok(second.issuedMs < first.notAfterMs);
    assert.deepEqual(changes.map(({ svids }) => svids.map(({ serial }) => serial)), [
      [second.serial],
    ]);
  });

  it("renews the issuer of a node that has the root, at half of its life, under the same root", async () => {
    const authority = await open();
    const { issuer, bundlePem } = authority;
    const held = await authority.svidFor(WEB);
    nowMs = issuer.renewMs + 1;
    await authority.tick();
    assert.notEqual(authority.issuer.fingerprint, issuer.fingerprint);
    assert.equal(authority.bundlePem, bundlePem);
    assert.notEqual((await authority.svidFor(WEB)).serial, held.serial);
    assert.equal(authority.failure, undefined);
  });

  it("never renews the issuer from a root that the node does not trust", async () => {
    const authority = await openRemote();
    const { fingerprint, renewMs } = authority.issuer;
    await initCa(join(home, "ca"), { trustDomain: "one", nowMs });
    nowMs = renewMs;
    await authority.tick();
    assert.equal(authority.issuer.fingerprint, fingerprint);
    assert.match(authority.failure ?? "", /its root is not the one that this node's bundle trusts/);
  });

  it("names the command where the root is elsewhere, once in the log", async () => {
    const authority = await openRemote();
    assert.equal(authority.issuer.renewal, "manual");
    nowMs = authority.issuer.renewMs;
    await authority.tick();
    await authority.tick();
    assert.match(authority.failure ?? "", /expires at .*"weft ca issue-node node-a --ca-dir DIR/);
    const warnings = lines.filter((line) => line.includes("identity-problem"));
    assert.equal(warnings.length, 1);
  });

  it("drops a root from the bundle when it expires", async () => {
    const authority = await openRemote();
    const changes: AuthorityChange[] = [];
    authority.onChange((change) => changes.push(change));
    nowMs += 3651 * DAY_MS;
    await authority.tick();
    assert.equal(authority.bundlePem, "");
    assert.deepEqual(changes.map(({ bundle }) => bundle), [true]);
  });
});

describe("Authority.want()", () => {
  it("makes what is missing, forgets what is not wanted any more", async () => {
    const authority = await open();
    const heard = Promise.withResolvers<AuthorityChange>();
    authority.onChange(heard.resolve);
    authority.want([{ spiffeId: WEB }, { spiffeId: DB }]);
    const { svids } = await heard.promise;
    assert.deepEqual(svids.map(({ spiffeId }) => spiffeId).sort(), [DB, WEB]);
    assert.equal(authority.peek(WEB)?.spiffeId, WEB);
    authority.want([{ spiffeId: DB }]);
    assert.equal(authority.peek(WEB), undefined);
    assert.deepEqual(authority.svids.map(({ spiffeId }) => spiffeId), [DB]);
  });
});

describe("Authority.mint()", () => {
  it("hands out a key that no one else has", async () => {
    const authority = await open();
    const held = await authority.svidFor(WEB);
    const minted = await authority.mint(WEB, undefined, 5 * MINUTE_MS);
    assert.notEqual(minted.keyPem, held.keyPem);
    assert.equal(minted.notAfterMs, NOW_MS + 5 * MINUTE_MS);
    assert.equal(await authority.svidFor(WEB), held);
  });
});

describe("Authority and its files", () => {
  it("takes over a new issuer that is copied in, without being asked", async () => {
    const authority = await openRemote();
    const held = await authority.svidFor(WEB);
    const heard = Promise.withResolvers<AuthorityChange>();
    authority.onChange((change) => change.issuer && heard.resolve(change));
    const ca = await openCa(join(home, "elsewhere"));
    await writeCredentials(join(home, "state"), await ca.issueNode({ node: "node-a", nowMs }));
    const change = await heard.promise;
    assert.equal(change.svids.length, 1);
    assert.notEqual((await authority.svidFor(WEB)).serial, held.serial);
  });

  it("accepts a second root beside the first, and an issuer of the second after it", async () => {
    const authority = await openRemote();
    const next = await initCa(join(home, "next"), { trustDomain: "one", nowMs });
    const bundle = ["elsewhere", "next"]
      .map((each) => Deno.readTextFileSync(join(home, each, "root.crt"))).join("");
    await Deno.writeTextFile(join(home, "state/bundle.pem"), bundle);
    await authority.reload();
    assert.equal(authority.roots.length, 2);
    const issued = await next.issueNode({ node: "node-a", nowMs });
    await writeCredentials(join(home, "state"), { ...issued, bundlePem: bundle });
    await authority.reload();
    assert.equal(authority.roots.length, 2);
    assert.equal(authority.failure, undefined);
    assert.equal(
      leafOf((await authority.svidFor(WEB)).chainPem).issuer.serial,
      issued.signer.certificate.serial,
    );
  });

  it("keeps what it has when the files break, says what is wrong, and recovers", async () => {
    const authority = await openRemote();
    const { fingerprint } = authority.issuer;
    const path = join(home, "state/bundle.pem");
    const text = await Deno.readTextFile(path);
    await Deno.writeTextFile(path, text.slice(0, 100));
    await authority.reload();
    assert.match(authority.failure ?? "", /bundle\.pem": The block "CERTIFICATE" is cut off/);
    assert.equal(authority.issuer.fingerprint, fingerprint);
    assert.equal((await authority.svidFor(WEB)).spiffeId, WEB);
    await Deno.writeTextFile(path, text);
    await authority.reload();
    assert.equal(authority.failure, undefined);
  });

  it("logs no key", async () => {
    const authority = await open();
    const { keyPem } = await authority.svidFor(WEB);
    nowMs = authority.issuer.renewMs;
    await authority.tick();
    assert.ok(lines.length > 0);
    assert.ok(!lines.join("").includes("PRIVATE KEY"));
    assert.ok(!lines.join("").includes(keyPem.split("\n")[1] ?? "?"));
  });
});
