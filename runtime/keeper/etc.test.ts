import * as fs from "node:fs";
import { describeNeeding } from "../../test/support/needs";
import { useScratch } from "../../test/support/scratch";
import { describeAccounts, inside, makeHome, sandboxSpec, startKeeper } from "./testing/keepers";

/** An /etc of its own for the keeper's mount namespace, as other machines have it. */
const OWN_ETC = "mount -t tmpfs none /mnt; cp -a /etc/. /mnt/; mount --move /mnt /etc";

const IN_TMP = `/tmp/warren-test-resolv-${process.pid}`;

const MACHINES: [string, string][] = [
  [
    "resolv.conf leads to systemd-resolved",
    `mount -t tmpfs none /run; mkdir -p /run/systemd/resolve
     echo nameserver 127.0.0.53 >/run/systemd/resolve/stub-resolv.conf; : >/run/systemd/resolve/io.systemd.Resolve
     ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf`,
  ],
  ["resolv.conf leads nowhere", "ln -sf /run/none/resolv.conf /etc/resolv.conf"],
  ["resolv.conf and hosts are missing", "rm -f /etc/resolv.conf /etc/hosts"],
  ["resolv.conf leads into /tmp", `echo >${IN_TMP}; ln -sf ${IN_TMP} /etc/resolv.conf`],
  ["nsswitch.conf is missing", "rm -f /etc/nsswitch.conf"],
];

describeNeeding(["linux", "tun", "root"], "name-service files of a sandbox on a machine where", () => {
  const scratch = useScratch();
  afterAll(() => fs.rmSync(IN_TMP, { force: true }));
  let homes = 0;

  describe.each(MACHINES)("%s", (_, prepare) => {
    describeAccounts("for", (who) =>
      it("are its own", async () => {
        const h = makeHome(scratch, who, `etc-${homes++}`);
        const keeper = await startKeeper(scratch, who, h, {}, `${OWN_ETC}; ${prepare}`);
        await keeper.client.call("ensureSandbox", sandboxSpec("a.0"));
        expect(await inside(keeper, "a.0", "cat", "/etc/resolv.conf")).toBe("search internal\nnameserver 10.1.2.2\n");
        expect(await inside(keeper, "a.0", "cat", "/etc/hosts")).toContain("10.1.2.4 api.internal\n");
        expect(await inside(keeper, "a.0", "getent", "passwd", "nobody")).toMatch(/^nobody:/);
        expect(await inside(keeper, "a.0", "readlink", "-e", "/etc/localtime")).toBe(
          `${fs.realpathSync("/etc/localtime")}\n`,
        );
        await keeper.client.call("ensureSandbox", sandboxSpec("a.0", { nameservers: ["10.1.2.3"] }));
        expect(await inside(keeper, "a.0", "cat", "/etc/resolv.conf")).toBe("search internal\nnameserver 10.1.2.3\n");
        await expect(inside(keeper, "a.0", "cat", "/run/systemd/resolve/io.systemd.Resolve")).rejects.toThrow(
          "No such file",
        );
        await keeper.client.call("removeSandbox", { id: "a.0" });
      }),
    );
  });
});
