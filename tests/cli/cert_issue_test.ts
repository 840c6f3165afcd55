/**
 * `weft cert`, and its certificates in the hands of OpenSSL and curl.
 *
 * @module
 */
import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { openAuthority, writeEndpoint } from "@/src/identity/mod.ts";
import { openLog } from "@/src/log.ts";
import { run, Scratch, startTlsServer, weft } from "./cert_support.ts";

/** A root, and the authority of one node below it. */
async function makeMesh(scratch: Scratch, trustDomain = "cluster.local") {
  await weft("ca", "init", "--ca-dir", scratch.at("ca"), "--trust-domain", trustDomain);
  return scratch.use(
    await openAuthority({
      stateDirectory: scratch.at("state"),
      caDirectory: scratch.at("ca"),
      node: "node-a",
      trustDomain,
      svidTtlMs: 3_600_000,
      allowInit: false,
      log: openLog({ write: () => {} }),
    }),
  );
}

async function issueExternal(scratch: Scratch, ...more: string[]) {
  return await weft(
    ...["cert", "issue", "--external", "crm", "--ca-dir", scratch.at("ca")],
    ...["--out", scratch.at("crm"), ...more],
  );
}

describe("weft cert issue --external", () => {
  it("writes a chain that OpenSSL accepts for both purposes, with its key closed to others", async () => {
    await using scratch = new Scratch();
    await makeMesh(scratch);
    const { status, out } = await issueExternal(scratch, "--lifetime", "2h");
    assert.equal(status, 0);
    assert.match(out, /spiffe:\/\/cluster\.local\/external\/crm/);
    assert.equal((Deno.statSync(scratch.at("crm/tls.key")).mode ?? 0) & 0o777, 0o600);
    const verify = (purpose: string) =>
      run(
        ...["openssl", "verify", "-x509_strict", "-purpose", purpose] as const,
        ...["-CAfile", scratch.at("crm/ca.crt"), "-untrusted", scratch.at("crm/tls.crt")],
        scratch.at("crm/tls.crt"),
      );
    assert.match((await verify("sslclient")).out, /OK/);
    assert.match((await verify("sslserver")).out, /OK/);
  });

  it("refuses a name with a slash, a lifetime beyond the issuer's, and a missing root", async () => {
    await using scratch = new Scratch();
    await makeMesh(scratch);
    const common = ["--ca-dir", scratch.at("ca"), "--out", scratch.at("x")];
    const slash = await weft("cert", "issue", "--external", "ns/a", ...common);
    assert.equal(slash.status, 2);
    const long = await issueExternal(scratch, "--lifetime", "91d");
    assert.match(long.err, /at most "90d"/);
    const nowhere = await weft(
      "cert",
      "issue",
      "--external",
      "a",
      "--ca-dir",
      "/nonexistent",
      "--out",
      "/x",
    );
    assert.match(nowhere.err, /"\/nonexistent\/root\.crt": it does not exist/);
    assert.equal(nowhere.status, 4);
  });
});

describe("weft cert issue --pod", () => {
  it("asks the agent, and writes what it answers", async () => {
    await using scratch = new Scratch();
    const authority = await makeMesh(scratch);
    const spiffeId = "spiffe://cluster.local/ns/shop/sa/web";
    const asked: unknown[] = [];
    Deno.mkdirSync(scratch.at("run"));
    scratch.use(Deno.serve(
      { path: scratch.at("run/weft.sock"), onListen: () => {} },
      async (request) => {
        asked.push(await request.json());
        const svid = await authority.mint(spiffeId);
        return Response.json({ ...svid, bundlePem: authority.bundlePem });
      },
    ));
    const { status, out } = await weft(
      ...["cert", "issue", "--pod", "shop/web-1", "--lifetime", "30m"],
      ...["--run-dir", scratch.at("run"), "--out", scratch.at("web")],
    );
    assert.equal(status, 0, out);
    assert.deepEqual(asked, [{ pod: "shop/web-1", ttlMs: 1_800_000 }]);
    const inspected = await weft("cert", "inspect", scratch.at("web/tls.crt"), "-o", "json");
    assert.equal(JSON.parse(inspected.out)[0].spiffeId, spiffeId);
    assert.equal(JSON.parse(inspected.out)[0].issuerNode, "node-a");
  });

  it("says that no agent answers", async () => {
    await using scratch = new Scratch();
    const { status, err } = await weft(
      ...["cert", "issue", "--pod", "a/b", "--out", scratch.at("x"), "--run-dir", scratch.path],
    );
    assert.equal(status, 3);
    assert.match(err, /no agent answers/);
  });
});

