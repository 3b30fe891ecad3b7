import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { mergeConfig, readProject } from "./project";
import { Crypter, SecretCodec } from "./secrets";
import { makeSecret } from "./values";

/** Written by `pulumi config set --secret` (real CLI, passphrase provider). */
const PASSPHRASE = "correct horse";
const SALT = "v1:PZWOkLLE+sA=:v1:HlDJzZI5gbcd9XNH:iLoVVplrAAmOQxZ5uYVdi8Qmi7r3tg==";
const HELLO = "v1:4P/EvMFboYyPqz1c:X7rI+aHIDNXSpEDtF5XddPUXNcPb7yM7FbYYOVs=";
const INNER = "v1://5H/JJMsCqWaXkl:lpOoee7c4PpErKd2sqf/0wEIbYKE";

test("decrypts what Pulumi encrypted, and refuses another passphrase", async () => {
  const crypter = await Crypter.open(PASSPHRASE, SALT);
  expect(crypter.decrypt(HELLO)).toBe("hello, wörld");
  await expect(Crypter.open("wrong", SALT)).rejects.toMatchObject({ code: "ENGINE_PASSPHRASE" });
  await expect(Crypter.open(PASSPHRASE, "v2:x")).rejects.toMatchObject({ code: "ENGINE_STATE" });
  const [version, nonce, sealed] = crypter.encrypt("").split(":");
  const cut = Buffer.from(sealed, "base64").subarray(0, 4).toString("base64");
  expect(() => crypter.decrypt([version, nonce, cut].join(":"))).toThrow(/passphrase does not fit/);
  expect(() => crypter.decrypt(HELLO.replace("X7rI", "X7rJ"))).toThrow(
    expect.objectContaining({ code: "ENGINE_PASSPHRASE" }),
  );
});

test("an unchanged secret keeps its ciphertext; equal secrets elsewhere have another", async () => {
  const codec = new SecretCodec(await Crypter.open(PASSPHRASE, SALT));
  const map = { a: makeSecret("x"), list: [makeSecret("x")] };
  const written = codec.encryptMap(map, "place");
  expect(codec.encryptMap(map, "place")).toEqual(written);
  expect(JSON.stringify(written.a)).not.toBe(JSON.stringify((written.list as unknown[])[0]));
  const reader = new SecretCodec(await Crypter.open(PASSPHRASE, SALT));
  expect(reader.decryptMap(written, "place")).toEqual(map);
  expect(reader.encryptMap(map, "place")).toEqual(written);
});

test("configuration: defaults, the stack's values with Pulumi's secrets, overrides", async () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "engine-config-"));
  try {
    const yaml = [
      "name: vec",
      "runtime: {name: nodejs}",
      "config: {plain: {type: string}, size: {default: 3}, 'aws:region': eu, late: {type: string, secret: true, default: z}}",
    ];
    fs.writeFileSync(`${dir}/Pulumi.yaml`, yaml.join("\n"));
    await expect(async () => mergeConfig(readProject(dir, "dev"), {}, undefined)).rejects.toMatchObject({
      code: "ENGINE_PROJECT",
      message: expect.stringContaining('"vec:plain"'),
    });
    const stack = `encryptionsalt: ${SALT}\nconfig:\n  vec:k: {secure: "${HELLO}"}\n  vec:o: {p: [{secure: "${INNER}"}]}\n  vec:plain: "1"\n`;
    fs.writeFileSync(`${dir}/Pulumi.dev.yaml`, stack);
    const config = mergeConfig(readProject(dir, "dev"), { size: "4" }, await Crypter.open(PASSPHRASE, SALT));
    expect(config).toEqual({
      values: {
        "vec:k": "hello, wörld",
        "vec:o": '{"p":["inner"]}',
        "vec:plain": "1",
        "vec:size": "4",
        "vec:late": "z",
        "aws:region": "eu",
      },
      secretKeys: ["vec:k", "vec:late", "vec:o"],
    });
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});
