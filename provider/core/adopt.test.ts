/** `warren:adopt`: members are made in another machine's registry only when somebody says that they are gone in the old one. */
import { Driven, hidden, World } from "../testing/context";
import { app } from "./app";
import { network } from "./network";
import { peer } from "./peer";

let world: World;
beforeEach(() => {
  world = new World();
});
afterEach(() => world.close());

it.each([
  ["Peer", peer, {}],
  ["App", app, { command: ["./server"] }],
] as const)("%s: rebuilt elsewhere, deleted elsewhere, only with warren:adopt", async (kind, crud, inputs) => {
  const net = new Driven(world, network);
  const netNews = { name: "shop", cidr: "10.1.2.0/24", ...hidden("Network", "shop") };
  await net.up(netNews);
  const news = () => ({
    ...{ name: "x", network: "shop", networkId: net.id, space: net.outs.space, before: [] },
    ...inputs,
    ...hidden(kind, "x"),
  });
  const member = new Driven(world, crud);
  await member.up(news());
  const { id } = member;
  const { registryId, privateIp, privateKey } = member.outs;

  world.newRegistry(true);
  world.adopt = String(registryId);
  await net.up(netNews);
  world.adopt = undefined;
  expect(await member.refresh()).toBe("kept");
  await expect(member.up(news())).rejects.toMatchObject({ code: "WARREN_FOREIGN_REGISTRY" });
  await expect(member.destroy()).rejects.toMatchObject({ code: "WARREN_FOREIGN_REGISTRY", path: "warren:adopt" });
  expect(world.registry.members()).toEqual([]);

  world.adopt = String(registryId);
  expect(await member.up(news())).toBe("update");
  expect(member.id).toBe(id);
  expect(member.outs).toMatchObject({ privateIp, registryId: world.registry.id });
  expect(member.outs.privateKey).toBe(privateKey);
  world.adopt = undefined;
  expect(await member.up(news())).toBe("same");
  await member.destroy();
  expect(world.registry.members()).toEqual([]);
});
