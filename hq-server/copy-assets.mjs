// Copies the third-party files that pages use from node_modules into dist, from where build.rs
// embeds them into the binary. Only what is listed here is ever served; each file carries its
// licence, as the licence asks.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const modules = join(here, "node_modules");
const files = [
  ["htmx.org", "dist/htmx.min.js", "htmx.js"],
  ["htmx.org", "dist/ext/hx-sse.min.js", "htmx-sse.js"],
  ["uplot", "dist/uPlot.iife.min.js", "uplot.js"],
  ["uplot", "dist/uPlot.min.css", "uplot.css"],
];

const dist = join(here, "dist");
mkdirSync(dist, { recursive: true });
for (const [name, from, to] of files) {
  const licence = readFileSync(join(modules, name, "LICENSE"), "utf8").trim();
  const content = readFileSync(join(modules, name, from), "utf8");
  writeFileSync(join(dist, to), `/*!\n${licence}\n*/\n${content}`);
}
console.log(`${files.length} files in hq-server/dist`);
