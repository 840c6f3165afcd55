/**
 * Step 5: the client joins the mesh by a label, and the same plain curl is carried by mutual TLS.
 *
 * @module
 */
import { checkNamed, logLines } from "../look.ts";
import type { Step } from "../step.ts";
import { clearWords, decrypted, handshakeOf, segmentsOf } from "../wire.ts";
import { count } from "../words.ts";
import { CURL_LINES } from "./plain.ts";

/** 5. */
export const ENROLLED: Step = {
  number: 5,
  title: "A label enrols frontend: the same curl, now over mutual TLS",
  needs: ["policy"],
  async play(scene, told) {
    const bed = scene.one;
    told.screen.command("$", "diff seed/frontend.yaml frontend-enrolled.yaml");
    told.screen.output('>         mesh.cilium.io/enrolled: "true"');
    await scene.provide("enrolled", told);
    const backend = await bed.pod("default/backend");
    const frontend = await bed.pod("default/frontend");
    const before = await logLines(bed, "default/backend");
    await using near = await bed.capture("node-1", { interface: frontend.veth, filter: "tcp" });
    await using far = await bed.capture("node-1", { interface: backend.veth, filter: "tcp" });
    const curl = ["curl", "-v", "http://backend:80"];
    const ran = await scene.run(told, bed, "default/frontend", curl, { show: CURL_LINES });
    told.check(
      "the backend's page again",
      ran.code === 0 && ran.stdout.includes(`Server name: ${backend.name}`),
      /Server name: .*/.exec(ran.stdout)?.[0] ?? `curl ends with status ${ran.code}`,
    );
    const lines = (await logLines(bed, "default/backend")).slice(before.length);
    checkNamed(told, lines, frontend.addresses, "the application's log: frontend");

    const clear = [...await clearWords(near), ...await clearWords(far)];
    const carried = await segmentsOf(far);
    told.check(
      "capture on both veths: no HTTP in clear",
      clear.length === 0 && carried.length > 0,
      clear.length > 0 ? clear.join(", ") : `${count(carried.length, "segment")}, none readable`,
    );
    told.screen.command("$", "tshark -r wire.pcap -o tls.keylog_file:keys.log -d tcp.port==80,tls");
    const { versions, identities } = await handshakeOf(far, scene.keylog);
    for (const { sender, spiffeId } of identities) told.screen.output(`${sender}  ${spiffeId}`);
    told.check(
      "decrypted: a TLS 1.3 handshake",
      versions.includes("0x0304"),
      `ServerHello says ${versions.join(", ") || "nothing"}`,
    );
    const sent = (by: readonly string[]) =>
      identities.some(({ sender, spiffeId }) => by.includes(sender) && spiffeId === IDENTITY);
    told.check(
      "decrypted: both SPIFFE IDs",
      sent(frontend.addresses) && sent(backend.addresses),
      `${count(identities.length, "certificate")} of ${IDENTITY}`,
    );
    const opened = await decrypted(far, scene.keylog);
    told.check(
      "decrypted: the request and the page",
      opened.includes("GET / HTTP/1.1") && opened.includes("Server name"),
      /GET \/ HTTP\/[\d.]+/.exec(opened)?.[0] ?? "no request in it",
    );
  },
};

/** Both Deployments of the seed run as the namespace's default ServiceAccount. */
const IDENTITY = "spiffe://cluster.local/ns/default/sa/default";
