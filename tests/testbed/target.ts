/**
 * What a user may name as the place of a command: a node, a pod as "namespace/name", or "outside".
 *
 * @module
 */
import { processPlace } from "./host/agent.ts";
import { isAlive, type Place, TestbedError } from "./host/process.ts";
import { findNode, findPod, netnsPath, type TestbedState } from "./state.ts";

/** Where a command for `target` runs: for a pod, inside its sandbox. */
export function placeOf(state: TestbedState, target: string): Place {
  if (!target.includes("/")) return hostPlace(state, target);
  const pod = findPod(state, target);
  // Its process id may have been used again.
  if (!isAlive(pod.sandboxPid, pod.cgroup)) {
    throw new TestbedError(`Cannot enter pod "${target}": its sandbox has been killed`);
  }
  return { cgroup: pod.cgroup, sandbox: pod.sandboxPid };
}

/** Where packets of `target` are captured: its network namespace, none of its other ones. */
export function capturePlace(state: TestbedState, target: string): Place {
  const { netns } = target.includes("/") ? findPod(state, target) : hostPlace(state, target);
  return { cgroup: `${state.cgroup}/captures`, netns };
}

function hostPlace(state: TestbedState, target: string): Place & { netns: string } {
  if (target !== "outside") return processPlace(findNode(state, target), "host");
  return { cgroup: `${state.cgroup}/outside`, netns: netnsPath(state, "outside") };
}
