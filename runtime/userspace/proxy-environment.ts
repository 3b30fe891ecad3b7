/** How programs are told of an app's proxy: pure. */

export const PROXY_USER = "warren";

/** The environment that makes programs use the proxy. */
export function proxyEnvironment(port: number, secret: string): Record<string, string> {
  const authority = `${PROXY_USER}:${secret}@127.0.0.1:${port}`;
  const both = (name: string, value: string) => ({ [name]: value, [name.toLowerCase()]: value });
  return {
    WARREN_PROXY: `socks5h://${authority}`,
    ...both("ALL_PROXY", `socks5h://${authority}`),
    ...both("HTTP_PROXY", `http://${authority}`),
    ...both("HTTPS_PROXY", `http://${authority}`),
    ...both("NO_PROXY", "localhost,127.0.0.1,::1"),
    // Node takes these into account from 22.21 and 24.5 on.
    NODE_USE_ENV_PROXY: "1",
  };
}
