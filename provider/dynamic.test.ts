import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { type Control, createControl } from "../runtime/control";
import { home, prepareHome } from "../runtime/home";
import { app } from "./core/app";
import { network } from "./core/network";
import { peer } from "./core/peer";
import { type DynamicProvider, dynamicProvider } from "./dynamic";
import { hidden } from "./testing/context";

let dir: string;
let socket: string;
let control: Control | undefined;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "warren-dynamic-"));
  socket = home(dir).controlSocket;
});
afterEach(async () => {
  await control?.close();
  control = undefined;
  fs.rmSync(dir, { recursive: true, force: true });
});

async function configured(crud: Parameters<typeof dynamicProvider>[0], values: object): Promise<DynamicProvider> {
  const provider = dynamicProvider(crud);
  await provider.configure({ config: { get: (key) => (values as Record<string, string>)[key] } });
  return provider;
}

const inputs = { name: "shop", cidr: "10.1.2.0/24", ...hidden("Network", "shop") };

it("asks the control that warren:controlUrl names", async () => {
  const place = home(dir);
  prepareHome(place);
  control = createControl({ home: place });
  await control.listen();
  const provider = await configured(network, { "warren:controlUrl": `unix:${socket}` });
  const checked = await provider.check({}, inputs);
  expect(checked.failures).toEqual([]);
  const { id, outs } = await provider.create(checked.inputs);
  expect(control.registry.network("shop")).toMatchObject({ id, registryId: outs.registryId });
  expect((await provider.diff(id, outs, checked.inputs)).changes).toBe(false);
  expect((await provider.read(id, outs)).id).toBe(id);
});

it.each([
  ["Network", network],
  ["Peer", peer],
  ["App", app],
] as const)("%s: a control that cannot be reached is never taken for an object that is gone", async (kind, crud) => {
  const provider = await configured(crud, { "warren:controlUrl": `unix:${socket}` });
  const props = { registryId: "reg_1", networkId: "net_1", ...hidden(kind, "shop") };
  const unreachable = expect.objectContaining({ code: "WARREN_CONTROL_UNREACHABLE" });
  await expect(provider.read("mem_1", props)).rejects.toEqual(unreachable);
  await expect(provider.read("mem_1", {})).rejects.toEqual(unreachable);
  await expect(provider.delete("mem_1", props)).rejects.toEqual(unreachable);
});

it("refuses warren:token, which nothing asks for yet, and a control on another machine", async () => {
  const withToken = await configured(network, { "warren:token": "secret" });
  await expect(withToken.check({}, inputs)).rejects.toMatchObject({
    code: "WARREN_INVALID_INPUT",
    message: expect.stringMatching(/^(?!.*secret).*pulumi config rm warren:token/),
  });
  const elsewhere = await configured(network, { "warren:controlUrl": "https://control.example.com" });
  await expect(elsewhere.check({}, inputs)).rejects.toMatchObject({ code: "WARREN_UNSUPPORTED" });
});
