/**
 * Network policies of CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy and NetworkPolicy, read
 * and checked. The door of the folder. It brings in zod and yaml.
 *
 * @module
 */

export {
  type DocumentRef,
  type PolicyDocument,
  type PolicyDocumentOptions,
  readPolicyDocument,
} from "./document.ts";
export { type FileDocument, readDocuments } from "./files.ts";
export { type PolicyDocumentReport, validateDocument } from "./validate.ts";
export { type Remark, worldOf, type WorldOfDocuments } from "./world.ts";
