/**
 * Links on real hooks: cgroups, namespaces, interfaces.
 *
 * @module
 */

import assert from "node:assert/strict";
import { afterEach, before, describe, it } from "node:test";
import { attachClsact, ClsactPoint, detachClsact, queryClsact } from "@/ffi/bpf/clsact.ts";
import { AttachType } from "@/ffi/bpf/constants.ts";
import { BpfLink, queryCgroup, queryTcx } from "@/ffi/bpf/link.ts";
import { BpfObject } from "@/ffi/bpf/object.ts";
import { SyscallError } from "@/ffi/errors.ts";
import { openDirectory } from "@/ffi/linux/filesystem.ts";
import { listLinks } from "@/ffi/linux/links.ts";
import { netnsIdentity, withNetns } from "@/ffi/linux/netns.ts";
import {
  assertNoLeaks,
  compileFixture,
  eventually,
  run,
  shellError,
  TestBpffs,
  TestCgroup,
  TestNetns,
} from "./ffi_fixture.ts";

const PROGRAMS = ["pass_tcx", "refuse4", "allow4", "drop_lookup", "emit"];

function isSevered(error: unknown): boolean {
  return error instanceof SyscallError && error.errnoName === "ENOLINK";
}

describe("links", () => {
  let tiny: Uint8Array<ArrayBuffer>;
  before(async () => void (tiny = await compileFixture("tiny")));
  afterEach(assertNoLeaks);

  function load(): BpfObject {
    return BpfObject.open(tiny, { programs: PROGRAMS }).load();
  }

  describe("on a cgroup", () => {
    const dial = (cgroup: TestCgroup) =>
      shellError(`echo $$ > ${cgroup.path}/cgroup.procs; exec 3<>/dev/tcp/127.0.0.1/4444`);

    it("decide about connect() until they are let go", async () => {
      using cgroup = new TestCgroup();
      using object = load();
      {
        using directory = openDirectory(cgroup.path);
        using link = BpfLink.attachCgroup(object.program("refuse4"), directory);
        assert.match(await dial(cgroup), /Operation not permitted/);
        const info = link.info();
        assert.equal(info.kind, "cgroup");
        assert.equal(info.programId, object.program("refuse4").info.id);
        assert.deepEqual(queryCgroup(directory, AttachType.CGROUP_INET4_CONNECT), [
          info.programId,
        ]);
      }
      assert.match(await dial(cgroup), /Connection refused/);
    });

    it("change their program in place", async () => {
      using cgroup = new TestCgroup();
      using object = load();
      using directory = openDirectory(cgroup.path);
      using link = BpfLink.attachCgroup(object.program("refuse4"), directory);
      link.update(object.program("allow4"));
      assert.match(await dial(cgroup), /Connection refused/);
    });

    it("outlive their handle when pinned, and end when detached", async () => {
      using bpffs = new TestBpffs();
      using cgroup = new TestCgroup();
      using object = load();
      const path = `${bpffs.path}/connect4`;
      {
        using directory = openDirectory(cgroup.path);
        using link = BpfLink.attachCgroup(object.program("refuse4"), directory);
        link.pin(path);
      }
      assert.match(await dial(cgroup), /Operation not permitted/);
      using found = BpfLink.openPinned(path);
      found?.detach();
      assert.match(await dial(cgroup), /Connection refused/);
      assert.equal(BpfLink.openPinned(`${bpffs.path}/nothing`), undefined);
    });

    it("say ENOLINK once the cgroup is gone", async () => {
      using object = load();
      let link: BpfLink;
      {
        using cgroup = new TestCgroup();
        using directory = openDirectory(cgroup.path);
        link = BpfLink.attachCgroup(object.program("refuse4"), directory);
      }
      using severed = link;
      // The kernel takes a removed cgroup apart in the background.
      await eventually("the cgroup is gone", () => {
        const info = severed.info();
        return info.kind === "cgroup" && info.cgroupId === 0n;
      });
      assert.throws(() => severed.update(object.program("allow4")), isSevered);
    });
  });

  describe("on a network namespace", () => {
    it("drop what sk_lookup drops, there and nowhere else", async () => {
      await using netns = await TestNetns.create();
      using object = load();
      using listener = withNetns(
        netns.fd,
        () => Deno.listen({ hostname: "127.0.0.1", port: 4445 }),
      );
      const dial = () =>
        shellError("exec 3<>/dev/tcp/127.0.0.1/4445", "ip", "netns", "exec", netns.name);
      assert.equal(await dial(), "");
      using link = BpfLink.attachNetns(object.program("drop_lookup"), netns.fd);
      assert.match(await dial(), /Connection refused/);
      const info = link.info();
      assert.ok(info.kind === "netns");
      assert.equal(info.netnsInode, netnsIdentity(netns.fd).inode);
      link.detach();
      assert.equal(await dial(), "");
      assert.equal(listener.addr.transport, "tcp");
    });

    it("say ENOLINK once the namespace is gone", async () => {
      using object = load();
      await using netns = await TestNetns.create();
      using link = BpfLink.attachNetns(object.program("drop_lookup"), netns.fd);
      link.update(object.program("drop_lookup"));
      await netns.remove();
      await eventually("the namespace is gone", () => {
        const info = link.info();
        return info.kind === "netns" && info.netnsInode === 0;
      });
      assert.throws(() => link.update(object.program("drop_lookup")), isSevered);
      link.detach();
    });
  });

  describe("on an interface", () => {
    async function veth(netns: TestNetns): Promise<number> {
      await run(
        "ip",
        "-n",
        netns.name,
        "link",
        "add",
        "ve0",
        "type",
        "veth",
        "peer",
        "name",
        "ve1",
      );
      const found = withNetns(netns.fd, () => listLinks().find((link) => link.name === "ve0"));
      assert.ok(found);
      return found.ifindex;
    }

    it("run in the order that was asked for", async () => {
      await using netns = await TestNetns.create();
      using object = load();
      const ifindex = await veth(netns);
      withNetns(netns.fd, () => {
        const attachType = AttachType.TCX_INGRESS;
        const [pass, emit] = [object.program("pass_tcx"), object.program("emit")];
        using last = BpfLink.attachTcx(pass, ifindex);
        using first = BpfLink.attachTcx(emit, ifindex, { attachType, position: "first" });
        assert.deepEqual(queryTcx(ifindex, attachType), [emit.info.id, pass.info.id]);
        assert.deepEqual(queryTcx(ifindex, AttachType.TCX_EGRESS), []);
        const info = first.info();
        assert.ok(info.kind === "tcx");
        assert.equal(info.ifindex, ifindex);
        last.detach(); // a program can be on a hook only once
        first.update(pass);
        assert.deepEqual(queryTcx(ifindex, attachType), [pass.info.id]);
      });
    });

    it("say ENOLINK once the interface is gone", async () => {
      await using netns = await TestNetns.create();
      using object = load();
      const ifindex = await veth(netns);
      using link = withNetns(
        netns.fd,
        () => BpfLink.attachTcx(object.program("pass_tcx"), ifindex),
      );
      await run("ip", "-n", netns.name, "link", "del", "ve0");
      assert.throws(() => link.update(object.program("pass_tcx")), isSevered);
    });

    it("have a stand-in on kernels without TCX", async () => {
      await using netns = await TestNetns.create();
      using object = load();
      const ifindex = await veth(netns);
      const place = { ifindex, point: ClsactPoint.INGRESS, priority: 1, handle: 1 };
      withNetns(netns.fd, () => {
        assert.equal(queryClsact(place), undefined);
        attachClsact(object.program("pass_tcx"), place);
        attachClsact(object.program("emit"), place); // replaces
        assert.equal(queryClsact(place), object.program("emit").info.id);
        assert.equal(detachClsact(place), true);
        assert.equal(detachClsact(place), false);
      });
    });
  });
});
