/** @file Counts tests and ends with one line: `N passed, N failed, N skipped`. */
import type { Reporter, TestCase, TestModule } from "vitest/node";

/** Prints failures as they come and the counts at the end. */
export class CountReporter implements Reporter {
  #passed = 0;
  #failed = 0;
  #skipped = 0;

  onTestCaseResult(test: TestCase): void {
    const result = test.result();
    const { state, errors } = result;
    if (state === "passed") this.#passed++;
    else if (state === "skipped") {
      this.#skipped++;
      const note = result.state === "skipped" && result.note !== undefined ? ` (${result.note})` : "";
      process.stdout.write(`skipped: ${test.fullName}${note}\n`);
    } else {
      this.#failed++;
      process.stdout.write(
        `FAILED: ${test.module.relativeModuleId} > ${test.fullName}\n${(errors ?? []).map((e) => e.stack ?? e.message).join("\n")}\n`,
      );
    }
  }

  onTestModuleEnd(module: TestModule): void {
    const errors = module.errors();
    if (errors.length === 0) return;
    this.#failed++;
    process.stdout.write(`FAILED: ${module.relativeModuleId}\n${errors.map((e) => e.stack ?? e.message).join("\n")}\n`);
  }

  onTestRunEnd(_: readonly TestModule[], unhandled: readonly { readonly stack?: string | undefined; readonly message: string }[]): void {
    for (const error of unhandled) {
      this.#failed++;
      process.stdout.write(`FAILED: outside of tests\n${error.stack ?? error.message}\n`);
    }
    process.stdout.write(`${this.#passed} passed, ${this.#failed} failed, ${this.#skipped} skipped\n`);
  }
}

export default CountReporter;
