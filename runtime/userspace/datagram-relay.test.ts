/** Pairs of UDP ends over real sockets of loopback: what cannot be sent is refused, and never the end of the process. */
import * as dgram from "node:dgram";
import { once } from "node:events";
import { waitFor } from "../../test/support/wait";
import type { Endpoint } from "../netstack/options";
import { DatagramRelay } from "./datagram-relay";

const FROM: Endpoint = { address: "10.1.2.3", port: 4000 };
const TO: Endpoint = { address: "10.1.2.4", port: 53 };

function world() {
  const refused: string[] = [];
  const replies: number[] = [];
  const relay = new DatagramRelay({
    each: 2,
    total: 3,
    reply: (_from, _to, data) => void replies.push(data.length),
    refuse: (_from, to, reason) => void refused.push(`${to.port} ${reason}`),
  });
  return { relay, refused, replies };
}

describe("a datagram that cannot be sent is refused", () => {
  test.each([
    ["broadcast", { address: "255.255.255.255", port: 53 }, "53 admin"],
    ["an upstream whose name leads nowhere", { address: "nowhere.invalid", port: 53 }, "53 host"],
    ["port 0", { address: "127.0.0.1", port: 0 }, "53 port"],
    ["IPv6 where its scope has no way", { address: "fe80::1", port: 53 }, "53 host"],
  ])("%s", async (_what, end, word) => {
    const { relay, refused } = world();
    relay.forward("app", FROM, TO, Buffer.from("x"), () => [end]);
    await waitFor("the refusal", () => refused.length > 0);
    expect(refused).toEqual([word]);
    expect(relay.size).toBe(0);
    relay.close();
  });

  test("where there are several ends, after the last one; and where one works it gets what waited", async () => {
    const { relay, refused, replies } = world();
    const echo = dgram.createSocket("udp4");
    echo.on("message", (data, { port, address }) => echo.send(data, port, address));
    echo.bind(0, "127.0.0.1");
    await once(echo, "listening");
    const { port } = echo.address();
    const dead = { address: "255.255.255.255", port: 53 };
    relay.forward("app", FROM, TO, Buffer.from("first"), () => [dead, { address: "127.0.0.1", port }]);
    await waitFor("the reply", () => replies.length > 0);
    expect(refused).toEqual([]);
    relay.forward("app", FROM, { ...TO, port: 54 }, Buffer.from("x"), () => [dead, dead]);
    await waitFor("the refusal", () => refused.length > 0);
    expect([refused, relay.size]).toEqual([["54 admin"], 1]);
    relay.close();
    echo.close();
  });
});
