/** Tests run from the TypeScript sources; what starts real processes starts the build in dist/. */
module.exports = {
  testEnvironment: "node",
  roots: [
    "<rootDir>/sdk",
    "<rootDir>/provider",
    "<rootDir>/runtime",
    "<rootDir>/engine",
    "<rootDir>/cli",
    "<rootDir>/test",
  ],
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
  testTimeout: 30000,
};
