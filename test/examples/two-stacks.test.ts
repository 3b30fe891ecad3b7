/** The example two-stacks on the embedded engine: an app of another stack joins the network, and keeps it alive. */
import { describeNeeding } from "../support/needs";
import { useScratch } from "../support/scratch";
import { NOTHING, Stage, values } from "./stage";

describeNeeding(["linux", "tun", "ip", "curl"], "two-stacks", () => {
  const stage = new Stage(useScratch());
  const platform = stage.copy("two-stacks/platform");
  const service = stage.copy("two-stacks/service");

  it("shares the network until the last stack has left it", async () => {
    expect(values(await stage.stack("up", platform))).toEqual({
      networkId: expect.stringMatching(/./),
      clockUrl: "http://clock.internal:8080",
    });
    expect(values(await stage.stack("preview", service))).toMatchObject({ readerIp: "10.20.0.4" });
    expect(values(await stage.stack("up", service))).toEqual({
      readerIp: "10.20.0.4",
      readerUrl: "http://reader.internal:8080",
    });
    expect(await stage.curlFrom("reader", "http://reader.internal:8080")).toMatch(/^The clock says \d{4}-\d\d-\d\dT/);
    expect((await stage.stack("up", service)).counts).toMatchObject(NOTHING);

    const refused = await stage.warren(["destroy", platform], { mayFail: true });
    expect(refused.code).toBe(1);
    expect(refused.stdout + refused.stderr).toMatch(/reader .*two-stacks-service/);
    // Its own members may be gone by then, as with any destroy that fails midway; the other stack's has not been touched.
    expect((await stage.warren(["peers", "--app"])).stdout).toMatch(/shared +reader +local +10\.20\.0\.4/);
    expect((await stage.stack("up", platform)).counts).toMatchObject({ delete: 0, replace: 0 });
    expect(await stage.curlFrom("reader", "http://reader.internal:8080")).toMatch(/^The clock says/);

    await stage.stack("destroy", service);
    await stage.stack("destroy", platform);
    expect(await stage.json("networks")).toEqual([]);
  }, 300_000);
});