describe("weft cert inspect", () => {
  it("shows identity, issuer and time, and exits 0 for a good chain", async () => {
    await using scratch = new Scratch();
    await makeMesh(scratch);
    await issueExternal(scratch);
    const { status, out } = await weft("cert", "inspect", scratch.at("crm/tls.crt"));
    assert.equal(status, 0);
    assert.match(out, /Certificate 1 of 2: leaf/);
    assert.match(out, /expires in 23h 59m/);
    assert.match(out, /keeps all rules/);
  });

  it("exits 1 for a chain in the wrong order and for what is no SVID", async () => {
    await using scratch = new Scratch();
    await makeMesh(scratch);
    await issueExternal(scratch);
    const certificates = scratch.read("crm/tls.crt").split(/(?<=-----END CERTIFICATE-----\n)/);
    Deno.writeTextFileSync(scratch.at("turned.pem"), certificates.toReversed().join(""));
    const turned = await weft("cert", "inspect", scratch.at("turned.pem"));
    assert.equal(turned.status, 1);
    assert.match(turned.out, /not by the next certificate/);
    await run(
      ...[
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
      ] as const,
      ...["-nodes", "-subj", "/CN=web", "-addext", "basicConstraints=critical,CA:FALSE"],
      ...["-keyout", scratch.at("k"), "-out", scratch.at("plain.crt")],
    );
    const plain = await weft("cert", "inspect", scratch.at("plain.crt"));
    assert.equal(plain.status, 1);
    assert.match(plain.out, /it has no URI, so no SPIFFE ID; it has no key usage/);
  });

  it("names the file that it cannot read", async () => {
    await using scratch = new Scratch();
    Deno.writeTextFileSync(scratch.at("x"), "no certificate");
    const { status, err } = await weft("cert", "inspect", scratch.at("x"));
    assert.equal(status, 4);
    assert.match(err, /x": it holds no certificate/);
    assert.equal((await weft("cert", "inspect", scratch.at("y"))).status, 2);
  });
});

describe("curl with a certificate of weft", () => {
  it("reaches a pod by the Service's name and by address, and not without a certificate", async () => {
    await using scratch = new Scratch();
    const authority = await makeMesh(scratch);
    const svid = await authority.svidFor("spiffe://cluster.local/ns/shop/sa/backend", {
      dnsNames: ["backend", "backend.shop.svc.cluster.local"],
      addresses: ["127.0.0.1"],
    });
    await writeEndpoint(scratch.at("backend"), { ...svid, bundlePem: authority.bundlePem });
    const server = scratch.use(await startTlsServer(scratch.at("backend")));
    await issueExternal(scratch);
    const curl = (host: string, ...more: string[]) =>
      run(
        ...["curl", "-sS", "--cacert", scratch.at("crm/ca.crt")] as const,
        ...["--connect-to", `backend::127.0.0.1:`, ...more, `https://${host}:${server.port}/`],
      );
    const own = ["--cert", scratch.at("crm/tls.crt"), "--key", scratch.at("crm/tls.key")];
    const byName = await curl("backend", ...own);
    assert.equal(byName.status, 0, byName.out);
    assert.match(byName.out, /TLSv1\.3/);
    const byAddress = await curl("127.0.0.1", ...own);
    assert.equal(byAddress.status, 0, byAddress.out);
    assert.notEqual((await curl("backend")).status, 0);
  });

  it("is refused by a server of another root", async () => {
    await using scratch = new Scratch();
    const authority = await makeMesh(scratch);
    const svid = await authority.svidFor("spiffe://cluster.local/ns/shop/sa/backend", {
      dnsNames: [],
      addresses: ["127.0.0.1"],
    });
    await writeEndpoint(scratch.at("backend"), { ...svid, bundlePem: authority.bundlePem });
    const server = scratch.use(await startTlsServer(scratch.at("backend")));
    await weft("ca", "init", "--ca-dir", scratch.at("other"));
    await weft(
      ...["cert", "issue", "--external", "crm", "--ca-dir", scratch.at("other")],
      ...["--out", scratch.at("stranger")],
    );
    const { status, out } = await run(
      ...["curl", "-sS", "--cacert", scratch.at("backend/ca.crt")] as const,
      ...["--cert", scratch.at("stranger/tls.crt"), "--key", scratch.at("stranger/tls.key")],
      `https://127.0.0.1:${server.port}/`,
    );
    assert.notEqual(status, 0);
    assert.match(out, /alert/);
  });
});

describe("a chain below a node issuer that was stolen", () => {
  it("does not verify when it holds a further intermediate", async () => {
    await using scratch = new Scratch();
    await makeMesh(scratch);
    const at = (name: string) => scratch.at(name);
    const state = (name: string) => scratch.at("state", name);
    Deno.writeTextFileSync(
      at("ext"),
      "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n" +
        "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n",
    );
    await run(
      ...[
        "openssl",
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
      ] as const,
      ...["-nodes", "-subj", "/O=weft node issuer/CN=node-b/serialNumber=node-b"],
      ...["-keyout", at("fake.key"), "-out", at("fake.csr")],
    );
    const signed = await run(
      ...[
        "openssl",
        "x509",
        "-req",
        "-in",
        at("fake.csr"),
        "-days",
        "1",
        "-extfile",
        at("ext"),
      ] as const,
      ...["-CA", state("issuer.crt"), "-CAkey", state("issuer.key"), "-out", at("fake.crt")],
    );
    assert.equal(signed.status, 0, signed.out);
    await run(
      ...[
        "openssl",
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
      ] as const,
      ...["-nodes", "-subj", "/O=weft", "-keyout", at("leaf.key"), "-out", at("leaf.csr")],
    );
    await run(
      ...["openssl", "x509", "-req", "-in", at("leaf.csr"), "-days", "1"] as const,
      ...["-CA", at("fake.crt"), "-CAkey", at("fake.key"), "-out", at("leaf.crt")],
    );
    Deno.writeTextFileSync(
      at("chain"),
      scratch.read("fake.crt") + scratch.read("state/issuer.crt"),
    );
    const { status, out } = await run(
      ...["openssl", "verify", "-CAfile", at("ca/root.crt"), "-untrusted", at("chain")] as const,
      at("leaf.crt"),
    );
    assert.notEqual(status, 0);
    assert.match(out, /path length constraint exceeded/);
  });
});
