/**
 * What becomes of a node's authority when its files break under it, and when the clock jumps.
 *
 * @module
 */
import { afterEach, beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { join } from "node:path";
import {
  type Authority,
  type AuthorityChange,
  type AuthorityConfig,
  initCa,
  isValidAt,
  openAuthority,
  parseCertificates,
  readIssuer,
  writeCredentials,
} from "@/src/identity/mod.ts";
import { rememberingLog } from "./support.ts";

const NOW_MS = Date.parse("2030-01-01T00:00:00Z");
const HOUR_MS = 3_600_000;
const WEB = "spiffe://one/ns/shop/sa/web";
const DB = "spiffe://one/ns/shop/sa/db";

let home: string;
let nowMs: number;
let stack: AsyncDisposableStack;

beforeEach(async () => {
  home = await Deno.makeTempDir({ prefix: "weft-authority-faults-" });
  nowMs = NOW_MS;
  stack = new AsyncDisposableStack();
  stack.defer(() => Deno.remove(home, { recursive: true }));
});
afterEach(() => stack.disposeAsync());

const path = (name: string) => join(home, name);

async function open(changes: Partial<AuthorityConfig> = {}): Promise<Authority> {
  return stack.use(
    await openAuthority({
      stateDirectory: path("state"),
      caDirectory: path("ca"),
      node: "node-a",
      trustDomain: "one",
      svidTtlMs: HOUR_MS,
      allowInit: true,
      log: rememberingLog().log,
      now: () => nowMs,
      random: () => 0.5,
      ...changes,
    }),
  );
}

const ROOT_ONLY = Deno.uid() === 0 ? {} : { skip: "only root can give a file away" };

describe("a file of the state directory under a running agent", () => {
  const garbage = crypto.getRandomValues(new Uint8Array(512));
  const breaks: readonly (readonly [string, (file: string) => void, RegExp])[] = [
    ["cut short", (file) => Deno.truncateSync(file, 60), /./],
    ["emptied", (file) => Deno.truncateSync(file, 0), /it is empty/],
    ["filled with garbage", (file) => Deno.writeFileSync(file, garbage), /./],
    ["removed", (file) => Deno.removeSync(file), /it does not exist/],
    ["open to others' writing", (file) => Deno.chmodSync(file, 0o666), /open to others: .* wanted/],
  ];
  for (const name of ["issuer.crt", "issuer.key", "bundle.pem"]) {
    for (const [how, act, reason] of breaks) {
      it(`${name} ${how}: it is named, and what was loaded goes on`, async () => {
        const authority = await open();
        const before = await authority.svidFor(WEB);
        act(path(`state/${name}`));
        await authority.reload();
        const { failure = "" } = authority;
        assert.ok(failure.includes(path(`state/${name}`)), failure);
        assert.match(failure, reason);
        assert.equal(await authority.svidFor(WEB), before);
        assert.equal((await authority.svidFor(DB)).spiffeId, DB, "it issues no more");
        await assert.rejects(open(), "a new agent takes it");
      });
    }

    it(`${name} of another user: it is named, and what was loaded goes on`, ROOT_ONLY, async () => {
      const authority = await open();
      Deno.chownSync(path(`state/${name}`), 65_534, null);
      await authority.reload();
      assert.match(
        authority.failure ?? "",
        new RegExp(`${name}": it belongs to user 65534: wanted 0, as "chown" makes it`),
      );
      assert.equal((await authority.svidFor(WEB)).spiffeId, WEB);
      Deno.chownSync(path(`state/${name}`), 0, null);
      await authority.reload();
      assert.equal(authority.failure, undefined);
    });
  }

  for (const name of ["root.crt", "root.key", "bundle.pem"]) {
    it(`the root's ${name} filled with garbage: the issuer is not renewed, and stays`, async () => {
      const authority = await open();
      const { fingerprint, renewMs } = authority.issuer;
      Deno.writeFileSync(path(`ca/${name}`), garbage);
      nowMs = renewMs + 1;
      await authority.tick();
      assert.ok(authority.failure?.includes(path(`ca/${name}`)), authority.failure);
      assert.equal(authority.issuer.fingerprint, fingerprint);
      assert.equal((await authority.svidFor(WEB)).spiffeId, WEB);
    });
  }
});

describe("a clock that jumps", () => {
  it("two hours ahead: every certificate is made anew, under the same issuer", async () => {
    const authority = await open();
    const { fingerprint } = authority.issuer;
    const before = await authority.svidFor(WEB);
    const changes: AuthorityChange[] = [];
    authority.onChange((change) => changes.push(change));
    nowMs += 2 * HOUR_MS;
    assert.equal(authority.peek(WEB), undefined, "one that is over is handed out");
    await authority.tick();
    const after = await authority.svidFor(WEB);
    assert.notEqual(after.serial, before.serial);
    assert.equal(after.notAfterMs, nowMs + HOUR_MS);
    assert.equal(authority.issuer.fingerprint, fingerprint);
    assert.equal(changes.flatMap(({ svids }) => svids).length, 1, "nobody is told");
  });

  it("two hours back: what does not hold yet is made anew, from a root of just now", async () => {
    const authority = await open();
    const before = await authority.svidFor(WEB);
    nowMs -= 2 * HOUR_MS;
    assert.equal(authority.peek(WEB), undefined, "one that does not hold yet is handed out");
    await authority.tick();
    const after = authority.peek(WEB);
    assert.ok(after !== undefined && after.serial !== before.serial);
    const chain = parseCertificates(after.chainPem + authority.bundlePem, "chain");
    assert.deepEqual(chain.map((each) => isValidAt(each, nowMs)), [true, true, true]);
    assert.equal(authority.failure, undefined);
  });

  it("ahead and back again: it ends where it was, with certificates that hold", async () => {
    const authority = await open();
    await authority.svidFor(WEB);
    for (const hours of [2, -2, -2, 2]) {
      nowMs += hours * HOUR_MS;
      // deno-lint-ignore no-await-in-loop -- one jump after the other
      await authority.tick();
      const held = authority.peek(WEB);
      assert.ok(held !== undefined && isValidAt(held, nowMs), `after ${hours} h`);
    }
  });

  it("past the issuer's end: nothing is issued any more, nothing that is over is kept", async () => {
    const elsewhere = await initCa(path("elsewhere"), { trustDomain: "one", nowMs });
    await writeCredentials(path("state"), await elsewhere.issueNode({ node: "node-a", nowMs }));
    const authority = await open({ allowInit: false });
    await authority.svidFor(WEB);
    nowMs = authority.issuer.notAfterMs;
    await authority.tick();
    assert.equal(authority.peek(WEB), undefined);
    await assert.rejects(authority.svidFor(WEB), /it expired at/);
    assert.match(authority.failure ?? "", /expired at/);
  });
});

describe("the UID by which the cluster knows a node", () => {
  const uidIn = (authority: Authority) => {
    const text = Deno.readTextFileSync(path("state/issuer.crt"));
    const [certificate] = parseCertificates(text, "issuer.crt");
    assert.ok(certificate !== undefined);
    assert.equal(authority.issuer.nodeUid, readIssuer(certificate.subject).issuerUid);
    return authority.issuer.nodeUid;
  };

  it("goes into an issuer that was made before it was known, once", async () => {
    const authority = await open();
    await authority.nodeIs("");
    assert.equal(uidIn(authority), "node-a");
    await authority.nodeIs("u-1");
    assert.equal(uidIn(authority), "u-1");
    const { fingerprint } = authority.issuer;
    await authority.nodeIs("u-1");
    assert.equal(authority.issuer.fingerprint, fingerprint);
    nowMs = authority.issuer.renewMs + 1;
    await authority.tick();
    assert.equal(uidIn(authority), "u-1", "renewal loses it");
    assert.notEqual(authority.issuer.fingerprint, fingerprint);
  });

  it("that is another than the issuer's is a failure where the root is elsewhere", async () => {
    const elsewhere = await initCa(path("elsewhere"), { trustDomain: "one", nowMs });
    const issued = await elsewhere.issueNode({ node: "node-a", uid: "u-1", nowMs });
    await writeCredentials(path("state"), issued);
    const authority = await open({ allowInit: false });
    await authority.nodeIs("u-1");
    assert.equal(authority.failure, undefined);
    await authority.nodeIs("u-2");
    assert.match(authority.failure ?? "", /UID "u-1": this one has "u-2"/);
    assert.match(authority.failure ?? "", /issue-node node-a --uid u-2 .* copy OUT to ".*state"$/);
    assert.equal(uidIn(authority), "u-1");
  });
});
