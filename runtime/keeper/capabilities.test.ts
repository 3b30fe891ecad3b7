import { spawnSync } from "node:child_process";
import * as path from "node:path";
import { describeNeeding } from "../../test/support/needs";
import { describeAccounts, NOBODY } from "./testing/keepers";

const FILE = path.join(__dirname, "..", "..", "dist", "runtime", "keeper", "capabilities.js");
const CHECK = `require(${JSON.stringify(FILE)}).checkTunLink().then(() => console.log("works"), (e) => console.log(e.code + " " + e.message))`;

describeNeeding(["linux", "tun"], "whether link tun works", () => {
  describeAccounts("where it does, as", ({ uid }) => {
    it("is found by trying", () => {
      const { stdout } = spawnSync(process.execPath, ["-e", CHECK], { uid, gid: uid, encoding: "utf8" });
      expect(stdout).toBe("works\n");
    });
  });

  describeNeeding(["root"], "where it does not", () => {
    /** Runs the check in namespaces of its own, prepared by a shell script. */
    const check = (prepare: string, uid = 0) => {
      const become = uid === 0 ? "exec" : `exec setpriv --reuid=${uid} --regid=${uid} --clear-groups`;
      const script = `set -e; ${prepare}; ${become} ${process.execPath} -e '${CHECK}'`;
      return spawnSync("unshare", ["--mount", "sh", "-c", script], { encoding: "utf8" }).stdout;
    };

    it("names a missing device", () => {
      expect(check("mount -t tmpfs none /dev/net")).toBe(
        'WARREN_LINK_UNAVAILABLE The device /dev/net/tun cannot be opened (ENOENT): as root run "modprobe tun", or start the container with --device /dev/net/tun.\n',
      );
    });

    it("names a missing program and its package", () => {
      const hide = "mount --bind /dev/null /usr/bin/nsenter; mount --bind /dev/null /bin/nsenter || true";
      expect(check(hide)).toBe(
        "WARREN_LINK_UNAVAILABLE The program nsenter is missing: install the package util-linux.\n",
      );
    });

    describeNeeding(["tun-for-all"], "for want of user namespaces", () => {
      it("names them", () => {
        // A process in a chroot may make no user namespace.
        const script = `mount --rbind / /mnt; exec chroot --userspec=${NOBODY}:${NOBODY} /mnt ${process.execPath} -e '${CHECK}'`;
        const { stdout } = spawnSync("unshare", ["--mount", "sh", "-c", script], { encoding: "utf8" });
        expect(stdout).toMatch(
          /^WARREN_LINK_UNAVAILABLE Apps cannot get a network namespace with a TUN device on this machine \(unshare: .*Operation not permitted\): run Warren as root, or allow unprivileged user namespaces/,
        );
      });
    });
  });
});
