/**
 * The peers' certificates: a root, and a P-256 leaf for each side, made by openssl.
 *
 * weft's own chains have an issuer more between root and leaf, which is weft's cost and stays so.
 *
 * @module
 */
import { checked } from "./command.ts";

/** Name in the server's certificate, which clients check. */
export const SERVER_NAME = "server.bench";

/**
 * Writes ca.crt, and for each side NAME.crt, NAME.key and NAME.pem (both in one), to `directory`.
 */
export async function issueCertificates(directory: string): Promise<void> {
  const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
  const openssl = (...args: string[]) => checked(["openssl", ...args], { cwd: directory });
  await openssl(
    ...["req", "-x509", ...ec, "-subj", "/CN=bench root"],
    ...["-keyout", "ca.key", "-out", "ca.crt"],
  );
  await Promise.all((["client", "server"] as const).map(async (side) => {
    const name = side === "server" ? SERVER_NAME : "client.bench";
    await openssl(
      ...["req", "-x509", "-CA", "ca.crt", "-CAkey", "ca.key", ...ec, "-subj", `/CN=${name}`],
      ...["-addext", `subjectAltName=DNS:${name}`],
      ...["-addext", "basicConstraints=critical,CA:FALSE"],
      ...["-addext", "keyUsage=critical,digitalSignature"],
      ...["-addext", `extendedKeyUsage=${side}Auth`],
      ...["-keyout", `${side}.key`, "-out", `${side}.crt`],
    );
    const parts = [`${directory}/${side}.crt`, `${directory}/${side}.key`];
    const pem = (await Promise.all(parts.map((file) => Deno.readTextFile(file)))).join("");
    await Deno.writeTextFile(`${directory}/${side}.pem`, pem, { mode: 0o600 });
  }));
}
