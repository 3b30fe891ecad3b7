import * as os from "node:os";
import { Outside } from "./outside";

jest.mock("node:os", () => ({ ...jest.requireActual<typeof os>("node:os"), networkInterfaces: jest.fn() }));

const interfaces = jest.mocked(os.networkInterfaces);
const lan = [{ address: "192.168.7.2", cidr: "192.168.7.2/24", family: "IPv4" } as os.NetworkInterfaceInfoIPv4];
const failing = () => {
  throw Object.assign(new Error("uv_interface_addresses returned EMFILE"), { code: "ERR_SYSTEM_ERROR" });
};

test("while nobody can say which addresses are the machine's own, all is closed; then what was known last holds", () => {
  jest.useFakeTimers();
  const outside = new Outside(["192.168.7.9/32"]);
  interfaces.mockImplementation(failing);
  expect(["203.0.113.9", "192.168.7.9"].map((address) => outside.allows(address))).toEqual([false, false]);
  jest.advanceTimersByTime(3_600_000);
  interfaces.mockReturnValue({ eth0: lan });
  const judged = () => ["203.0.113.9", "192.168.7.9", "192.168.7.2"].map((address) => outside.allows(address));
  expect(judged()).toEqual([true, true, false]);
  jest.advanceTimersByTime(3_600_000);
  interfaces.mockImplementation(failing);
  expect(judged()).toEqual([true, true, false]);
  jest.useRealTimers();
});
