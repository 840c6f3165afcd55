/**
 * The peers: nginx and haproxy as two TCP hops with mutual TLS 1.3, as people set them up by hand.
 *
 * In: certificates, the address of the server's node, the cipher that weft negotiates. Out: for
 * each peer the configuration of both hops. Invariant: every peer has the same cipher, key type,
 * mutual verification, session resumption and number of threads that weft has.
 *
 * The client's hop listens on the pod's own loopback and speaks TLS to the server's hop, which
 * speaks plaintext to the application over loopback: the path that weft's relays have.
 *
 * @module
 */
import { SERVER_NAME } from "./certificates.ts";

/** A way to proxy, with buffers as shipped or of 64 KiB. */
export interface Peer {
  readonly name: PeerName;
  /** Ports of both hops: for HTTP, for iperf3. */
  readonly ports: Ports;
  /** Its command, given the file in which its configuration is. */
  readonly command: (file: string) => readonly string[];
  readonly configure: (side: Side, context: PeerContext) => string;
}

export type PeerName = "nginx" | "nginx-64k" | "haproxy" | "haproxy-64k";
export type Side = "client" | "server";

/** Where the two kinds of load go. */
export interface Ports {
  readonly http: number;
  readonly iperf: number;
}

/** What configurations are made from. */
export interface PeerContext {
  /** where the certificates are, and pid files go */
  readonly directory: string;
  /** address of the pod with the servers */
  readonly server: string;
  /** name of the TLS 1.3 cipher suite */
  readonly cipher: string;
  /** of each hop */
  readonly threads: number;
}

/** Ports on which the applications listen. */
export const APPLICATION: Ports = { http: 8080, iperf: 5201 };
/** Connections that each program must be able to hold. */
export const CONNECTIONS_MAX = 8192;

export const PEERS: readonly Peer[] = [
  nginx("nginx", { http: 9001, iperf: 9002 }, ""),
  nginx("nginx-64k", { http: 9011, iperf: 9012 }, "proxy_buffer_size 64k;"),
  haproxy("haproxy", { http: 9021, iperf: 9022 }, ""),
  haproxy("haproxy-64k", { http: 9031, iperf: 9032 }, "tune.bufsize 65536"),
];

/** The HTTP server behind all: a short fixed response, no log. */
export function applicationConfiguration(directory: string, name: string): string {
  return `daemon off; pid ${directory}/${name}.pid; error_log ${directory}/${name}.log;
user root; worker_processes auto; worker_rlimit_nofile ${2 * CONNECTIONS_MAX};
events { worker_connections ${CONNECTIONS_MAX}; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600;
  client_body_temp_path ${directory}/${name}-body; proxy_temp_path ${directory}/${name}-proxy;
  server { listen [::]:${APPLICATION.http} ipv6only=off backlog=4096; return 200 "hello\\n"; }
}
`;
}

function nginx(name: PeerName, ports: Ports, tuning: string): Peer {
  return {
    name,
    ports,
    command: (file) => ["nginx", "-c", file],
    configure: (side, { directory, server, cipher, threads }) => {
      const hops = (Object.keys(ports) as (keyof Ports)[]).map((kind) =>
        side === "client"
          ? `server { listen 127.0.0.1:${ports[kind]} backlog=4096;
    proxy_pass ${server}:${ports[kind]}; ${nginxClient(directory, cipher)} }`
          : `server { listen ${ports[kind]} ssl backlog=4096;
    proxy_pass 127.0.0.1:${APPLICATION[kind]}; ${nginxServer(directory, cipher)} }`
      );
      return `daemon off; pid ${directory}/${name}-${side}.pid;
error_log ${directory}/${name}-${side}.log;
user root; worker_processes ${threads}; worker_rlimit_nofile ${2 * CONNECTIONS_MAX};
${NGINX_STREAM}
events { worker_connections ${CONNECTIONS_MAX}; }
stream {
  proxy_timeout 600s; ${tuning}
  ${hops.join("\n  ")}
}
`;
    },
  };
}

/** Debian ships the module for layer 4 in a package of its own. */
const NGINX_STREAM = "load_module modules/ngx_stream_module.so;";

function nginxClient(directory: string, cipher: string): string {
  return `
    proxy_ssl on; proxy_ssl_protocols TLSv1.3; proxy_ssl_conf_command Ciphersuites ${cipher};
    proxy_ssl_certificate ${directory}/client.crt;
    proxy_ssl_certificate_key ${directory}/client.key;
    proxy_ssl_trusted_certificate ${directory}/ca.crt; proxy_ssl_verify on;
    proxy_ssl_name ${SERVER_NAME};`;
}

function nginxServer(directory: string, cipher: string): string {
  return `
    ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites ${cipher};
    ssl_certificate ${directory}/server.crt; ssl_certificate_key ${directory}/server.key;
    ssl_client_certificate ${directory}/ca.crt; ssl_verify_client on;
    ssl_session_cache shared:sessions:8m;`;
}

function haproxy(name: PeerName, ports: Ports, tuning: string): Peer {
  return {
    name,
    ports,
    command: (file) => ["haproxy", "-db", "-f", file],
    configure: (side, { directory, server, cipher, threads }) => {
      const hops = (Object.keys(ports) as (keyof Ports)[]).map((kind) =>
        side === "client"
          ? `listen ${kind}
  bind 127.0.0.1:${ports[kind]} backlog 4096
  server far ${server}:${
            ports[kind]
          } ssl crt ${directory}/client.pem ca-file ${directory}/ca.crt ` +
            `verify required verifyhost ${SERVER_NAME}`
          : `listen ${kind}
  bind :${ports[kind]} backlog 4096 ssl crt ${directory}/server.pem ca-file ${directory}/ca.crt ` +
            `verify required
  server application 127.0.0.1:${APPLICATION[kind]}`
      );
      return `global
  maxconn ${CONNECTIONS_MAX}
  nbthread ${threads}
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-server-options ssl-min-ver TLSv1.3
  ssl-default-bind-ciphersuites ${cipher}
  ssl-default-server-ciphersuites ${cipher}
  ${tuning}
defaults
  mode tcp
  timeout connect 10s
  timeout client 600s
  timeout server 600s
${hops.join("\n")}
`;
    },
  };
}
