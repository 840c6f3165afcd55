/**
 * The outside world becomes Changes (stage 1 of the pipeline). The door of the folder. It brings in
 * zod and yaml: commands that need no source should not import it at start.
 *
 * @module
 */

export { type DirectoryOptions, watchDirectory } from "./directory/directory.ts";
export {
  type Announcement,
  announceNode,
  hasOtherNodes,
  isForgotten,
  withdrawNode,
} from "./directory/nodes.ts";
export {
  MESH_POLICY_API_VERSION,
  meshPolicySpec,
  WEFT_NODE_API_VERSION,
  weftNodeSpec,
} from "./policy_schema.ts";
