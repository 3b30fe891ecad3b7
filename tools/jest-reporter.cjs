/**
 * The project's Jest reporter: a line per file, all failures in full at the end, why tests were skipped, and as the last line
 * `N passed, N failed` (with `, N skipped` where there are some). A file that cannot be loaded counts as a failed test.
 */
const path = require("node:path");

/** A file that takes longer than this hangs: no promise-based time-out of Jest can end a busy loop. Milliseconds. */
const FILE_LIMIT = 8 * 60_000;
/** Time for handles to close by themselves after the last test, before the process is ended. Milliseconds. */
const EXIT_LIMIT = 5_000;

class Reporter {
  constructor(globalConfig) {
    this.root = globalConfig.rootDir;
    this.filtered = Boolean(globalConfig.testNamePattern);
    this.started = Date.now();
    this.running = new Map();
    this.counts = { passed: 0, failed: 0, skipped: 0 };
    this.failures = [];
    this.skips = new Map();
  }

  onTestFileStart(test) {
    const timer = setTimeout(() => this.giveUp(test.path), FILE_LIMIT);
    timer.unref();
    this.running.set(test.path, timer);
  }

  onTestFileResult(test, result) {
    clearTimeout(this.running.get(test.path));
    this.running.delete(test.path);
    const file = path.relative(this.root, test.path);
    const passed = result.numPassingTests;
    const failed = result.numFailingTests + (result.testExecError ? 1 : 0);
    const skipped = result.numPendingTests + result.numTodoTests;
    this.counts.passed += passed;
    this.counts.failed += failed;
    this.counts.skipped += skipped;
    if (result.failureMessage) this.failures.push(`${file}\n${result.failureMessage.trimEnd()}`);
    for (const one of result.testResults)
      if (one.status !== "passed" && one.status !== "failed") this.noteSkip(file, one);
    const seconds = ((result.perfStats.end - result.perfStats.start) / 1000).toFixed(1).padStart(6);
    const parts = [`${passed} passed`];
    if (failed) parts.push(`${failed} failed`);
    if (skipped) parts.push(`${skipped} skipped`);
    console.log(`${failed ? "FAIL" : "ok  "} ${seconds} s  ${file}: ${parts.join(", ")}`);
    const said = (result.console ?? []).map((entry) => `     ${entry.type}: ${entry.message.trimEnd()}`);
    if (said.length) console.log(said.join("\n"));
  }

  /** Harness and tests put the reason in the name: `… (skipped: needs root)`. */
  noteSkip(file, one) {
    const named = [...one.ancestorTitles, one.title]
      .map((title) => /[([]skipped: (.*)[)\]]$/.exec(title)?.[1])
      .find(Boolean);
    const reason =
      one.status === "todo" ? "still to be written" : (named ?? (this.filtered ? "left out by -t" : "no reason given"));
    const key = `${file}: ${reason}`;
    this.skips.set(key, (this.skips.get(key) ?? 0) + 1);
  }

  onRunComplete(_contexts, results) {
    if (results.wasInterrupted) this.note("the run was interrupted");
    if (results.numFailedTestSuites && this.counts.failed === 0) this.note("a file failed, but none of its tests");
    this.summary();
    this.watchExit();
  }

  note(text) {
    this.failures.push(text);
    this.counts.failed += 1;
  }

  summary() {
    for (const failure of this.failures) console.log(`\n${failure}`);
    if (this.failures.length) console.log("");
    for (const [what, n] of this.skips) console.log(`skipped ${n} in ${what}`);
    console.log(`${((Date.now() - this.started) / 1000).toFixed(0)} s`);
    const { passed, failed, skipped } = this.counts;
    console.log(`${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}`);
  }

  getLastError() {
    return this.counts.failed ? new Error("tests failed") : undefined;
  }

  giveUp(hung) {
    this.note(
      `${path.relative(this.root, hung)} did not end within ${FILE_LIMIT / 60_000} minutes; the run was given up`,
    );
    this.summary();
    for (const handle of process._getActiveHandles()) if (handle.pid && handle.kill) handle.kill("SIGKILL");
    process.exit(1);
  }

  /**
   * Tests that ran in this very process (a single file) may have left a handle open, which would keep it for ever. Jest's
   * forceExit would hide that: here it is named and the run fails.
   */
  watchExit() {
    setTimeout(() => {
      console.error(`tests left open: ${process.getActiveResourcesInfo().join(", ") || "unknown handles"}`);
      process.exit(1);
    }, EXIT_LIMIT).unref();
  }
}

module.exports = Reporter;
