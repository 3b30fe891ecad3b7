#!/usr/bin/env node
/**
 * The other WireGuard implementations that the interop tests and benches run against: pinned, built from their published source
 * into a cache outside the repository (WARREN_TEST_CACHE, default ~/.cache/warren-test).
 *
 *   node tools/peers.cjs          builds what is missing of those that tests use; exits with 1 when a build fails
 *   node tools/peers.cjs --bench  also those that only benches use
 */
const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

const cacheDir = process.env.WARREN_TEST_CACHE || path.join(os.homedir(), ".cache", "warren-test");

/** Toolchains are often installed without being on the PATH of a non-interactive shell. */
const toolPath = [process.env.PATH, "/usr/local/go/bin", path.join(os.homedir(), ".cargo", "bin")].join(path.delimiter);

const peers = {
  "wireguard-go": {
    version: "0.0.0-20260522210424-ecfc5a8d5446",
    program: "wireguard-go",
    toolchain: "go",
    build(into, version) {
      run("go", ["install", `golang.zx2c4.com/wireguard@v${version}`], { GOBIN: into, GOFLAGS: "-buildvcs=false" });
      fs.renameSync(path.join(into, "wireguard"), path.join(into, "wireguard-go"));
    },
  },
  boringtun: {
    version: "0.7.1",
    program: "boringtun-cli",
    toolchain: "cargo",
    build(into, version) {
      run("cargo", ["install", "--locked", "--quiet", "--version", version, "--root", into, "boringtun-cli"], {
        CARGO_TARGET_DIR: path.join(into, "target"),
      });
      fs.renameSync(path.join(into, "bin", "boringtun-cli"), path.join(into, "boringtun-cli"));
      fs.rmSync(path.join(into, "target"), { recursive: true, force: true });
    },
  },
  onetun: {
    version: "0.3.10",
    program: "onetun",
    toolchain: "cargo",
    benchOnly: true,
    build(into, version) {
      run("cargo", ["install", "--locked", "--quiet", "--version", version, "--root", into, "onetun"], {
        CARGO_TARGET_DIR: path.join(into, "target"),
      });
      fs.renameSync(path.join(into, "bin", "onetun"), path.join(into, "onetun"));
      fs.rmSync(path.join(into, "target"), { recursive: true, force: true });
    },
  },
  "go-forwarder": {
    // Of its one dependency.
    version: "0.0.0-20260522210424-ecfc5a8d5446",
    program: "go-forwarder",
    toolchain: "go",
    benchOnly: true,
    build(into) {
      const source = path.join(__dirname, "..", "bench", "programs", "go-forwarder");
      run("go", ["build", "-C", source, "-o", path.join(into, "go-forwarder"), "."], { GOFLAGS: "-buildvcs=false" });
    },
  },
};

/** Where the built program of a peer is, or would be. */
function peerPath(name) {
  const { version, program } = peers[name];
  return path.join(cacheDir, `${name}-${version}`, program);
}

/** Whether the machine has what a peer is built with. */
function hasToolchain(name) {
  return !spawnSync(peers[name].toolchain, ["version"], { env: { ...process.env, PATH: toolPath } }).error;
}

/**
 * Builds a peer into the cache where it is not there yet. Builds aside and renames, so that two runs at once do no harm.
 * @returns the program, or undefined where its toolchain is missing
 */
function ensurePeer(name) {
  const program = peerPath(name);
  if (fs.existsSync(program)) return program;
  if (!hasToolchain(name)) return undefined;
  fs.mkdirSync(cacheDir, { recursive: true });
  const aside = fs.mkdtempSync(path.join(cacheDir, "building-"));
  try {
    peers[name].build(aside, peers[name].version);
    fs.mkdirSync(path.dirname(program), { recursive: true });
    fs.renameSync(path.join(aside, peers[name].program), program);
  } finally {
    fs.rmSync(aside, { recursive: true, force: true });
  }
  return program;
}

function run(command, args, env) {
  const done = spawnSync(command, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, PATH: toolPath, ...env },
  });
  if (done.error) throw new Error(`${command} could not be started: ${done.error.message}`);
  if (done.status !== 0) throw new Error(`${command} ${args.join(" ")} failed:\n${done.stdout}${done.stderr}`);
}

module.exports = { peers, cacheDir, peerPath, hasToolchain, ensurePeer };

if (require.main === module) {
  for (const name of Object.keys(peers)) {
    if (peers[name].benchOnly && !process.argv.includes("--bench")) continue;
    const start = Date.now();
    try {
      const program = ensurePeer(name);
      const took = `${((Date.now() - start) / 1000).toFixed(1)} s`;
      if (program) console.log(`${name} ${peers[name].version}: ${program} (${took})`);
      else console.log(`${name}: not built, ${peers[name].toolchain} is not installed`);
    } catch (error) {
      console.error(`${name}: ${error.message}`);
      process.exitCode = 1;
    }
  }
}
