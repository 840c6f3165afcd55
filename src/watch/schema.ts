/**
 * The Kubernetes kinds, as far as weft reads them. In: a parsed document. Out: the fields that the
 * model needs, or what is wrong with them.
 *
 * Fields that weft does not read are not looked at: the API grows, and `null` means absent, as in
 * the API server. Fields that it reads are checked as strictly as the API server would, since files
 * have nobody else to check them.
 *
 * @module
 */

import { z } from "zod";
import { canonicalAddress, isUnroutable, parseCidr } from "../model/mod.ts";
import { labels, namespaceName, objectName, portNumber } from "./policy_schema.ts";

/** What every document starts with. */
export const header = z.object({ apiVersion: z.string().min(1), kind: z.string().min(1) });

/** `metadata` of every kind. */
export const metadata = z.object({
  name: objectName,
  namespace: namespaceName.nullish(),
  uid: z.string().nullish(),
  labels: labels.nullish(),
  annotations: z.record(z.string(), z.string()).nullish(),
  generation: z.int().nullish(),
  deletionTimestamp: z.string().nullish(),
});

const address = z.string().transform((text, context) => {
  const canonical = canonicalAddress(text);
  if (canonical !== undefined) return canonical;
  context.addIssue({ code: "custom", message: `"${text}" is no IP address` });
  return z.NEVER;
});

/** Of something that can be reached: not loopback, link-local, multicast or unspecified. */
const routable = address.refine((text) => !isUnroutable(text), {
  error: (issue) => `"${issue.input}" cannot be the address of a pod or node`,
});

const cidr = z.string().transform((text, context) => {
  const range = parseCidr(text);
  if (range !== undefined) return range;
  context.addIssue({ code: "custom", message: `"${text}" is no CIDR` });
  return z.NEVER;
});

/** Empty stands for absent, as in the API. */
const emptyOr = <Schema extends z.ZodType>(schema: Schema) => z.union([z.literal(""), schema]);

const protocol = z.enum(["TCP", "UDP", "SCTP"]).nullish();

export const container = z.object({
  ports: z.array(z.object({
    name: z.string().nullish(),
    containerPort: portNumber,
    protocol,
  })).nullish(),
});

const containers = z.array(container).nullish();

export const pod = z.object({
  spec: z.object({
    nodeName: emptyOr(objectName).nullish(),
    serviceAccountName: emptyOr(objectName).nullish(),
    serviceAccount: emptyOr(objectName).nullish(),
    hostNetwork: z.boolean().nullish(),
    containers,
    initContainers: containers,
  }).nullish(),
  status: z.object({
    phase: z.string().nullish(),
    podIP: emptyOr(routable).nullish(),
    podIPs: z.array(z.object({ ip: routable })).nullish(),
    conditions: z.array(z.object({ type: z.string(), status: z.string() })).nullish(),
  }).nullish(),
});

export const node = z.object({
  spec: z.object({
    podCIDR: emptyOr(cidr).nullish(),
    podCIDRs: z.array(cidr).nullish(),
  }).nullish(),
  status: z.object({
    addresses: z.array(z.object({ type: z.string(), address: z.string() })).nullish(),
  }).nullish(),
});

/** An address in `status.addresses` of a Node whose type says that it is one. */
export const nodeAddress = routable;

/** A name, or a number in quotes. */
const targetPortText = z.string().min(1).refine(
  (text) => !/^\d+$/.test(text) || (Number(text) >= 1 && Number(text) <= 65535),
  "must be a port's number or name",
);

export const service = z.object({
  spec: z.object({
    type: z.string().nullish(),
    clusterIP: emptyOr(z.union([z.literal("None"), routable])).nullish(),
    clusterIPs: z.array(z.union([z.literal("None"), routable])).nullish(),
    selector: labels.nullish(),
    publishNotReadyAddresses: z.boolean().nullish(),
    internalTrafficPolicy: z.enum(["Cluster", "Local"]).nullish(),
    ports: z.array(z.object({
      name: z.string().nullish(),
      port: portNumber,
      protocol,
      targetPort: z.union([portNumber, z.literal(0), targetPortText]).nullish(),
    })).nullish(),
  }).nullish(),
});

export const endpointSlice = z.object({
  addressType: z.enum(["IPv4", "IPv6", "FQDN"]),
  endpoints: z.array(z.object({
    addresses: z.array(z.string()).max(100),
    conditions: z.object({
      ready: z.boolean().nullish(),
      serving: z.boolean().nullish(),
      terminating: z.boolean().nullish(),
    }).nullish(),
    nodeName: z.string().nullish(),
  })).nullish(),
  ports: z.array(z.object({
    name: z.string().nullish(),
    port: portNumber.nullish(),
    protocol,
  })).nullish(),
});

/** An address of an endpoint of type IPv4 or IPv6. */
export const endpointAddress = routable;
