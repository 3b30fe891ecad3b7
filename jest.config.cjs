const os = require("node:os");

/** Tests run from the TypeScript sources; what starts real processes starts the build in dist/ (tools/setup.mjs makes it). */
module.exports = {
  testEnvironment: "node",
  roots: ["sdk", "net", "provider", "runtime", "engine", "cli", "test", "bench", "tools"].map(
    (folder) => `<rootDir>/${folder}`,
  ),
  testMatch: ["**/*.test.ts"],
  transform: {
    "^.+\\.[cm]?[jt]s$": [
      "@swc/jest",
      { jsc: { parser: { syntax: "typescript" }, target: "es2022" }, module: { type: "commonjs" } },
    ],
  },
  // The noble packages are ES modules only; Jest's module system needs them as CommonJS.
  transformIgnorePatterns: ["/node_modules/(?!@noble/)"],
  moduleNameMapper: { "^(\\.{1,2}/.*)\\.js$": "$1" },
  // Many tests wait for real processes and real timers rather than compute: two at once even on a small machine.
  maxWorkers: Math.max(2, Math.floor(os.availableParallelism() / 2)),
  testTimeout: 30000,
  globalSetup: "<rootDir>/tools/jest-setup.cjs",
  reporters: ["<rootDir>/tools/jest-reporter.cjs"],
  testSequencer: "<rootDir>/tools/jest-sequencer.cjs",
};
