/**
 * The page of the image `nginxdemos/hello:plain-text`, served by the host's nginx: no image can be
 * pulled here, and what the page says (which server, which name, which request) is what is looked
 * at.
 * Each pod has an nginx of its own, with all of its files in the pod's directory; the access log
 * begins with the address of the client, as the application saw it.
 *
 * @module
 */

/** Writes the configuration and returns the command and the log. */
export async function prepareHello(
  directory: string,
  ports: readonly number[],
): Promise<{ command: string[]; accessLog: string }> {
  const file = `${directory}/nginx.conf`;
  const accessLog = `${directory}/access.log`;
  await Deno.mkdir(`${directory}/nginx`, { recursive: true });
  await Promise.all([
    Deno.writeTextFile(file, configuration(directory, accessLog, ports)),
    Deno.writeTextFile(accessLog, ""),
  ]);
  const errorLog = `${directory}/error.log`;
  return { command: ["nginx", "-p", directory, "-e", errorLog, "-c", file], accessLog };
}

function configuration(directory: string, accessLog: string, ports: readonly number[]): string {
  const scratch = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  return `user root;
daemon off;
worker_processes 1;
worker_rlimit_nofile 65536;
pid ${directory}/nginx/pid;
error_log ${directory}/error.log info;
events { worker_connections 16384; }
http {
  ${scratch.map((name) => `${name}_temp_path ${directory}/nginx/${name};`).join("\n  ")}
  log_format client '$remote_addr $remote_port $server_addr $server_port "$request" $status '
                    '$body_bytes_sent "$http_user_agent"';
  access_log ${accessLog} client;
  keepalive_requests 1000000;
  server {
    ${ports.map((port) => `listen ${port}; listen [::]:${port};`).join("\n    ")}
    location / {
      default_type text/plain;
      expires -1;
      return 200 '${PAGE}';
    }
  }
}
`;
}

/** What nginxdemos/hello:plain-text answers; nginx puts the variables in. */
const PAGE = [
  "Server address: $server_addr:$server_port",
  "Server name: $hostname",
  "Date: $time_local",
  "URI: $request_uri",
  "Request ID: $request_id",
  "",
].join("\\n");
