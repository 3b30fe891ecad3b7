/**
 * Longest files first, so that none of them begins last. The times of the last run decide; a fresh clone has none, and there the
 * files that start processes (`test/`), and before them those that wait for WireGuard's real timers (`*.long.test.ts`), go first.
 */
const fs = require("node:fs");
const { default: TestSequencer } = require("@jest/test-sequencer");

/** Milliseconds assumed of a file that has never run here. */
function guess(file) {
  if (file.endsWith(".long.test.ts")) return 150_000;
  return /\/test\/[^/]+\//.test(file) ? 30_000 : 0;
}

class Sequencer extends TestSequencer {
  sort(tests) {
    const entries = tests.map((test) => {
      test.duration = this.time(test);
      return { test, duration: test.duration ?? guess(test.path), size: fs.statSync(test.path).size };
    });
    return entries.sort((a, b) => b.duration - a.duration || b.size - a.size).map((entry) => entry.test);
  }
}

module.exports = Sequencer;
