/** The example existing-service on the embedded engine: what runs already gets an address and a name. */
import * as net from "node:net";
import { describeNeeding } from "../support/needs";
import { useScratch } from "../support/scratch";
import { NOTHING, Stage, values } from "./stage";

describeNeeding(["linux", "tun", "ip", "curl"], "existing-service", () => {
  const stage = new Stage(useScratch(), { env: { WARREN_LINK: "tun" } });
  const dir = stage.copy("existing-service");
  const upstream = net.createServer((socket) => socket.end());
  beforeAll(() => new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve)));
  afterAll(() => new Promise((resolve) => upstream.close(resolve)));

  it("is reached by its address and name, at its port inside", async () => {
    const config = ["-c", `upstream=127.0.0.1:${(upstream.address() as net.AddressInfo).port}`];
    const expected = { databaseIp: "10.30.0.3", databaseHost: "database.internal", clientIp: "10.30.0.4" };
    expect(values(await stage.stack("preview", dir, ...config))).toEqual(expected);
    expect(values(await stage.stack("up", dir, ...config))).toEqual(expected);
    expect(await stage.curlFrom("client", "http://client.internal:8080")).toBe(
      "connected to database.internal (10.30.0.3)\n",
    );
    expect((await stage.stack("up", dir, ...config)).counts).toMatchObject(NOTHING);
    await stage.stack("destroy", dir);
    expect(await stage.json("networks")).toEqual([]);
  }, 300_000);
});
