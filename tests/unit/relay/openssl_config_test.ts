/**
 * The machine's OpenSSL configuration is not read: what it forbids or allows is not weft's.
 *
 * @module
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

/** Forbids TLS 1.3 to everyone who reads it. */
const HOSTILE = `openssl_conf = all
[all]
ssl_conf = tls
[tls]
system_default = defaults
[defaults]
MaxProtocol = TLSv1.2
`;

const PROGRAM = `
import { libssl } from "${import.meta.resolve("@/ffi/tls/symbols.ts")}";
const ssl = libssl();
const context = ssl.SSL_CTX_new(ssl.TLS_client_method());
const SSL_CTRL_GET_MAX_PROTO_VERSION = 131;
console.log(ssl.SSL_CTX_ctrl(context, SSL_CTRL_GET_MAX_PROTO_VERSION, 0n, null) === 0n);
`;

describe("OpenSSL", () => {
  it("sets no limit that OPENSSL_CONF names", async () => {
    const file = await Deno.makeTempFile({ prefix: "weft-openssl-" });
    await Deno.writeTextFile(file, HOSTILE);
    try {
      const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["eval", "--quiet", PROGRAM],
        env: { OPENSSL_CONF: file },
      }).output();
      const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
      assert.equal(text(stdout), "true", text(stderr));
    } finally {
      await Deno.remove(file);
    }
  });
});
