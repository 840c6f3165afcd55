/**
 * Step 7: the agent dies without a word. What it has put into the kernel goes on; STRICT stays
 * shut, the node's own probes and servers notice nothing, and a new agent takes over what it finds.
 *
 * @module
 */
import { checkNamed, checkRefused, checkSilent, logLines, segmentsTo } from "../look.ts";
import { Recording } from "../recording.ts";
import type { Scene } from "../scene.ts";
import type { Step, Told } from "../step.ts";
import { payloadBytes, segmentsOf } from "../wire.ts";
import { count } from "../words.ts";
import { CURL_LINES } from "./plain.ts";

const BANNER = "SSH-2.0-OpenSSH_9.2p1";
const BANNER_PORT = 2222;

/** What the sabotage of this step breaks or must not break; see sabotage.ts. */
export const AGENT_DIES_CHECKS = {
  refused: "plaintext from outside: refused",
  noPayload: "capture: no payload enters the pod",
  silent: "the application's log: nothing",
  probe: "a probe from the node: answered",
} as const;

/** 7. */
export const AGENT_DIES: Step = {
  number: 7,
  title: "The agent is killed: STRICT stays shut, the node stays reachable",
  needs: ["policy", "enrolled"],
  async play(scene, told) {
    const bed = scene.one;
    const { agentPid: oldPid } = await bed.node("node-1");
    const { addresses: [nodeAddress = ""] } = await bed.node("node-1");
    await using server = await Recording.start(bed, "node-1", {
      port: BANNER_PORT,
      banner: BANNER,
    });
    const reachServer = () => reach(scene, told, nodeAddress, server.port);
    const openBefore = await reachServer();
    told.screen.command("$", "testbed kill node-1 KILL");
    await bed.kill("node-1", "KILL");
    await told.at("agent-killed");

    await checkShut(scene, told);
    await checkProbe(scene, told);
    const openAfter = await reachServer();
    told.check(
      "a server of the node's: answers as before",
      openBefore === BANNER && openAfter === BANNER,
      openAfter || "nothing",
    );

    told.screen.command("$", "testbed start node-1");
    await bed.start("node-1");
    const { agentPid: newPid } = await bed.node("node-1");
    const before = await logLines(bed, "default/backend");
    const curl = ["curl", "-v", "http://backend:80"];
    const ran = await scene.run(told, bed, "default/frontend", curl, { show: CURL_LINES });
    told.check(
      "a new agent, nothing applied again: mTLS",
      ran.code === 0 && oldPid !== newPid,
      /Server name: .*/.exec(ran.stdout)?.[0] ?? `curl ends with status ${ran.code}`,
    );
    const frontend = await bed.pod("default/frontend");
    const lines = (await logLines(bed, "default/backend")).slice(before.length);
    checkNamed(told, lines, frontend.addresses, "the application's log: frontend");
  },
};

/** Nobody gets in: not from outside, and not the enrolled frontend in plaintext. */
async function checkShut(scene: Scene, told: Told): Promise<void> {
  const bed = scene.one;
  const { addresses: [address = ""] } = await bed.pod("default/backend");
  const before = await logLines(bed, "default/backend");
  await using arrived = await bed.capture("default/backend", { filter: "tcp port 80" });
  const { refused, noPayload } = AGENT_DIES_CHECKS;
  const url = `http://${address}`;
  const ran = await scene.run(told, bed, "outside", ["curl", "-v", url], {
    show: CURL_LINES,
  });
  checkRefused(told, ran, refused);
  const curl = ["curl", "-v", "http://backend:80"];
  const mesh = await scene.run(told, bed, "default/frontend", curl, { show: CURL_LINES });
  checkRefused(told, mesh, "from frontend: refused, not sent in clear");
  const segments = segmentsTo(await segmentsOf(arrived), address, 80);
  told.check(
    noPayload,
    payloadBytes(segments) === 0,
    `${count(segments.length, "segment")} to port 80, ${count(payloadBytes(segments), "byte")}`,
  );
  await checkSilent(told, bed, "default/backend", before);
}

async function checkProbe(scene: Scene, told: Told): Promise<void> {
  const { addresses } = await scene.one.pod("default/backend");
  const [address = ""] = addresses;
  const format = ["-o", "/dev/null", "-w", "%{http_code}\\n"];
  const ran = await scene.run(told, scene.one, "node-1", [
    ...["curl", "-sS", ...format, `http://${address}`],
  ], { as: `curl -sw '%{http_code}' http://${address}` });
  told.check(
    AGENT_DIES_CHECKS.probe,
    ran.code === 0 && ran.stdout.trim() === "200",
    ran.code === 0 ? `status ${ran.stdout.trim()}` : `curl ends with status ${ran.code}`,
  );
}

/** The first line that a server on the node says to a host outside. */
async function reach(scene: Scene, told: Told, address: string, port: number): Promise<string> {
  const script =
    `exec 3<>/dev/tcp/${address}/${port} && read -r line <&3 && echo "\${line%$'\\r'}"`;
  const ran = await scene.run(told, scene.one, "outside", ["bash", "-c", script], {
    as: `nc ${address} ${port}`,
    timeoutMs: 3000,
  });
  return ran.stdout.trim();
}
