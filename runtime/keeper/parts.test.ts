/** The keeper's parts that need no process. */
import * as fs from "node:fs";
import { useScratch } from "../../test/support/scratch";
import { findAccount } from "./account";
import { APP_BACKOFF, nextWait } from "./backoff";
import { explainSetupFailure } from "./capabilities";
import { etcFiles } from "./etc";
import { lineReader } from "./lines";
import { LogFile, type LogIo, Tail } from "./log-file";
import { isPrivileged } from "./privilege";
import { withoutGuests } from "./strays";
import { Supervisor, type SupervisorIo } from "./supervisor";

const scratch = useScratch();

test("waits double up to the longest and begin anew after a long run", () => {
  const waits = [];
  for (let wait = 0, i = 0; i < 9; i++) {
    wait = nextWait(APP_BACKOFF, wait, 10);
    waits.push(wait);
  }
  expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
  expect(nextWait(APP_BACKOFF, 60_000, 60_000)).toBe(1000);
});

test("name-service files ask only the given servers and keep the rest of the host's nsswitch.conf", () => {
  const spec = { nameservers: ["10.1.2.2", "fd00::2"], searchDomain: "internal", hosts: ["10.1.2.4 api.internal api"] };
  expect(etcFiles(spec, "passwd: files systemd\nhosts: mymachines resolve [!UNAVAIL=return] files\n\n", "box")).toEqual(
    {
      "resolv.conf": "search internal\nnameserver 10.1.2.2\nnameserver fd00::2\n",
      "nsswitch.conf": "passwd: files systemd\nhosts: files dns\n",
      hosts:
        "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 box\n10.1.2.4 api.internal api\n",
    },
  );
});

test("lines come whole, whatever the chunks", () => {
  const lines: string[] = [];
  const read = lineReader((line) => lines.push(line));
  for (const byte of Buffer.from("ä\n\nbc\nrest")) read(Buffer.from([byte]));
  expect(lines).toEqual(["ä", "bc"]);
  expect(() => read(Buffer.alloc(5 << 20, "x"))).toThrow(RangeError);
});

test("the tail is the last 20 lines, bounded also where a line has no end", () => {
  const tail = new Tail();
  for (let i = 1; i <= 30; i++) tail.append(Buffer.from(`line ${i}\n`));
  expect(tail.text().split("\n")).toEqual(Array.from({ length: 20 }, (_, i) => `line ${i + 11}`));
  tail.append(Buffer.alloc(1 << 20, "x"));
  expect(tail.text().length).toBe(8192);
});

test("the tail steers no terminal", () => {
  const tail = new Tail();
  tail.append(Buffer.from("\u001b[31mred\u001b[0m\ttab\u001b]0;title\u0007\u0007\u001bc\r\nnext \u009b2J"));
  expect(tail.text()).not.toMatch(/(?![\n\t])\p{Cc}/u);
  expect(tail.text()).toMatch(/^red\ttab.*\nnext/);
});

test("a full disk costs output and one warning; the log goes on when there is room, and says what is missing", () => {
  let full = false;
  let now = 0;
  const io: LogIo = {
    write(fd, data) {
      if (full) throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
      return fs.writeSync(fd, data);
    },
    now: () => now,
  };
  const warnings: string[] = [];
  const file = scratch.file("full.log");
  const log = new LogFile(file, 1000, (message) => warnings.push(message), io);
  log.append(Buffer.from("one\n"));
  full = true;
  log.append(Buffer.from("two\n"));
  now = 2000;
  log.append(Buffer.from("three\n"));
  full = false;
  log.append(Buffer.from("four\n"));
  now = 4000;
  log.append(Buffer.from("five\n"));
  log.close();
  expect(warnings).toHaveLength(1);
  expect(fs.readFileSync(file, "utf8")).toBe(
    "one\n[warren: 15 bytes of output were lost here: the log could not be written]\nfive\n",
  );
});

test("guests are what came in from a process that is none of the keeper's", () => {
  // 10: an orphan of the app (parent 1), 11 its child, 12: the keeper's child, 20: a shell of `warren exec` (900), 21 its child.
  const parents: Record<number, number> = { 10: 1, 11: 10, 12: process.pid, 20: 900, 21: 20, 900: 800, 800: 1 };
  expect(withoutGuests([10, 11, 12, 20, 21], (pid) => parents[pid] ?? 1)).toEqual([10, 11, 12]);
});

test("accounts are found by name and number", () => {
  const passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:1001:1002::/home/web:/bin/sh\n";
  expect(findAccount("web", passwd)).toEqual({ name: "web", uid: 1001, gid: 1002, listed: true });
  expect(findAccount("1001", passwd).name).toBe("web");
  expect(findAccount("4000000", passwd)).toEqual({ name: "4000000", uid: 4_000_000, gid: 4_000_000, listed: false });
  expect(() => findAccount("no user", passwd)).toThrow("The user no user does not exist on this machine.");
  // To setpriv the first means "as I am", and the second is 0: root with all its power.
  for (const user of ["4294967295", "4294967296", "42949672960"])
    expect(() => findAccount(user, passwd)).toThrow(`The user ${user} does not exist on this machine.`);
});

test("a root without capabilities is not privileged", () => {
  expect(isPrivileged("CapEff:\t00000000a80425fb\n")).toBe(false);
  expect(isPrivileged("CapEff:\t000001ffffffffff\n")).toBe(process.geteuid!() === 0);
});

test("the sentence for missing namespaces names the setting that forbids them", () => {
  const settings: Record<string, string> = { "kernel/apparmor_restrict_unprivileged_userns": "1" };
  const error = explainSetupFailure(
    "unshare: unshare failed: Operation not permitted\n",
    false,
    (name) => settings[name],
  );
  expect(error.code).toBe("WARREN_LINK_UNAVAILABLE");
  expect(error.message).toBe(
    'Apps cannot get a network namespace with a TUN device on this machine (unshare: unshare failed: Operation not permitted): as root run "sysctl kernel.apparmor_restrict_unprivileged_userns=0".',
  );
  expect(explainSetupFailure("no", true, () => undefined).message).toContain("CAP_SYS_ADMIN");
});

test("the daemon is started again with growing waits until it reports, and not after goodbye", () => {
  let now = 0;
  const timers: { run: () => void; ms: number; cleared: boolean }[] = [];
  const starts: (() => void)[] = [];
  const io: SupervisorIo = {
    start: (_, onEnd) => starts.push(onEnd),
    now: () => now,
    setTimer(run, ms) {
      const timer = { run, ms, cleared: false };
      timers.push(timer);
      return {
        clear: () => {
          timer.cleared = true;
        },
      };
    },
    log: () => {},
  };
  const supervisor = new Supervisor(io);
  const order = { command: ["warren"], env: {}, log: "/dev/null" };
  supervisor.lost();
  expect(timers).toHaveLength(0);
  supervisor.watch(order);
  supervisor.lost();
  supervisor.lost();
  expect(timers.map((t) => t.ms)).toEqual([200]);
  timers[0].run();
  starts[0]();
  timers[1].run();
  starts[1]();
  expect(timers.map((t) => t.ms)).toEqual([200, 400, 800]);
  supervisor.watch(order);
  expect(timers[2].cleared).toBe(true);
  // The child of a daemon that reported ends after its connection: said once.
  starts[1]();
  expect(timers).toHaveLength(3);
  now = 60_000;
  supervisor.lost();
  expect(timers[3].ms).toBe(200);
  supervisor.forget();
  expect(timers[3].cleared).toBe(true);
  expect(supervisor.active).toBe(false);
});
