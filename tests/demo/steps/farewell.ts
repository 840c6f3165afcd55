/**
 * Step 9: the policy goes, plaintext works again, and `weft uninstall` leaves nothing of weft's.
 *
 * @module
 */
import { checkNamed, logLines } from "../look.ts";
import { findLeft, kernelObjects } from "../leftovers.ts";
import type { Step } from "../step.ts";
import { clearWords } from "../wire.ts";
import { CURL_LINES } from "./plain.ts";

/** 9. */
export const FAREWELL: Step = {
  number: 9,
  title: "The policy is deleted, weft is uninstalled: nothing of it is left",
  needs: ["policy", "enrolled"],
  async play(scene, told) {
    const bed = scene.one;
    const backend = await bed.pod("default/backend");
    const frontend = await bed.pod("default/frontend");
    const { outside: host } = await bed.describe();
    const [address = ""] = backend.addresses;
    told.screen.command("$", "testbed delete policy.yaml");
    await bed.delete("policy.yaml");
    scene.withdraw("policy");
    await scene.inForce(bed, "node-1", ({ policies }) => policies.length === 0);

    const before = await logLines(bed, "default/backend");
    await using wire = await bed.capture("node-1", { interface: backend.veth, filter: "tcp" });
    const curl = ["curl", "-v"];
    const inside = await scene.run(told, bed, "default/frontend", [...curl, "http://backend:80"], {
      show: CURL_LINES,
    });
    const outside = await scene.run(told, bed, "outside", [...curl, `http://${address}`], {
      show: CURL_LINES,
    });
    const page = (text: string) => /Server name: .*/.exec(text)?.[0];
    told.check("frontend gets the page", inside.code === 0, page(inside.stdout) ?? "nothing");
    told.check("the outside gets it, too", outside.code === 0, page(outside.stdout) ?? "nothing");
    const words = await clearWords(wire);
    told.check("the wire shows HTTP in clear", words.length > 0, words.join(", ") || "nothing");
    const lines = (await logLines(bed, "default/backend")).slice(before.length);
    checkNamed(told, lines.slice(0, 1), frontend.addresses, "the application's log: frontend");
    checkNamed(told, lines.slice(1), host.addresses, "the application's log: the outside");

    const node = await bed.node("node-1");
    const objects = await kernelObjects(node);
    const { links, maps, programs } = objects;
    told.screen.command("node-1#", "find bpf -type f | wc -l   # pins");
    told.screen.output(String(objects.pins.length));
    const ran = await scene.weft(told, bed, "node-1", ["uninstall"]);
    told.check("uninstall goes through", ran.code === 0, `status ${ran.code}`);
    const left = await findLeft(node, objects);
    const gone = (what: string, before: number, after: readonly string[]) =>
      told.check(
        `no ${what} is left`,
        before > 0 && after.length === 0,
        after.length === 0 ? `${before} before, none now` : after.join(", "),
      );
    gone("link", links.length, left.links);
    gone("program", programs.length, left.programs);
    gone("map", maps.length, left.maps);
    gone("pin", objects.pins.length, left.pins);
    gone("process", objects.processes.length, left.processes);
    told.check(
      "no namespace and no mount is left",
      left.namespaces.length + left.mounts.length === 0,
      [...left.namespaces, ...left.mounts].join(", ") || "as many as before",
    );
    const after = await scene.run(told, bed, "outside", [...curl, `http://${address}`], {
      show: CURL_LINES,
    });
    told.check("the pods go on without it", after.code === 0, page(after.stdout) ?? "nothing");
  },
};
