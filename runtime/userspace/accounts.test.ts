import * as dgram from "node:dgram";
import { once } from "node:events";
import * as net from "node:net";
import { describeNeeding } from "../../test/support/needs";
import { accountOfPeer, accountOfSender, ownerIn } from "./accounts";

const HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
const line = (local: string, uid: number, inode: number) =>
  `  1: ${local} 00000000:0000 07 00000000:00000000 00:00000000 00000000 ${uid}        0 ${inode} 2 0000000000000000 0`;

test("an account is the one that all matching sockets have; else nobody is named", () => {
  const table = [
    HEAD,
    line("0100007F:1F90", 1000, 1),
    line("00000000:1F90", 1000, 2),
    line("0100007F:0035", 0, 0),
  ].join("\n");
  const owner = (tables: string[], end: string) => ownerIn(tables, (local) => local.endsWith(end));
  expect(owner([table], ":1F90")).toBe(1000);
  expect(owner([table], ":0035")).toBe("gone");
  expect(owner([table], ":0036")).toBe("gone");
  expect(owner([table, `${HEAD}\n${line("00000000:1F90", 33, 3)}`], ":1F90")).toBe("gone");
  expect(owner(["", "x\ny z"], "")).toBe("gone");
});

describeNeeding(["linux"], "on this machine", () => {
  it("is this process's own for its own sockets, however they are bound", async () => {
    const mine = process.getuid!();
    const server = net.createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const client = net.connect((server.address() as net.AddressInfo).port, "127.0.0.1");
    const [socket] = (await once(server, "connection")) as [net.Socket];
    expect(accountOfPeer(socket)).toBe(mine);
    client.destroy();
    await once(socket.resume(), "close");
    expect(accountOfPeer(socket)).toBe("gone");
    server.close();
    for (const [type, address] of [
      ["udp4", "127.0.0.1"],
      ["udp4", "0.0.0.0"],
      ["udp6", "::"],
    ] as const) {
      const sender = dgram.createSocket(type).bind(0, address);
      await once(sender, "listening");
      const { port } = sender.address();
      expect([address, accountOfSender({ address: "127.0.0.1", port })]).toEqual([address, mine]);
      expect([address, accountOfSender({ address: "127.0.0.5", port })]).toEqual([address, "gone"]);
      sender.close();
    }
  });

  it("is not that of the same port of another address of loopback", async () => {
    const server = net.createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as net.AddressInfo;
    const client = net.connect(port, "127.0.0.1");
    await once(server, "connection");
    const other = net.connect({ port, host: "127.0.0.1", localAddress: "127.0.0.5", localPort: client.localPort! });
    const [socket] = (await once(server, "connection")) as [net.Socket];
    expect([socket.remotePort, accountOfPeer(socket)]).toEqual([client.localPort, "gone"]);
    for (const one of [client, other]) one.destroy();
    server.close();
  });
});
