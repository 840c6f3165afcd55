/**
 * Another program on an interface, as a network plugin would have one:
 * `around_hook.ts OBJECT PROGRAM INTERFACE first|last`. It attaches the program in both directions,
 * says so in a line, and takes it off when it is ended.
 *
 * @module
 */
import { AttachType } from "../../ffi/bpf/constants.ts";
import { BpfLink } from "../../ffi/bpf/link.ts";
import { BpfObject } from "../../ffi/bpf/object.ts";
import { listLinks } from "../../ffi/linux/links.ts";

if (import.meta.main) {
  const [file = "", name = "", device = "", position = ""] = Deno.args;
  const object = BpfObject.open(await Deno.readFile(file)).load();
  const link = listLinks().find((each) => each.name === device);
  if (link === undefined) throw new TypeError(`Cannot find "${device}"`);
  for (const attachType of [AttachType.TCX_INGRESS, AttachType.TCX_EGRESS]) {
    BpfLink.attachTcx(object.program(name), link.ifindex, {
      attachType,
      position: position === "first" ? "first" : "last",
    });
  }
  Deno.stdout.writeSync(new TextEncoder().encode("true\n"));
  // The links live as long as this process.
  setInterval(() => {}, 1_000_000);
}
