/** What other sites import says by JSDoc what it takes and gives, and keeps to it. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const MODULES = ["maru.js", "tokens.js", "embed.js"];

test("the types of the modules for other sites are as they are written", () => {
  const files = MODULES.map((name) => fileURLToPath(new URL(`../../src/page/${name}`, import.meta.url)));
  const program = ts.createProgram(files, {
    allowJs: true,
    checkJs: true,
    noEmit: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    lib: ["lib.dom.d.ts", "lib.dom.iterable.d.ts", "lib.es2022.d.ts"],
    types: [],
  });
  assert.equal(program.getSourceFiles().filter(({ fileName }) => files.includes(fileName)).length, MODULES.length);
  const faults = ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
    const { line } = file ? file.getLineAndCharacterOfPosition(start) : { line: -1 };
    return `${file?.fileName}:${line + 1}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`;
  });
  assert.deepEqual(faults, []);
});
