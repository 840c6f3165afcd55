/**
 * The objects of the model: what weft uses of each kind, checked and normalised (addresses in
 * canonical text, defaults filled in). They are not the API's shapes, so that an API may grow
 * without the model noticing; `watch/convert.ts` makes them.
 *
 * @module
 */

import type { Cidr } from "./address.ts";
import type { Mode, SameNode } from "./mode.ts";
import type { Labels, Selector } from "./selector.ts";

/** What all kinds have. */
interface Meta {
  readonly namespace: string;
  readonly name: string;
  /** Empty where the source gives none. */
  readonly uid: string;
  readonly labels: Labels;
}

export interface PodObject extends Meta {
  readonly kind: "Pod";
  /** `spec.nodeName`; empty while it is not scheduled. */
  readonly node: string;
  readonly serviceAccount: string;
  readonly hostNetwork: boolean;
  /** `status.podIPs` */
  readonly addresses: readonly string[];
  /** Succeeded or Failed: its namespace is gone and its addresses are free. */
  readonly finished: boolean;
  /** Has a deletion timestamp: it may still finish its work. */
  readonly terminating: boolean;
  /** Its Ready condition; true where it has none at all and its phase does not speak against it. */
  readonly ready: boolean;
  /** Annotation `mesh.cilium.io/own-certificate: "true"`. */
  readonly ownCertificate: boolean;
  /** Annotation `mesh.cilium.io/netns`: path of its network namespace (directory source only). */
  readonly netns?: string;
  /** Named ports of its containers. */
  readonly ports: readonly NamedPort[];
}

export interface NamedPort {
  readonly name: string;
  readonly port: number;
  readonly proto: string;
}

export interface NamespaceObject extends Meta {
  readonly kind: "Namespace";
}

export interface NodeObject extends Meta {
  readonly kind: "Node";
  readonly addresses: readonly string[];
  readonly podCidrs: readonly Cidr[];
}

export interface ServiceObject extends Meta {
  readonly kind: "Service";
  /** Empty for headless Services and ExternalName. */
  readonly clusterIps: readonly string[];
  readonly ports: readonly ServicePort[];
  /** Undefined: its EndpointSlices are made by somebody else. */
  readonly selector: Labels | undefined;
  readonly publishNotReady: boolean;
  /** `internalTrafficPolicy: Local` */
  readonly localOnly: boolean;
}

export interface ServicePort {
  /** Empty where it has none. */
  readonly name: string;
  readonly port: number;
  readonly proto: string;
  /** A number, or the name of a container's port. */
  readonly target: number | string;
}

export interface EndpointSliceObject extends Meta {
  readonly kind: "EndpointSlice";
  /** Of the label `kubernetes.io/service-name`; empty: of no Service. */
  readonly service: string;
  readonly ports: readonly SlicePort[];
  readonly endpoints: readonly SliceEndpoint[];
}

export interface SlicePort {
  readonly name: string;
  readonly port: number;
  readonly proto: string;
}

export interface SliceEndpoint {
  readonly addresses: readonly string[];
  readonly ready: boolean;
  /** Could answer although it is terminating. */
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly node: string;
}

export interface ServiceAccountObject extends Meta {
  readonly kind: "ServiceAccount";
}

/** A CiliumServiceMeshPolicy. */
export interface MeshPolicyObject extends Meta {
  readonly kind: "MeshPolicy";
  readonly target: {
    readonly namespace: string;
    readonly selector: Selector;
  };
  readonly mode: Mode;
  readonly sameNode: SameNode | undefined;
  /** By position in the document; no port twice. */
  readonly overrides: readonly PortOverride[];
}

export interface PortOverride {
  readonly port: number;
  readonly mode: Mode;
}

/** What the agent of one node announces. */
export interface WeftNodeObject extends Meta {
  readonly kind: "WeftNode";
  readonly node: string;
  /** Of the Node; empty where it has none. */
  readonly nodeUid: string;
  /** SHA-256 of the node issuer's certificate, in hex. */
  readonly issuerFingerprint: string;
  readonly datapathVersion: string;
  readonly ready: boolean;
}

export type ModelObject =
  | PodObject
  | NamespaceObject
  | NodeObject
  | ServiceObject
  | EndpointSliceObject
  | ServiceAccountObject
  | MeshPolicyObject
  | WeftNodeObject;
