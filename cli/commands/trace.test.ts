import { parseTo } from "./trace";

test.each([
  ["api", { host: "api", protocol: "tcp" }],
  ["api:80", { host: "api", port: 80, protocol: "tcp" }],
  ["10.1.2.5:53/udp", { host: "10.1.2.5", port: 53, protocol: "udp" }],
  ["fd00::5", { host: "fd00::5", protocol: "tcp" }],
  ["[fd00::5]:80/tcp", { host: "fd00::5", port: 80, protocol: "tcp" }],
])("%s", (text, parsed) => {
  expect(parseTo(text)).toEqual(parsed);
});

test.each(["", ":80", "api:0", "api:65536", "api/udp", "api:53/sctp", "[api]:80", "[::::]:80", "a b"])(
  "%j is nowhere",
  (text) => {
    expect(() => parseTo(text)).toThrow("write for instance");
  },
);
