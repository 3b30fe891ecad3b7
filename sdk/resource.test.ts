import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { existingProps, providerText } from "./resource";

let dir: string;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "warren-sdk-"));
  jest.spyOn(process, "cwd").mockReturnValue(dir);
});
afterEach(() => {
  jest.restoreAllMocks();
  fs.rmSync(dir, { recursive: true, force: true });
});

it("refuses a project from which Pulumi could not load the provider, and says what to add", () => {
  expect(() => existingProps("App", [])).toThrow(
    expect.objectContaining({
      code: "WARREN_INVALID_INPUT",
      message: expect.stringMatching(`from ${dir}: add pulumi-warren to this project.*npm install pulumi-warren`),
    }),
  );
});

it("names the provider that it found in the project's node_modules", () => {
  const provider = path.join(dir, "node_modules", "pulumi-warren", "provider");
  fs.mkdirSync(provider, { recursive: true });
  fs.writeFileSync(path.join(provider, "app.js"), "");
  expect(existingProps("App", ["url"])).toEqual({ url: undefined, __provider: providerText("App") });
  // A contract: this line is in every state.
  expect(providerText("App")).toBe('exports.handler=()=>require("pulumi-warren/provider/app")');
});
